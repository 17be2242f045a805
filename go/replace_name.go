package sigward

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/fnv"
)

// hiddenName says by a sum whose it is. The first few numbers are small, so that what a killed
// replacement has left is found without reading the folder; if others have all of those, the number
// is one that nobody can foresee.
func hiddenName(target string, number uint64) string {
	sum := fnv.New64a()
	sum.Write([]byte(target))
	return fmt.Sprintf(".sigward-%016x-%x", sum.Sum64(), number)
}

func randomNumber() uint64 {
	var bits [8]byte
	rand.Read(bits[:])
	return binary.LittleEndian.Uint64(bits[:])
}

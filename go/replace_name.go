package sigward

import (
	"fmt"
	"hash/fnv"
	"hash/maphash"
)

// hiddenName says by a sum whose it is. The first few numbers are small, so that what a killed
// replacement has left is found without reading the folder; if others have all of those, the number
// is one that nobody can foresee.
func hiddenName(target string, number uint64) string {
	sum := fnv.New64a()
	sum.Write([]byte(target))
	return fmt.Sprintf(".sigward-%016x-%x", sum.Sum64(), number)
}

// randomNumber is a seed's hash: the runtime's randomness, as os.CreateTemp takes it. crypto/rand
// would add 130 KB to a program that has no other use for it, and 32 MiB of addresses.
func randomNumber() uint64 { return maphash.String(maphash.MakeSeed(), "") }

package sigward

import (
	"crypto/rand"
	"encoding/hex"
)

// freeName is a hidden name that nobody can foresee.
func freeName() string {
	var bits [8]byte
	rand.Read(bits[:])
	return ".sigward-" + hex.EncodeToString(bits[:])
}

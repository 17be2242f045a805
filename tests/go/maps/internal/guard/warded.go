//go:build warded

package guard

import (
	"errors"
	"fmt"

	sigward "github.com/sigward/sigward/go"
)

// Adopt guards every map of the file that the library has made or makes.
func Adopt(path string) (Guard, error) { return sigward.AdoptFile(path) }

// Truncated wants an error that says what happened to the file: it has least to most bytes now, and
// nothing below is lost.
func Truncated(g Guard, least, most int64) error {
	var lost *sigward.MapError
	err := g.Err()
	if !errors.Is(err, sigward.ErrTruncated) || !errors.As(err, &lost) || lost.LenNow < least ||
		lost.LenNow > most || lost.Offset < least {
		return fmt.Errorf("have %v, want a truncation to %d to %d bytes", err, least, most)
	}
	return nil
}

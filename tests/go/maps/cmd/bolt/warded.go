//go:build warded

package main

import (
	"errors"
	"fmt"

	sigward "github.com/sigward/sigward/go"
)

// adopted is the guard over what bbolt mapped.
type adopted struct{ *sigward.Adopted }

func adopt(path string) (guard, error) {
	a, err := sigward.AdoptFile(path)
	if err != nil {
		return nil, err
	}
	if a.Count() != 1 {
		return nil, fmt.Errorf("%d maps of %s, not one", a.Count(), path)
	}
	return adopted{a}, nil
}

func (a adopted) err() error  { return a.Err() }
func (a adopted) heal() error { return a.Heal() }
func (a adopted) rescan() error {
	if number, err := a.Rescan(); err != nil || number != 1 {
		return fmt.Errorf("%d maps after Rescan, not one: %v", number, err)
	}
	return nil
}
func (a adopted) close() error { return a.Close() }

// checkLoss wants an error that says what happened to the file.
func checkLoss(err error, kept int64) error {
	var lost *sigward.MapError
	if !errors.Is(err, sigward.ErrTruncated) || !errors.As(err, &lost) || lost.LenNow != kept || lost.Offset < kept {
		return fmt.Errorf("have %v, want a truncation to %d", err, kept)
	}
	return nil
}

//go:build warded

package main

import (
	"errors"
	"fmt"

	sigward "github.com/sigward/sigward/go"
)

// adopted is the guard over what SQLite mapped.
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

func (a adopted) err() error { return a.Err() }

// heal looks for SQLite's map anew: when it finds its file empty it unmaps it.
func (a adopted) heal() error {
	_, err := a.Rescan()
	return errors.Join(err, a.Heal())
}

func (a adopted) close() error { return a.Close() }

func (a adopted) rescan() error {
	if number, err := a.Rescan(); err != nil || number == 0 {
		return fmt.Errorf("%d maps after Rescan: %v", number, err)
	}
	return nil
}

// check wants an error that says what happened to the file.
func (a adopted) check() error {
	var lost *sigward.MapError
	if err := a.Err(); !errors.Is(err, sigward.ErrTruncated) || !errors.As(err, &lost) || lost.LenNow > kept {
		return fmt.Errorf("have %v, want a truncation", err)
	}
	return nil
}

//go:build warded

package main

import (
	"errors"

	sigward "github.com/sigward/sigward/go"
)

type guarded struct{ *sigward.Map }

func open(path string) mapped {
	m, err := sigward.Open(path)
	must(err)
	return guarded{m}
}

func (g guarded) read(into []byte) (length, lost int) {
	err := g.Do(func(data []byte) error {
		length = copy(into, data)
		return nil
	})
	if err == nil {
		return length, length
	}
	var loss *sigward.MapError
	if !errors.As(err, &loss) || !errors.Is(err, sigward.ErrLost) {
		panic(err)
	}
	return length, int(loss.Offset)
}

func (g guarded) refresh() { must(g.Refresh()) }

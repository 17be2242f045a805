//go:build bare

// The bare build: the same service without sigward. Nothing here refers to it, so nothing of it is linked.

package main

import (
	"io"
	"log/slog"

	"github.com/oschwald/maxminddb-golang"
)

func watch(*slog.Logger) (stop func()) { return func() {} }

func writeSignalMetrics(io.Writer) {}

// A database is what maxminddb.Open makes of a file: its own map of it.
type database struct{ reader *maxminddb.Reader }

func openDatabase(path string, _ *slog.Logger) (*database, error) {
	reader, err := maxminddb.Open(path)
	return &database{reader}, err
}

func (d *database) use(use func(*maxminddb.Reader) error) error { return use(d.reader) }

func (d *database) writeMetrics(io.Writer) {}

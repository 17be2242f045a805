//go:build bare

// The bare build: the same service without sigward. Nothing here refers to it, so nothing of it is
// linked.

package main

import (
	"io"
	"log/slog"

	"github.com/oschwald/maxminddb-golang"
)

func watch(*slog.Logger) (stop func()) { return func() {} }

func writeSignalMetrics(io.Writer) {}

// A plainDatabase is what maxminddb.Open makes of a file: its own map of it.
type plainDatabase struct{ reader *maxminddb.Reader }

func openDatabase(path string, _ bool, _ *slog.Logger) (database, error) {
	reader, err := maxminddb.Open(path)
	return &plainDatabase{reader}, err
}

func (d *plainDatabase) use(use func(*maxminddb.Reader) error) error { return use(d.reader) }

func (d *plainDatabase) writeMetrics(io.Writer) {}

//go:build bare

// The bare build: the same service without sigward. Nothing here refers to it, so nothing of it is
// linked.

package main

import (
	"log/slog"

	"github.com/oschwald/maxminddb-golang"
	"github.com/prometheus/client_golang/prometheus"
)

func watch(*slog.Logger) (stop func()) { return func() {} }

func registerSignals(prometheus.Registerer) {}

// A plainDatabase is what maxminddb.Open makes of a file: its own map of it.
type plainDatabase struct{ reader *maxminddb.Reader }

func openDatabase(path string, _ bool, _ *slog.Logger) (database, error) {
	reader, err := maxminddb.Open(path)
	return &plainDatabase{reader}, err
}

func (d *plainDatabase) use(use func(*maxminddb.Reader) error) error { return use(d.reader) }

func (d *plainDatabase) count(page) {}

//go:build !bare

// The GeoIP database of the warded build. Whoever updates the file may replace it or write over it,
// at once or for an hour: each look-up is answered, out of one generation, and out of the newest as
// soon as that is whole.

package main

import (
	"log/slog"

	"github.com/oschwald/maxminddb-golang"

	sigward "github.com/sigward/sigward/go"
)

type reloadedDatabase struct {
	newest *sigward.Reloading[*maxminddb.Reader]
}

func openDatabase(path string, mapped bool, logger *slog.Logger) (database, error) {
	if mapped {
		return openMapped(path, logger)
	}
	parse := func(file *sigward.Frozen) (*maxminddb.Reader, error) {
		data, err := file.Bytes()
		if err != nil {
			return nil, err
		}
		return maxminddb.FromBytes(data)
	}
	newest, err := sigward.OpenReloadingWith(path, parse, sigward.ReloadOptions{
		OnChange: func(number uint64) {
			logger.Info("GeoIP data", "file", path, "version", number)
		},
		OnProblem: func(problem *sigward.ReloadError) {
			logger.Warn("GeoIP data", "error", problem)
		},
	})
	if err != nil {
		return nil, err
	}
	return &reloadedDatabase{newest}, nil
}

func (d *reloadedDatabase) use(use func(*maxminddb.Reader) error) error {
	return use(d.newest.Get().Value)
}

func (d *reloadedDatabase) count(p page) {
	s := d.newest.Stats()
	p.gauge("database_version", "Versions of the GeoIP data so far.", s.Version)
	p.counter("database_refused_total", "Versions that were no database.", s.Refused)
	p.counter("database_not_yet_total", "Looks at a file that was still being written.", s.NotYet)
}

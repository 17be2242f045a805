//go:build !bare

// The warded build. Against SIGPIPE the import is all that keeps the service alive; the rest of
// this file only reports: a log line for each signal that ended here, with the thread and the peer
// or file, and the counters for /metrics. Against SIGBUS the map of geoip.go is a guarded one, and
// so is that of the Rust half.

package main

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	sigward "github.com/sigward/sigward/go"
	"github.com/sigward/sigward/go/sigwardprom"
	"github.com/sigward/sigward/go/sigwardslog"
)

// watch logs each signal that ended here; stop logs what is left, and ends it.
func watch(logger *slog.Logger) (stop func()) {
	if err := sigward.Err(); err != nil {
		logger.Error("nothing wards off signals", "error", err)
	}
	return sigwardslog.Watch(50*time.Millisecond, logger)
}

func registerSignals(registry prometheus.Registerer) { registry.MustRegister(sigwardprom.New()) }

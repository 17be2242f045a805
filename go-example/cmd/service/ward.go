//go:build !bare

// The warded build. Against SIGPIPE the import is all that keeps the service alive; the rest of
// this file only reports: a log line for each signal that ended here, with the thread and the peer
// or file, and counters for /metrics. Against SIGBUS the map of geoip.go is a guarded one, and so
// is that of the Rust half.

package main

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	sigward "github.com/sigward/sigward/go"
)

// watch logs each signal that ended here; stop logs what is left, and ends it.
func watch(logger *slog.Logger) (stop func()) {
	if err := sigward.Err(); err != nil {
		logger.Error("nothing wards off signals", "error", err)
	}
	return sigward.Watch(50*time.Millisecond, func(e sigward.Event) {
		if e.Kind == "map" {
			logger.Warn("SIGBUS caught", "file", e.Path, "offset", e.Offset, "cause", e.Cause, "length", e.LenNow,
				"write", e.Write, "thread", e.Thread, "by", e.Caller, "tid", e.TID, "event", e.Number)
			return
		}
		logger.Warn("SIGPIPE swallowed", "call", e.Call, "by", e.Caller, "thread", e.Thread, "fd", e.FD, "kind", e.Kind, "peer", e.Peer,
			"tid", e.TID, "event", e.Number)
	})
}

func writeSignalMetrics(w io.Writer) {
	c, err := sigward.Counters()
	if err != nil {
		fmt.Fprintf(w, "# %v\n", err)
		return
	}
	for _, counter := range []struct {
		name string
		n    uint64
	}{
		{"deliveries", c.Deliveries},
		{"swallowed", c.Swallowed},
		{"chained", c.Chained},
		{"unattributed", c.Unattributed},
		{"overwritten", c.Overwritten},
		{"races_repaired", c.RacesRepaired},
		{"cycles_cut", c.CyclesCut},
		{"events_dropped", c.EventsDropped},
	} {
		fmt.Fprintf(w, "# TYPE sigpipe_%s_total counter\nsigpipe_%s_total %d\n", counter.name, counter.name, counter.n)
	}
	fmt.Fprintf(w, "sigbus_caught_total %d\nsigbus_ranges_replaced_total %d\nguarded_maps %d\n", c.Faults, c.Patches, c.Maps)
}

//go:build !bare

// The warded build. The import is all that keeps the service alive; the rest of this file only reports: a log line
// for each SIGPIPE that was swallowed, with the thread, the descriptor and the peer, and counters for /metrics.

package main

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	sigward "github.com/sigward/sigward/go"
)

// watch logs each swallowed SIGPIPE; stop logs what is left, and ends it.
func watch(logger *slog.Logger) (stop func()) {
	if err := sigward.Err(); err != nil {
		logger.Error("nothing wards off SIGPIPE", "error", err)
	}
	return sigward.Watch(50*time.Millisecond, func(e sigward.Event) {
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
}

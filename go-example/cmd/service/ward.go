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
		logger.Warn("SIGPIPE swallowed", "thread", e.Thread, "fd", e.FD, "kind", e.Kind, "peer", e.Peer,
			"tid", e.TID, "event", e.Number)
	})
}

func writeSignalMetrics(w io.Writer) {
	c, err := sigward.Counters()
	if err != nil {
		fmt.Fprintf(w, "# %v\n", err)
		return
	}
	fmt.Fprintf(w, "sigpipe_deliveries_total %d\n", c.Deliveries)
	fmt.Fprintf(w, "sigpipe_swallowed_total %d\n", c.Swallowed)
	fmt.Fprintf(w, "sigpipe_unattributed_total %d\n", c.Unattributed)
	fmt.Fprintf(w, "sigpipe_events_dropped_total %d\n", c.EventsDropped)
}

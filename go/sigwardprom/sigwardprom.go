// Package sigwardprom is sigward's counters and events as a Prometheus collector.
//
//	prometheus.MustRegister(sigwardprom.New())
//
// It is a module of its own, so that nobody else depends on Prometheus.
package sigwardprom

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	sigward "github.com/sigward/sigward/go"
)

// New returns a collector of these metrics. Counters count from the start of the process.
//
//	sigward_armed                          1 if a broken peer (signal="SIGPIPE"), or a lost page of
//	                                       a guarded map ("SIGBUS"), is an error now, else 0
//	sigward_sigpipe_total                  events of SIGPIPE, by the system call, the kind of the
//	                                       descriptor (pipe, socket, other, unknown) and the library
//	                                       that wrote
//	sigward_sigbus_total                   events of SIGBUS, by access (read, write), cause
//	                                       (truncated, no_space, io, hardware, unknown) and library
//	sigward_events_missed_total            events that the two above lack
//	sigward_last_event_timestamp_seconds   when the latest event of the signal was; absent before
//	                                       the first
//
// And each field of sigward.CounterValues: sigward_deliveries_total,
// sigward_sigpipe_swallowed_total, sigward_chained_total, sigward_sigpipe_unattributed_total,
// sigward_overwritten_total, sigward_races_repaired_total, sigward_cycles_cut_total,
// sigward_events_dropped_total, sigward_sigbus_faults_total, sigward_sigbus_patches_total,
// sigward_sigbus_healed_total, sigward_maps (a gauge), sigward_maps_leaked_total. They are exact.
//
// The library keeps its last 512 events, and the collector looks at them when it is scraped; of
// more between two scrapes the eldest are missed. No label has a value of its own for each peer,
// file or thread: those are for a log (package sigwardslog).
//
// Without cgo there are no events, the counters are 0, and so is sigward_armed.
//
// It may be used by several goroutines and registries. Each collector counts for itself.
func New() prometheus.Collector {
	return &collector{
		pipes:  map[[3]string]float64{},
		losses: map[[3]string]float64{},
		latest: map[string]float64{},
	}
}

type collector struct {
	lock          sync.Mutex
	cursor        uint64
	missed        float64
	pipes, losses map[[3]string]float64 // by the values of their labels
	latest        map[string]float64    // by the signal
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("sigward_"+name, help, labels, nil)
}

var (
	armed = describe("armed",
		"Whether a cause of the signal is an error now (1) or may end the process (0).", "signal")
	pipes = describe("sigpipe_total",
		"Events of SIGPIPE: writes to a broken pipe or socket that returned an error.",
		"call", "kind", "library")
	losses = describe("sigbus_total",
		"Events of SIGBUS: lost bytes of a mapped file that were met.",
		"access", "cause", "library")
	missed = describe("events_missed_total",
		"Events that sigward_sigpipe_total and sigward_sigbus_total lack.")
	latest = describe("last_event_timestamp_seconds",
		"When the latest event of the signal was, in seconds since 1970.", "signal")
)

// A counter is one field of sigward.CounterValues.
type counter struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*sigward.CounterValues) uint64
}

func counts(name, help string, of func(*sigward.CounterValues) uint64) counter {
	return counter{describe(name, help), prometheus.CounterValue, of}
}

var counters = []counter{
	counts("deliveries_total", "Signals that came to one of the library's entry points.",
		func(c *sigward.CounterValues) uint64 { return c.Deliveries }),
	counts("sigpipe_swallowed_total", "SIGPIPEs that ended in the library.",
		func(c *sigward.CounterValues) uint64 { return c.Swallowed }),
	counts("chained_total", "Signals that went on to the handler of before.",
		func(c *sigward.CounterValues) uint64 { return c.Chained }),
	counts("sigpipe_unattributed_total", "Swallowed SIGPIPEs whose descriptor could not be told.",
		func(c *sigward.CounterValues) uint64 { return c.Unattributed }),
	counts("overwritten_total", "How often another handler was found above the library's.",
		func(c *sigward.CounterValues) uint64 { return c.Overwritten }),
	counts("races_repaired_total", "Races for the kernel's table of handlers, lost and put right.",
		func(c *sigward.CounterValues) uint64 { return c.RacesRepaired }),
	counts("cycles_cut_total", "Circles of handlers that were cut.",
		func(c *sigward.CounterValues) uint64 { return c.CyclesCut }),
	counts("events_dropped_total", "Events that were not kept, their place still being written.",
		func(c *sigward.CounterValues) uint64 { return c.EventsDropped }),
	counts("sigbus_faults_total", "SIGBUSes that ended in the library.",
		func(c *sigward.CounterValues) uint64 { return c.Faults }),
	counts("sigbus_patches_total", "Ranges of lost pages that were replaced by zeros.",
		func(c *sigward.CounterValues) uint64 { return c.Patches }),
	counts("sigbus_healed_total", "Faults whose page was there again at a second look.",
		func(c *sigward.CounterValues) uint64 { return c.Healed }),
	{describe("maps", "Maps that are guarded now."), prometheus.GaugeValue,
		func(c *sigward.CounterValues) uint64 { return c.Maps }},
	counts("maps_leaked_total", "Closed maps whose addresses stay taken.",
		func(c *sigward.CounterValues) uint64 { return c.Leaked }),
}

func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{armed, pipes, losses, missed, latest} {
		out <- desc
	}
	for _, counter := range counters {
		out <- counter.desc
	}
}

func (c *collector) Collect(out chan<- prometheus.Metric) {
	one := func(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, kind, value, labels...)
	}
	status := sigward.Status()
	one(armed, prometheus.GaugeValue, bit(status.SIGPIPE.Armed), "SIGPIPE")
	one(armed, prometheus.GaugeValue, bit(status.SIGBUS.Armed), "SIGBUS")
	values, err := sigward.Counters()
	for _, counter := range counters {
		if err != nil {
			out <- prometheus.NewInvalidMetric(counter.desc, err)
			continue
		}
		one(counter.desc, counter.kind, float64(counter.of(&values)))
	}

	c.lock.Lock()
	defer c.lock.Unlock()
	if err := c.read(); err != nil {
		out <- prometheus.NewInvalidMetric(missed, err)
		return
	}
	one(missed, prometheus.CounterValue, c.missed)
	for labels, count := range c.pipes {
		one(pipes, prometheus.CounterValue, count, labels[:]...)
	}
	for labels, count := range c.losses {
		one(losses, prometheus.CounterValue, count, labels[:]...)
	}
	for signal, when := range c.latest {
		one(latest, prometheus.GaugeValue, when, signal)
	}
}

func bit(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// allBatches is how often ReadEvents can find something if nothing new comes: so a scrape ends,
// however fast others write.
const allBatches = 512/64 + 1

// read counts the events since the last time. Each number between two cursors is an event that is
// read or one that is gone.
func (c *collector) read() error {
	for n := 0; n < allBatches; n++ {
		events, next, err := sigward.ReadEvents(c.cursor)
		if err != nil {
			return err
		}
		c.missed += float64(next-c.cursor) - float64(len(events))
		if c.cursor = next; len(events) == 0 {
			return nil
		}
		for _, event := range events {
			c.count(event)
		}
	}
	return nil
}

func (c *collector) count(e sigward.Event) {
	signal := "SIGPIPE"
	if e.Kind == "map" {
		signal = "SIGBUS"
		access := "read"
		if e.Write {
			access = "write"
		}
		c.losses[[3]string{access, e.Cause.Word(), known(e.Caller)}]++
	} else {
		c.pipes[[3]string{known(e.Call), e.Kind, known(e.Caller)}]++
	}
	c.latest[signal] = max(c.latest[signal], float64(e.Time.UnixNano())/1e9)
}

func known(text string) string {
	if text == "" {
		return "unknown"
	}
	return text
}

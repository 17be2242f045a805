package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sigward/sigward/go-example/internal/halves"
)

// A page is where counts go when somebody asks for /metrics.
type page chan<- prometheus.Metric

func (p page) counter(name, help string, value uint64, labels ...string) {
	p.put(prometheus.CounterValue, name, help, value, labels)
}

func (p page) gauge(name, help string, value uint64, labels ...string) {
	p.put(prometheus.GaugeValue, name, help, value, labels)
}

// put takes labels as name and value by turns.
func (p page) put(kind prometheus.ValueType, name, help string, value uint64, labels []string) {
	constant := prometheus.Labels{}
	for ; len(labels) > 1; labels = labels[2:] {
		constant[labels[0]] = labels[1]
	}
	desc := prometheus.NewDesc(name, help, nil, constant)
	p <- prometheus.MustNewConstMetric(desc, kind, float64(value))
}

// Describe says nothing: what there is depends on the options.
func (r *routes) Describe(chan<- *prometheus.Desc) {}

// Collect puts the service's own counts.
func (r *routes) Collect(out chan<- prometheus.Metric) {
	p, c := page(out), halves.ReadCounters()
	p.counter("events_accepted_total", "Orders that the Rust half took.", c.Accepted)
	p.counter("events_acknowledged_total", "Events that the collector has stored.", c.Acknowledged)
	p.counter("events_resent_total", "Events sent again on a new connection.", c.Resent)
	p.counter("collector_connections_total", "Connections to the collector.", c.Connections)
	p.counter("downloads_total", "Exports that were begun.", c.Downloads)
	const failed = "Errors of reads and writes in the Rust half."
	p.counter("io_errors_total", failed, c.BrokenPipe, "kind", "BrokenPipe")
	p.counter("io_errors_total", failed, c.ConnectionReset, "kind", "ConnectionReset")
	p.counter("io_errors_total", failed, c.OtherErrors, "kind", "other")
	p.counter("journal_lines_total", "Lines in the journal.", c.Journaled)
	const lost = "Losses in the map of the journal."
	p.counter("journal_losses_total", lost, c.JournalNoSpace, "cause", "no_space")
	p.counter("journal_losses_total", lost, c.JournalCut, "cause", "cut")
	if r.locator != nil {
		r.locator.count(p)
	}
}

func (r *routes) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(r)
	registerSignals(registry)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

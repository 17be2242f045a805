// Service is a small order service: Go answers the API, and its Rust half ships an event for each order to the
// collector and serves the large export.
//
//	POST /orders   Go    202 and the event's sequence number
//	GET  /metrics  Go    counters of both halves, and of sigward
//	GET  /export   Rust  8 MiB, on a port of its own
//
// It is built twice from this one source. The default build imports sigward (ward.go); with -tags bare nothing of
// sigward is linked (bare.go), and the first broken peer of the Rust half ends the whole process.
//
// On stdout it says where it listens, one JSON object, and then nothing more. Stderr is the log.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sigward/sigward/go-example/internal/halves"
)

// addresses is what the service prints when it is ready.
type addresses struct {
	API       string `json:"api"`
	Downloads string `json:"downloads"`
}

func main() {
	collector := flag.String("collector", "127.0.0.1:7000", "`IP:PORT` of the collector")
	certificate := flag.String("certificate", "", "PEM `file`: speak TLS, and trust this certificate only")
	listen := flag.String("listen", "127.0.0.1:0", "`IP:PORT` of the API")
	flag.Parse()

	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(logger, *collector, *certificate, *listen); err != nil {
		logger.Error("service stopped", "error", err)
		os.Exit(1)
	}
}

func run(logger *slog.Logger, collector, certificate, listen string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()

	downloads, err := halves.Start(collector, certificate)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	defer watch(logger)()
	server := &http.Server{Handler: routes()}
	context.AfterFunc(ctx, func() {
		limit, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = server.Shutdown(limit)
	})
	ready := addresses{API: listener.Addr().String(), Downloads: downloads}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/orders", order)
	mux.HandleFunc("/metrics", metrics)
	return mux
}

// order takes one order: whatever JSON value the body holds.
func order(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "POST an order", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<12))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	// Marshal also compacts: an event is one line.
	event, err := json.Marshal(map[string]json.RawMessage{"order": body})
	if err != nil {
		http.Error(w, "an order is JSON", http.StatusBadRequest)
		return
	}
	sequence, err := halves.Ship(event)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintf(w, "%d\n", sequence)
}

func metrics(w http.ResponseWriter, _ *http.Request) {
	c := halves.ReadCounters()
	for _, m := range []struct {
		name  string
		value uint64
	}{
		{"events_accepted_total", c.Accepted},
		{"events_acknowledged_total", c.Acknowledged},
		{"events_resent_total", c.Resent},
		{"collector_connections_total", c.Connections},
		{"downloads_total", c.Downloads},
		{`io_errors_total{kind="BrokenPipe"}`, c.BrokenPipe},
		{`io_errors_total{kind="ConnectionReset"}`, c.ConnectionReset},
		{`io_errors_total{kind="other"}`, c.OtherErrors},
	} {
		fmt.Fprintf(w, "%s %d\n", m.name, m.value)
	}
	writeSignalMetrics(w)
}

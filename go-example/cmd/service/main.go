// Service is a small order service: Go answers the API, and its Rust half ships an event for each
// order to the collector, writes it to a journal and serves the large export.
//
//	POST /orders   Go    202 and the event's sequence number
//	POST /locate   Go    addresses looked up in a GeoIP database (-geoip)
//	POST /reopen   Go    begins the Rust half's journal anew (-journal)
//	GET  /metrics  Go    counters of both halves, and of sigward
//	GET  /export   Rust  8 MiB, on a port of its own
//
// It is built twice from this one source. The default build imports sigward (ward.go, geoip.go,
// geoip_mapped.go); with -tags bare nothing of sigward is linked (bare.go), and the first broken
// peer of the Rust half, or the first byte of a mapped file that is no longer there, ends the whole
// process.
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
	PID       int    `json:"pid"`
}

// settings are what the command line says.
type settings struct {
	collector, certificate, listen, database, journal string
	mapped                                            bool
}

func main() {
	var s settings
	flag.StringVar(&s.collector, "collector", "127.0.0.1:7000", "`IP:PORT` of the collector")
	flag.StringVar(&s.certificate, "certificate", "",
		"PEM `file`: speak TLS, and trust this certificate only")
	flag.StringVar(&s.listen, "listen", "127.0.0.1:0", "`IP:PORT` of the API")
	flag.StringVar(&s.database, "geoip", "", "MMDB `file` for /locate")
	flag.BoolVar(&s.mapped, "geoip-mapped", false,
		"look up in a map of the MMDB file itself, and not in a copy of its newest version")
	flag.StringVar(&s.journal, "journal", "",
		"`file` that the Rust half maps and writes each order to")
	flag.Parse()

	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(logger, s); err != nil {
		logger.Error("service stopped", "error", err)
		os.Exit(1)
	}
}

func run(logger *slog.Logger, s settings) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()

	downloads, err := halves.Start(s.collector, s.certificate)
	if err != nil {
		return err
	}
	routes := routes{journal: s.journal}
	if s.journal != "" {
		if err := halves.Journal(s.journal); err != nil {
			return err
		}
	}
	if s.database != "" {
		opened, err := openDatabase(s.database, s.mapped, logger)
		if err != nil {
			return err
		}
		routes.locator = &locator{database: opened}
	}
	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return err
	}
	defer watch(logger)()
	server := &http.Server{Handler: routes.handler()}
	context.AfterFunc(ctx, func() {
		limit, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = server.Shutdown(limit)
	})
	ready := addresses{API: listener.Addr().String(), Downloads: downloads, PID: os.Getpid()}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// routes are what the API has.
type routes struct {
	locator *locator // nil without a database
	journal string   // empty without one
}

func (r *routes) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/orders", order)
	mux.Handle("/metrics", r.metrics())
	if r.locator != nil {
		mux.HandleFunc("/locate", r.locator.locate)
	}
	if r.journal != "" {
		mux.HandleFunc("/reopen", r.reopen)
	}
	return mux
}

// reopen begins the journal anew, as a program does that knows nothing of the thread that has it
// mapped.
func (r *routes) reopen(w http.ResponseWriter, _ *http.Request) {
	file, err := os.OpenFile(r.journal, os.O_WRONLY|os.O_TRUNC, 0)
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
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

// Demo runs each failure against the service without and with sigward, and prints what came of it
// as one table. It exits with 1 if anything is not as expected: a warded service that loses
// something, and a bare one that lives.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sigward/sigward/go-example/internal/scenario"
)

func main() {
	quick := flag.Bool("quick", false, "fewer upgrades and requests")
	bin := flag.String("bin", "", "`folder` with service-bare, service-warded and collector (default: where demo is)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	good, err := run(ctx, *bin, *quick)
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
	if err != nil || !good {
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, bin string, quick bool) (good bool, err error) {
	if bin == "" {
		self, err := os.Executable()
		if err != nil {
			return false, err
		}
		bin = filepath.Dir(self)
	}
	if err := scenario.CheckSignals(ctx); err != nil {
		return false, err
	}
	options := scenario.Full(bin)
	if quick {
		options = scenario.Quick(bin)
	}
	start, progress := time.Now(), paint(os.Stderr)
	options.Progress = func(format string, args ...any) {
		elapsed := time.Since(start).Seconds()
		fmt.Fprintln(os.Stderr, progress(dim, fmt.Sprintf("%5.1f s  ", elapsed)+fmt.Sprintf(format, args...)))
	}
	var rows []row
	for _, f := range scenario.Failures {
		bare, err := options.RunBare(ctx, f)
		if err != nil {
			return false, fmt.Errorf("%s, bare: %w", f.Name, err)
		}
		warded, err := options.RunWarded(ctx, f)
		if err != nil {
			return false, fmt.Errorf("%s, warded: %w", f.Name, err)
		}
		rows = append(rows, peerRow(f, bare, warded))
	}
	folder, err := os.MkdirTemp("", "go-example-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(folder)
	options.Progress("writing three generations of a GeoIP database …")
	if options.Generations, err = scenario.WriteGenerations(folder); err != nil {
		return false, err
	}
	for _, f := range scenario.MapFailures {
		bare, err := f.RunBare(ctx, options)
		if errors.Is(err, scenario.ErrNoMount) && os.Getenv("SIGWARD_REQUIRE_ALL") == "" {
			fmt.Fprintf(os.Stderr, "skipped: %s: %v\n", f.Name, err)
			continue
		}
		if err != nil {
			return false, fmt.Errorf("%s, bare: %w", f.Name, err)
		}
		warded, err := f.RunWarded(ctx, options)
		if err != nil {
			return false, fmt.Errorf("%s, warded: %w", f.Name, err)
		}
		rows = append(rows, mapRow(f, bare, warded))
	}
	return show(os.Stdout, rows), nil
}

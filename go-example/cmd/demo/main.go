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
	path := flag.String("report", "", "HTML `file` to write (default: report.html where demo is)")
	bin := flag.String("bin", "",
		"`folder` with service-bare, service-warded and collector (default: where demo is)")
	flag.Parse()
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	good, err := run(ctx, *bin, *path, *quick)
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
	if err != nil || !good {
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, bin, path string, quick bool) (good bool, err error) {
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
	var notes []string
	start, progress := time.Now(), paint(os.Stderr)
	options.Progress = func(format string, args ...any) {
		elapsed := time.Since(start).Seconds()
		line := fmt.Sprintf("%5.1f s  ", elapsed) + fmt.Sprintf(format, args...)
		fmt.Fprintln(os.Stderr, progress(dim, line))
	}
	note := func(format string, args ...any) {
		notes = append(notes, fmt.Sprintf(format, args...))
		fmt.Fprintln(os.Stderr, notes[len(notes)-1])
	}
	var refused error
	if options.Watcher, refused = watcher(ctx, bin); refused != nil {
		note("skipped: %v", refused)
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
			note("skipped: %s: %v", f.Name, err)
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
	good = show(os.Stdout, rows)
	if path == "" {
		path = filepath.Join(bin, "report.html")
	}
	if err := writeReport(path, rows, notes, start); err != nil {
		return false, err
	}
	fmt.Println("The same as pictures:", near(path))
	return good, nil
}

// watcher is the command that says what bare services die of, or why there is none.
func watcher(ctx context.Context, bin string) (path string, err error) {
	path = filepath.Join(bin, "sigward")
	if err := scenario.CheckWatcher(ctx, path); err != nil {
		return "", fmt.Errorf("deaths are not explained, sigward watch cannot run here: %w", err)
	}
	return path, nil
}

// near is the shorter name of a path, as seen from here.
func near(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if relative, err := filepath.Rel(here, path); err == nil && len(relative) < len(path) {
		return relative
	}
	return path
}

package scenario

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// A MapFailure is one way in which a mapped file changes under the service.
type MapFailure struct {
	Name string
	What string // who has it mapped
	run  func(ctx context.Context, o Options, b build) (Report, error)
}

// MapFailures are three of a GeoIP database that Go reads, and two of a journal that the Rust half
// has mapped.
var MapFailures = []MapFailure{
	{"GeoIP data overwritten by cp", "maxminddb-golang, 23 MB", runOverwritten},
	{"GeoIP data replaced by rename", "maxminddb-golang, 23 MB", runReplaced},
	{"GeoIP map overwritten by cp", "maxminddb-golang on the map itself", runMapOverwritten},
	{"journal grown until the disk is full", "Rust thread, ftruncate on tmpfs", runFull},
	{"journal opened with O_TRUNC by Go", "Rust thread, mapped for writing", runReopened},
}

// faults is how sigward's Prometheus collector calls the SIGBUSes that ended there.
const faults = "sigward_sigbus_faults_total"

// A Report is what came of one run against one build.
type Report struct {
	End
	Lines    []string // for people; the first is the message
	Log      []string // of the service's log, what is worth showing
	Problems []string // the expectations that were not met
}

// RunBare and RunWarded are one run each.
func (f MapFailure) RunBare(ctx context.Context, o Options) (Report, error) {
	o.progress("%s: bare service …", f.Name)
	return f.run(ctx, o, bareBuild)
}

func (f MapFailure) RunWarded(ctx context.Context, o Options) (Report, error) {
	o.progress("%s: warded service …", f.Name)
	return f.run(ctx, o, wardedBuild)
}

func (r *Report) line(format string, args ...any) {
	r.Lines = append(r.Lines, fmt.Sprintf(format, args...))
}

func (r *Report) expect(met bool, format string, args ...any) {
	if !met {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

// struck strikes until the service is dead, or patience ends.
func (w *world) struck(
	ctx context.Context, strike func(context.Context) error, pause time.Duration,
) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	w.serve(ctx)
	start := time.Now()
	for ctx.Err() == nil && !w.service.exitedWithin(ctx, 0) {
		err := strike(ctx)
		if !w.endsAfter(ctx, err, pause) && err != nil && ctx.Err() == nil {
			return 0, err
		}
	}
	if w.service.exitedWithin(ctx, 0) {
		return w.service.ended.Sub(start), nil
	}
	return 0, nil
}

// serve waits until a request was answered, and for some more.
func (w *world) serve(ctx context.Context) {
	if w.until(ctx, w.record.hasAnswers) {
		w.service.exitedWithin(ctx, interval)
	}
}

// endsAfter says whether the service has ended a pause after a strike. One that met with an error
// is likely to have met a service that was dead, and its parent may hear of that much later.
func (w *world) endsAfter(ctx context.Context, err error, pause time.Duration) bool {
	if err != nil {
		pause = patience
	}
	return w.service.exitedWithin(ctx, pause)
}

// finish ends the service as an operator does, unless it is dead already, and says how it ended.
func (w *world) finish(r *Report) {
	w.service.stop(syscall.SIGTERM)
	r.End = w.ended()
}

// lived is the expectation of a service that is to live.
func (w *world) lived(r *Report) bool {
	if r.Status.exited(0) {
		return true
	}
	r.line("%s", r.Status)
	r.expect(false,
		"the service must live until SIGTERM and then exit (0), but: %s; its log ends %q",
		r.Status, w.service.logEnd())
	return false
}

// until waits for something, and says whether it came before the service died or patience ended.
func (w *world) until(ctx context.Context, happened func() bool) bool {
	return w.untilWithin(ctx, patience, happened)
}

func (w *world) untilWithin(ctx context.Context, limit time.Duration, happened func() bool) bool {
	for start := time.Now(); time.Since(start) < limit; {
		if happened() {
			return true
		}
		if w.service.exitedWithin(ctx, 5*time.Millisecond) || ctx.Err() != nil {
			return false
		}
	}
	return false
}

// counter is one of the service's counters, 0 if it does not answer.
func (w *world) counter(name string) int {
	metrics, err := w.service.metrics()
	if err != nil {
		return 0
	}
	return int(metrics[name])
}

// logged are the whole lines of the service's log that contain all of the texts, without the time.
func (w *world) logged(texts ...string) (lines []string) {
next:
	for _, line := range w.service.errors.lines() {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue next
			}
		}
		if strings.HasPrefix(line, "time=") {
			_, line, _ = strings.Cut(line, " ")
		}
		lines = append(lines, strings.ReplaceAll(line, w.dir, "…"))
	}
	return lines
}

// Thousands writes a number with commas.
func Thousands(n int) string {
	digits := fmt.Sprint(n)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

// Times is "1 copy", "2 copies".
func Times(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Thousands(n) + " " + many
}

func times(n int) string { return Times(n, "time", "times") }

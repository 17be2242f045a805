package scenario

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Warded is what came of the service with sigward.
type Warded struct {
	Wanted   Options
	Failure  Failure
	End      // after SIGTERM; exited (0) is right
	Took     time.Duration
	Answered int   // orders answered with 202
	Failed   int   // orders without an answer, or with another one
	Mishap   error // the first of these
	Strikes  int   // upgrades, or clients that gave up

	Accepted     int // events that the Rust half took
	Acknowledged int // events that the collector acknowledged
	Resent       int // events sent again after a broken connection
	Stored       int // events in the store
	Lost         int // accepted orders that are not in the store
	Twice        int // events that are in the store more than once

	BrokenPipe int // io::Error of that kind, in Rust
	Swallowed  int // SIGPIPEs, as sigward counts them
	Lines      []Line
	Collector  string // its address
	Downloaded int64  // bytes that a patient client got at the end
	Stderr     string
}

// A Line is one line of the service's log about a SIGPIPE.
type Line struct {
	Text         string // without the time
	Thread, Peer string
	FD           int
}

// RunWarded strikes as often as the options say, under load, then lets the service settle and looks
// at what is left.
func (o Options) RunWarded(ctx context.Context, f Failure) (r Warded, err error) {
	o.progress("%s: warded service …", f.Name)
	r = Warded{Wanted: o, Failure: f}
	start := time.Now()
	w, err := o.world(ctx, f, wardedBuild)
	defer w.end()
	if err != nil {
		return r, err
	}
	r.Collector = w.collector.address
	w.record.begin(f.names())
	w.orders.start(w.service.addresses.API)
	defer w.orders.stop()
	striking, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	for !w.enough() && !w.service.exitedWithin(striking, w.pause()) && striking.Err() == nil {
		err := w.strike(striking)
		if err != nil && striking.Err() == nil && !w.service.exitedWithin(ctx, time.Second) {
			return r, err
		}
	}
	w.orders.stop()
	r.Strikes, r.Answered = w.strikes(), w.orders.count()
	r.Failed, r.Mishap = w.orders.failed, w.orders.mishap
	settled := w.settle(ctx, &r)
	died := w.service.exitedWithin(ctx, 0)
	w.service.stop(syscall.SIGTERM)
	r.End, r.Stderr, r.Took = w.ended(), w.service.errors.String(), time.Since(start)
	if died {
		return r, nil // Status and Stderr say why
	}
	return r, settled
}

// enough says whether all that the options ask for has happened, and a SIGPIPE has too: a leaver
// does not always make one.
func (w *world) enough() bool {
	wanted := w.Upgrades
	if w.failure.Peer == Downloader {
		wanted = w.Leavers
	}
	if w.strikes() < wanted || w.orders.count() < w.Requests {
		return false
	}
	metrics, err := w.service.metrics()
	return err != nil || metrics["sigward_sigpipe_swallowed_total"] > 0 && metrics[brokenPipes] > 0
}

const brokenPipes = `io_errors_total{kind="BrokenPipe"}`

// settle waits until every event is acknowledged, and reads counters and store; and until each
// SIGPIPE is logged: the log comes a moment later, and a peer that has gone may bring one more at
// any time.
func (w *world) settle(ctx context.Context, r *Warded) error {
	var metrics map[string]uint64
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		var err error
		if metrics, err = w.service.metrics(); err != nil {
			return err
		}
		settled := metrics["events_acknowledged_total"] == metrics["events_accepted_total"]
		if settled || time.Since(start) > patience {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	r.Accepted = int(metrics["events_accepted_total"])
	r.Acknowledged = int(metrics["events_acknowledged_total"])
	r.Resent = int(metrics["events_resent_total"])
	r.BrokenPipe = int(metrics[brokenPipes])
	var downloadError, storeError error
	r.Downloaded, downloadError = download(w.service.addresses.Downloads)
	w.until(ctx, func() bool {
		r.Swallowed = w.counter("sigward_sigpipe_swallowed_total")
		r.Lines = swallowed(w.service.errors.lines())
		return r.Swallowed == len(r.Lines)
	})
	w.collector.kill()
	events, storeError := readStore(w.collector.store)
	r.Stored = len(events)
	r.Lost, r.Twice = compare(w.orders.accepted, events)
	return errors.Join(downloadError, storeError)
}

var linePattern = regexp.MustCompile(
	`msg="SIGPIPE swallowed" .* thread\.name=(\S*) .*sigward\.fd=(\d+) ` +
		`.*network\.peer\.address=(\S*) network\.peer\.port=(\d+)`)

func swallowed(log []string) (lines []Line) {
	for _, text := range log {
		if !strings.Contains(text, `msg="SIGPIPE swallowed"`) {
			continue
		}
		line := Line{FD: -1}
		_, line.Text, _ = strings.Cut(text, " ") // the time
		if m := linePattern.FindStringSubmatch(text); m != nil {
			fd, _ := strconv.Atoi(m[2]) // digits, says the pattern
			line.Thread, line.FD, line.Peer = m[1], fd, net.JoinHostPort(m[3], m[4])
		}
		lines = append(lines, line)
	}
	return lines
}

// Problems are the expectations that r does not meet.
func (r Warded) Problems() (problems []string) {
	expect := func(met bool, format string, args ...any) {
		if !met {
			problems = append(problems, fmt.Sprintf(format, args...))
		}
	}
	expect(r.Status.exited(0),
		"the warded service must live until SIGTERM and then exit (0), but: %s; its log ends %q",
		r.Status, last(r.Stderr, 400))
	if len(problems) > 0 {
		return problems // what follows from that is no news
	}
	expect(r.Failed == 0, "%d orders failed, the first with: %v", r.Failed, r.Mishap)
	expect(r.Answered >= r.Wanted.Requests,
		"%d orders were answered, fewer than %d", r.Answered, r.Wanted.Requests)
	expect(r.Accepted == r.Answered,
		"the Rust half took %d events for %d answered orders", r.Accepted, r.Answered)
	expect(r.Acknowledged == r.Accepted,
		"%d of %d events were acknowledged", r.Acknowledged, r.Accepted)
	expect(r.Stored == r.Accepted, "the store holds %d events of %d", r.Stored, r.Accepted)
	expect(r.Lost == 0, "%d acknowledged events are not in the store", r.Lost)
	expect(r.Twice == 0, "%d events are in the store more than once", r.Twice)
	expect(r.Downloaded == 8<<20, "a patient client got %d bytes of the export", r.Downloaded)
	expect(r.Swallowed > 0, "no SIGPIPE was swallowed: the run proves nothing")
	expect(r.BrokenPipe > 0, "no io::Error of kind BrokenPipe came up in Rust")
	expect(len(r.Lines) == r.Swallowed,
		"%d SIGPIPEs were swallowed, and %d logged", r.Swallowed, len(r.Lines))
	if r.Failure.Peer == Downloader {
		expect(r.Strikes >= max(1, r.Wanted.Leavers), "only %d clients gave up", r.Strikes)
	} else {
		expect(r.Strikes >= max(5, r.Wanted.Upgrades),
			"the collector was upgraded %d times only", r.Strikes)
	}
	for _, line := range r.Lines {
		expect(r.attributed(line),
			"this line does not tell thread, descriptor and peer: %s", line.Text)
	}
	return problems
}

// attributed says whether the line names the thread that wrote, a descriptor, and the peer that was
// there.
func (r Warded) attributed(line Line) bool {
	if line.FD < 0 {
		return false
	}
	if r.Failure.Peer == Downloader {
		host, _, err := net.SplitHostPort(line.Peer)
		return err == nil && host == "127.0.0.1" && line.Thread == "rust-downloads"
	}
	return line.Thread == "rust-shipper" && line.Peer == r.Collector
}

func last(text string, most int) string { return text[max(0, len(text)-most):] }

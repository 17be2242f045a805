package scenario

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// Bare is what came of the service without sigward.
type Bare struct {
	End
	After    time.Duration // from the first strike to the end
	Strikes  int           // upgrades, or clients that gave up, until then
	Stderr   string
	Accepted int // orders answered with 202
	Lost     int // of these, events that are not in the store and died with the service
}

// RunBare strikes until the service dies, or patience ends.
func (o Options) RunBare(ctx context.Context, f Failure) (b Bare, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o.progress("%s: bare service …", f.Name)
	w, err := o.world(ctx, f, bareBuild)
	defer w.end()
	if err != nil {
		return b, err
	}
	w.record.begin(f.names())
	w.orders.start(w.service.addresses.API)
	defer w.orders.stop()
	w.serve(ctx)
	start := time.Now()
	for ctx.Err() == nil && !w.service.exitedWithin(ctx, 0) {
		err := w.strike(ctx)
		if !w.endsAfter(ctx, err, w.pause()) && err != nil && ctx.Err() == nil {
			return b, err
		}
	}
	b.Strikes = w.strikes()
	if !w.service.exitedWithin(ctx, 0) {
		return b, nil // alive, says Status
	}
	b.After, b.Stderr = w.service.ended.Sub(start), w.service.errors.String()
	w.orders.stop()
	b.End = w.ended()
	time.Sleep(100 * time.Millisecond) // what was on its way to the collector may still arrive
	w.collector.kill()
	events, err := readStore(w.collector.store)
	if err != nil {
		return b, err
	}
	b.Accepted = len(w.orders.accepted)
	b.Lost, _ = compare(w.orders.accepted, events)
	return b, nil
}

// Problems are the expectations that b does not meet.
func (b Bare) Problems() (problems []string) {
	if !b.Status.killedBy(syscall.SIGPIPE) {
		problems = append(problems,
			fmt.Sprintf("the bare service must die of SIGPIPE, but: %s", b.Status))
	}
	if b.Stderr != "" {
		problems = append(problems,
			fmt.Sprintf("the bare service must die silently, but wrote %q", b.Stderr))
	}
	return append(problems, b.unexplained("died of SIGPIPE", "the peer is gone")...)
}

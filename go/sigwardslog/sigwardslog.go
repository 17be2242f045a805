// Package sigwardslog logs sigward's events with log/slog.
//
//	stop := sigwardslog.Watch(time.Second, slog.Default())
//	defer stop()
//
// It is a package of its own because log/slog would add to a program without other use for it.
package sigwardslog

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	sigward "github.com/sigward/sigward/go"
)

// A logger that makes events itself must not keep itself busy: so many records at once, and then so
// many a second.
const (
	burst     = 512
	perSecond = 10
)

// Watch logs each event from now on, a broken peer ("SIGPIPE swallowed") or a loss in a map
// ("SIGBUS caught"), as a warning with the time of the event and the attributes of [Attrs]. It does
// so from a goroutine of its own, which looks every interval (above 0) and has a thread of its own.
//
// Two more attributes tell of events without a record, since the record before:
//
//	sigward.missed       the library had to drop them: it keeps 512 between two looks
//	sigward.suppressed   a logger made them, by a write on such a thread, or more came than 512 at
//	                     once and 10 a second from then on
//
// So a logger whose own peer has gone does not tell itself so for ever; one that writes on another
// thread is cut to that rate.
//
// stop ends it after the events of before stop are logged, and logs the two counts if they are not
// 0. When it returns no event is logged any more. It may be called more than once, by several
// goroutines (the first one logs the counts), and by the logger itself.
func Watch(interval time.Duration, logger *slog.Logger) (stop func()) {
	w := &watch{handler: logger.Handler(), budget: burst, filled: time.Now()}
	// Before the watch begins: what it begins with is not missed.
	w.last = newest()
	end := sigward.Watch(interval, w.report)
	return func() {
		if end(); w.ended.CompareAndSwap(false, true) {
			w.rest() // nothing, if this is the logger's call: its record has said it
			if found, _ := threads.Load(w.thread); found != nil {
				threads.Store(w.thread, term{found.(term).since, time.Now()})
			}
		}
	}
}

// newest is the number of the newest event. What comes meanwhile is not waited for.
func newest() (cursor uint64) {
	for n := 0; n < 10; n++ {
		_, next, err := sigward.ReadEvents(cursor)
		if err != nil || next == cursor {
			break
		}
		cursor = next
	}
	return cursor
}

type watch struct {
	handler            slog.Handler
	last               uint64  // number of the latest event
	thread             int     // of the goroutine; 0 before its first report
	budget             float64 // records that may be written now
	filled             time.Time
	missed, suppressed uint64
	ended              atomic.Bool
}

func (w *watch) report(e sigward.Event) {
	if w.thread == 0 {
		// Never unlocked: the thread ends with the goroutine, so its id is nobody else's.
		runtime.LockOSThread()
		w.thread = threadID()
		threads.Store(w.thread, term{since: time.Now()})
	}
	if e.Number > w.last {
		w.missed += e.Number - w.last - 1
		w.last = e.Number
	}
	if own(e) || !w.allowed() {
		w.suppressed++
		return
	}
	message := "SIGPIPE swallowed"
	if e.Kind == "map" {
		message = "SIGBUS caught"
	}
	w.write(e.Time, message, Attrs(e))
}

// threads are those of all watches by their ids: two watches whose loggers write in C would else
// report each other for ever. An id may be somebody else's before and after.
var threads sync.Map

type term struct{ since, until time.Time }

func own(e sigward.Event) bool {
	found, _ := threads.Load(e.TID)
	t, ours := found.(term)
	return ours && !e.Time.Before(t.since) && (t.until.IsZero() || !e.Time.After(t.until))
}

func (w *watch) allowed() bool {
	now := time.Now()
	w.budget = min(burst, w.budget+now.Sub(w.filled).Seconds()*perSecond)
	w.filled = now
	if w.budget < 1 {
		return false
	}
	w.budget--
	return true
}

// rest says what no record has said.
func (w *watch) rest() {
	if w.missed > 0 || w.suppressed > 0 {
		w.write(time.Now(), "events of sigward without a record", nil)
	}
}

func (w *watch) write(when time.Time, message string, attrs []slog.Attr) {
	ctx := context.Background()
	if !w.handler.Enabled(ctx, slog.LevelWarn) {
		return
	}
	record := slog.NewRecord(when, slog.LevelWarn, message, 0)
	record.AddAttrs(attrs...)
	if w.missed > 0 {
		record.AddAttrs(slog.Uint64("sigward.missed", w.missed))
	}
	if w.suppressed > 0 {
		record.AddAttrs(slog.Uint64("sigward.suppressed", w.suppressed))
	}
	w.missed, w.suppressed = 0, 0
	_ = w.handler.Handle(ctx, record) // as slog.Logger: there is nobody to tell
}

package sigward

import (
	"bytes"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Watch calls report for each event from now on, from a goroutine of its own that looks every
// interval, which must be above 0. Events of before are not reported, and neither are those that
// the library had to drop (see Event.Number). What report itself writes to a broken peer in C is an
// event again, and so on: package sigwardslog has an end to that.
//
// stop ends it, after the events of before stop have been reported; when it returns, report is not
// running and is not called again. It may be called more than once, from several goroutines, and by
// report itself: then it returns at once, and that call of report was the last.
func Watch(interval time.Duration, report func(Event)) (stop func()) {
	w := &watch{report: report, asked: make(chan struct{}), stopped: make(chan struct{})}
	ticker := time.NewTicker(interval) // panics here, where it can be recovered, and not there
	w.skip()
	go w.run(ticker)
	return w.stop
}

type watch struct {
	report         func(Event)
	cursor         uint64
	goroutine      atomic.Uint64
	last           bool // set by report's own call of stop
	once           sync.Once
	asked, stopped chan struct{}
}

// allBatches is how often ReadEvents can find something if nothing new comes: the library keeps 512
// events.
const allBatches = 512/eventBatch + 1

// skip goes to the newest event. What comes meanwhile is from now on: that none of it is missed
// matters, so this ends.
func (w *watch) skip() {
	for n := 0; n < allBatches; n++ {
		next := skipEvents(w.cursor)
		if next == w.cursor {
			return
		}
		w.cursor = next
	}
}

// drain reports what is there, and does not follow for ever those who write faster.
func (w *watch) drain() {
	for n := 0; n < allBatches; n++ {
		events, next, err := ReadEvents(w.cursor)
		w.cursor = next
		if err != nil || len(events) == 0 {
			return
		}
		for _, event := range events {
			if w.report(event); w.last {
				return
			}
		}
	}
}

func (w *watch) run(ticker *time.Ticker) {
	defer close(w.stopped)
	w.goroutine.Store(thisGoroutine())
	defer ticker.Stop()
	for !w.last {
		select {
		case <-ticker.C:
			w.drain()
		case <-w.asked:
			w.drain()
			return
		}
	}
}

func (w *watch) stop() {
	if w.goroutine.Load() == thisGoroutine() {
		w.last = true
		return
	}
	w.once.Do(func() { close(w.asked) })
	<-w.stopped
}

// thisGoroutine is the number in "goroutine 7 [running]:". A report that calls stop must not wait
// for itself, and the runtime has no other way to tell that it does.
func thisGoroutine() uint64 {
	var text [40]byte
	_, number, _ := bytes.Cut(text[:runtime.Stack(text[:], false)], []byte(" "))
	number, _, _ = bytes.Cut(number, []byte(" "))
	n, _ := strconv.ParseUint(string(number), 10, 64)
	return n
}

//go:build cgo && linux && (amd64 || arm64)

package sigward

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigward/sigward/go/internal/foreign"
)

func writeBroken(t *testing.T, count int) {
	t.Helper()
	fd := brokenPipe(t)
	for n := 0; n < count; n++ {
		if foreign.Write(fd) == nil {
			t.Fatal("the pipe has a reader")
		}
	}
}

// What was before is not reported, all of what comes is: also when more was there than one batch.
func TestWatchBeginsNow(t *testing.T) {
	for _, older := range []int{3, eventBatch, 700} {
		writeBroken(t, older)
		var seen atomic.Int64
		stop := Watch(time.Hour, func(Event) { seen.Add(1) })
		writeBroken(t, 5)
		stop()
		if n := seen.Load(); n != 5 {
			t.Errorf("%d of before: %d are reported, not 5", older, n)
		}
	}
}

// reported fails where nothing comes for a minute.
func reported(t *testing.T, what <-chan struct{}) {
	t.Helper()
	select {
	case <-what:
	case <-time.After(time.Minute):
		t.Fatal("no end")
	}
}

func TestWatchIsStoppedTwiceAndByMany(t *testing.T) {
	var running atomic.Bool
	entered, leave := make(chan struct{}), make(chan struct{})
	stop := Watch(time.Millisecond, func(Event) {
		running.Store(true)
		close(entered)
		<-leave
		running.Store(false)
	})
	writeBroken(t, 1)
	reported(t, entered)
	var stops sync.WaitGroup
	for n := 0; n < 4; n++ {
		stops.Add(1)
		go func() {
			defer stops.Done()
			stop()
			if running.Load() {
				t.Error("stop has returned while report is at work")
			}
		}()
	}
	time.Sleep(10 * time.Millisecond) // lets them come so far that one could return too early
	close(leave)
	stops.Wait()
	stop()
}

func TestWatchIsStoppedByItsOwnReport(t *testing.T) {
	calls, ended := 0, make(chan struct{})
	var stop func()
	ready := make(chan struct{})
	stop = Watch(time.Millisecond, func(Event) {
		<-ready
		calls++
		stop()
		stop()
		if calls == 1 {
			close(ended)
		}
	})
	close(ready)
	writeBroken(t, 3)
	reported(t, ended)
	stop()
	if calls != 1 {
		t.Errorf("%d calls after stop in the first", calls)
	}
}

func TestWatchOfNoIntervalPanicsWhereItIsCalled(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Watch(0, func(Event) {})()
}

//go:build cgo && linux && (amd64 || arm64)

package sigwardslog

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	sigward "github.com/sigward/sigward/go"
	"github.com/sigward/sigward/go/internal/foreign"
)

// kept is a slog.Handler that keeps the records, and does something after each.
type kept struct {
	lock    sync.Mutex
	records []slog.Record
	after   func()
}

func (k *kept) Enabled(context.Context, slog.Level) bool { return true }
func (k *kept) WithAttrs([]slog.Attr) slog.Handler       { return k }
func (k *kept) WithGroup(string) slog.Handler            { return k }

func (k *kept) Handle(_ context.Context, r slog.Record) error {
	k.lock.Lock()
	k.records = append(k.records, r)
	k.lock.Unlock()
	if k.after != nil {
		k.after()
	}
	return nil
}

func (k *kept) all() []slog.Record {
	k.lock.Lock()
	defer k.lock.Unlock()
	return append([]slog.Record(nil), k.records...)
}

// sum is the total of an attribute over all records.
func (k *kept) sum(name string) (total uint64) {
	for _, record := range k.all() {
		n, _ := of(record)[name].(uint64)
		total += n
	}
	return total
}

// events are the records about one event each.
func (k *kept) events() (count uint64) {
	for _, record := range k.all() {
		if _, ok := of(record)["sigward.event"]; ok {
			count++
		}
	}
	return count
}

func of(record slog.Record) values {
	got := values{}
	record.Attrs(func(attr slog.Attr) bool {
		got[attr.Key] = attr.Value.Any()
		return true
	})
	return got
}

// until waits for a condition, and fails when it does not come.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for start := time.Now(); !holds(); time.Sleep(time.Millisecond) {
		if time.Since(start) > time.Minute {
			t.Fatal(what)
		}
	}
}

func brokenPipe(t *testing.T) int {
	t.Helper()
	var ends [2]int
	if err := syscall.Pipe(ends[:]); err != nil {
		t.Fatal(err)
	}
	syscall.Close(ends[0])
	t.Cleanup(func() { syscall.Close(ends[1]) })
	return ends[1]
}

func write(t *testing.T, fd, count int) {
	t.Helper()
	for n := 0; n < count; n++ {
		if err := foreign.Write(fd); err != syscall.EPIPE {
			t.Fatal(err)
		}
	}
}

func TestABrokenPeerIsARecord(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	file, err := connection.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := syscall.Shutdown(int(file.Fd()), syscall.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	handler := &kept{}
	stop := Watch(time.Hour, slog.New(handler))
	write(t, int(file.Fd()), 1)
	stop()
	records := handler.all()
	if len(records) != 1 {
		t.Fatalf("%d records", len(records))
	}
	events, _, _ := sigward.ReadEvents(of(records[0])["sigward.event"].(uint64) - 1)
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	wanted, _ := strconv.ParseInt(port, 10, 64)
	got := of(records[0])
	r := records[0]
	if !r.Time.Equal(events[0].Time) || r.Level != slog.LevelWarn ||
		r.Message != "SIGPIPE swallowed" || got["network.peer.port"] != wanted ||
		got["thread.name"] != "foreign" || got["sigward.call"] != "write" {
		t.Errorf("%v %v %v %v", r.Time, r.Level, r.Message, got)
	}
	for _, name := range []string{"sigward.missed", "sigward.suppressed"} {
		if _, ok := got[name]; ok {
			t.Errorf("%s of nothing", name)
		}
	}
}

func TestALossIsARecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, make([]byte, 1<<15), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := sigward.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	handler := &kept{}
	stop := Watch(time.Hour, slog.New(handler))
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	foreign.Sum(m.Bytes())
	stop()
	records := handler.all()
	if len(records) != 1 || records[0].Message != "SIGBUS caught" {
		t.Fatalf("%v", records)
	}
	got := of(records[0])
	if got["error.type"] != "truncated" || got["file.size"] != int64(0) ||
		got["sigward.offset"] != int64(0) {
		t.Errorf("%v", got)
	}
}

// Each event has a record, is missed or is suppressed.
func TestEachEventIsAccountedFor(t *testing.T) {
	const many = 700
	handler := &kept{}
	stop := Watch(time.Hour, slog.New(handler))
	write(t, brokenPipe(t), many)
	var stops sync.WaitGroup
	for n := 0; n < 4; n++ {
		stops.Add(1)
		go func() {
			defer stops.Done()
			stop()
		}()
	}
	stops.Wait()
	missed := handler.sum("sigward.missed")
	total := handler.events() + missed + handler.sum("sigward.suppressed")
	if total != many || missed < many-512 {
		t.Errorf("%d of %d, %d missed", total, many, missed)
	}
}

// A logger whose own peer has gone, and which writes in C: bare, each record is the next event.
func TestALoggerDoesNotReportItself(t *testing.T) {
	broken := brokenPipe(t)
	var bare sync.WaitGroup
	bare.Add(100)
	reports := 0
	end := sigward.Watch(time.Millisecond, func(sigward.Event) {
		if reports++; reports <= 100 {
			bare.Done()
			_ = foreign.WriteHere(broken)
		}
	})
	write(t, broken, 1)
	bare.Wait() // a hundred out of one
	end()

	handler := &kept{after: func() { _ = foreign.WriteHere(broken) }}
	stop := Watch(time.Millisecond, slog.New(handler))
	write(t, broken, 3)
	until(t, "no records", func() bool { return handler.events() >= 3 })
	// What the last record made is looked at before this one.
	write(t, broken, 1)
	until(t, "no record", func() bool { return handler.events() >= 4 })
	stop()
	if events, own := handler.events(), handler.sum("sigward.suppressed"); events != 4 || own != 4 {
		t.Errorf("%d records of 4 events, %d suppressed", events, own)
	}
}

func TestTwoLoggersDoNotReportEachOther(t *testing.T) {
	broken := brokenPipe(t)
	var handlers [2]*kept
	var stops [2]func()
	for n := range handlers {
		handlers[n] = &kept{after: func() { _ = foreign.WriteHere(broken) }}
		stops[n] = Watch(time.Millisecond, slog.New(handlers[n]))
	}
	for round := uint64(1); round <= 3; round++ {
		write(t, broken, 1)
		until(t, "no records", func() bool {
			return handlers[0].events() >= round && handlers[1].events() >= round
		})
	}
	for n := range handlers {
		stops[n]()
		// stop's own record comes from this thread, and is an event to the other.
		if events := handlers[n].events(); events < 3 || events > uint64(3+n) {
			t.Errorf("%d records of 3 events", events)
		}
	}
}

// One that makes two events of each record, on threads that nobody can tell from others.
func TestALoggerOfOtherThreadsIsCut(t *testing.T) {
	broken := brokenPipe(t)
	handler := &kept{after: func() { write(t, broken, 2) }}
	start := time.Now()
	most := func() float64 { return burst + time.Since(start).Seconds()*perSecond + 1 }
	stop := Watch(time.Millisecond, slog.New(handler))
	write(t, broken, 1)
	until(t, "no loop", func() bool { return handler.events() >= burst })
	until(t, "never cut", func() bool {
		write(t, broken, 1) // what is cut may have ended the loop
		return handler.sum("sigward.suppressed") > 0 || float64(len(handler.all())) > most()
	})
	stop()
	if count := float64(len(handler.all())); count > most()+1 {
		t.Errorf("%v records, more than %v", count, most())
	}
}

func TestStopByTheLoggerItself(t *testing.T) {
	handler, began := &kept{}, make(chan func(), 1)
	done := make(chan struct{})
	handler.after = func() {
		stop := <-began
		stop()
		began <- stop
		close(done)
	}
	stop := Watch(time.Millisecond, slog.New(handler))
	began <- stop
	write(t, brokenPipe(t), 5)
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("no end")
	}
	(<-began)()
	if events := handler.events(); events != 1 {
		t.Errorf("%d records", events)
	}
}

// What was written on the same thread before it was ours is somebody else's.
func TestAnEventFromBeforeIsNotOurOwn(t *testing.T) {
	handler := &kept{}
	w := &watch{handler: handler, budget: burst, filled: time.Now()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.report(sigward.Event{Number: 1, Time: time.Now()}) // from now on the thread is ours
		found, _ := threads.Load(syscall.Gettid())
		at := found.(term).since
		before := sigward.Event{Number: 2, TID: syscall.Gettid(), Time: at.Add(-time.Second)}
		own := before
		own.Number, own.Time = 3, at.Add(time.Second)
		w.report(before)
		w.report(own)
	}()
	<-done
	if handler.events() != 2 || w.suppressed != 1 {
		t.Errorf("%d records, %d suppressed", handler.events(), w.suppressed)
	}
}

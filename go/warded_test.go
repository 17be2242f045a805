//go:build cgo && linux && (amd64 || arm64)

package sigward

import (
	"bytes"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigward/sigward/go/internal/foreign"
)

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

// Bare, this test's process would end here: tests/go asserts that it does.
func TestForeignWriteIsAnErrorAndAnEvent(t *testing.T) {
	if err := Err(); err != nil {
		t.Fatal(err)
	}
	before, _ := Counters()
	var got []Event
	stop := Watch(time.Millisecond, func(e Event) { got = append(got, e) })
	fd := brokenPipe(t)
	if err := foreign.Write(fd); !errors.Is(err, syscall.EPIPE) {
		t.Fatalf("got %v, want EPIPE", err)
	}
	stop()
	if len(got) == 0 {
		t.Fatal("no event")
	}
	last := got[len(got)-1]
	if last.Thread != "foreign" || last.FD != fd || last.Kind != "pipe" ||
		last.Result != -int64(syscall.EPIPE) || last.Call != "write" ||
		last.Caller != filepath.Base(os.Args[0]) {
		t.Errorf("%+v", last)
	}
	// Somebody may set the clock meanwhile.
	if age := time.Since(last.Time); age < -time.Minute || age > time.Minute {
		t.Errorf("age %v", age)
	}
	after, _ := Counters()
	if after.Swallowed != before.Swallowed+1 || after.CyclesCut != 0 || after.EventsDropped != 0 {
		t.Errorf("%+v then %+v", before, after)
	}
}

func TestGoKeepsItsOwn(t *testing.T) {
	notified := make(chan os.Signal, 4)
	signal.Notify(notified, syscall.SIGPIPE)
	defer signal.Stop(notified)
	want := func(how string) {
		t.Helper()
		select {
		case <-notified:
		case <-time.After(time.Minute):
			t.Errorf("%s: not notified", how)
		}
	}
	if _, err := syscall.Write(brokenPipe(t), []byte("x")); err != syscall.EPIPE {
		t.Errorf("got %v, want EPIPE", err)
	}
	want("Go's own write")
	syscall.Kill(os.Getpid(), syscall.SIGPIPE)
	want("kill")
}

func TestRestoreAndFilter(t *testing.T) {
	if err := Restore(); err != nil {
		t.Fatal(err)
	}
	if err := Filter(); err != nil {
		t.Fatal(err)
	}
	if err := foreign.Write(brokenPipe(t)); !errors.Is(err, syscall.EPIPE) {
		t.Fatalf("got %v, want EPIPE", err)
	}
}

func TestTextRange(t *testing.T) {
	low, high := textRange()
	for name, function := range map[string]any{
		"syscall.Write": syscall.Write, "this": TestTextRange, "bytes.Compare": bytes.Compare,
	} {
		if pc := reflect.ValueOf(function).Pointer(); pc < low || pc >= high {
			t.Errorf("%s at %#x is not in %#x..%#x", name, pc, low, high)
		}
	}
	if pc := foreign.Code(); pc >= low && pc < high {
		t.Errorf("C code at %#x is in %#x..%#x", pc, low, high)
	}
	if high-low < 100<<10 {
		t.Errorf("only %d bytes of Go code", high-low)
	}
}

func TestErrorText(t *testing.T) {
	err := code("init", -1)
	if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "seccomp") {
		t.Error(err)
	}
}

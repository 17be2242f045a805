//go:build cgo && linux && (amd64 || arm64)

package sigward

// #include "sigward.h"
// #include "sigward_go.h"
import "C"

import (
	"os"
	"os/signal"
	"syscall"
	"time"
	"unsafe"
)

// initError is what arming the process failed with.
var initError error

func init() { initError = arm() }

// arm takes the seat on top of Go's handler, with Go in the state that it would be in without us.
//
// The library's constructor sits beneath Go since before Go started, so that nothing dies before
// this runs. But for that, Go believes that C code wants its SIGPIPEs and forwards to it what it
// would otherwise have kept or given to signal.Notify: a kill -PIPE that meets an idle thread, say.
// So Go gets its SIG_DFL back. Go reads the kernel's table when a signal that was ignored is
// enabled again (sigenable in runtime/signal_unix.go): hence Ignore, SIG_DFL, Notify, and Reset.
// For these few microseconds SIGPIPE has its default; and what registered for SIGPIPE before, which
// no package initialised before this one does, is cancelled.
func arm() error {
	low, high := textRange()
	if err := code("text", C.sigward_runtime_text(C.size_t(low), C.size_t(high))); err != nil {
		return err
	}
	if C.sigward_runtime_default_beneath() == 1 {
		signal.Ignore(syscall.SIGPIPE)
		given := code("init", C.sigward_runtime_give_default())
		signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
		signal.Reset(syscall.SIGPIPE)
		if given != nil {
			return given
		}
	}
	if err := code("init", C.sigward_init(nil)); err != nil {
		return err
	}
	return EnsureOnTop()
}

// Err returns the error that arming the process at start failed with, for example EPERM from a
// seccomp filter that refuses sigaction. Then a broken peer may end the process as it does without
// this package; Status tells.
func Err() error { return initError }

// EnsureOnTop takes the seats on top, for SIGPIPE, SIGBUS and the signals of [ExplainSignals],
// again after another runtime or library has installed its handlers: a c-shared library loaded
// late, a crash reporter. What stands there now is chained.
func EnsureOnTop() error { return code("ensure on top", C.sigward_ensure_on_top()) }

// Restore takes everything about SIGPIPE back, SwallowStdio included: it is as it was without this
// package. Maps stay guarded.
func Restore() error { return code("restore", C.sigward_sigpipe_restore()) }

// Filter undoes Restore, but for SwallowStdio.
func Filter() error {
	if err := code("filter", C.sigward_sigpipe_filter()); err != nil {
		return err
	}
	return EnsureOnTop()
}

// SwallowStdio takes standard output and standard error in: what C, C++ or Rust print on threads of
// their own to a pipe whose reader has left is EPIPE as well, and not the end of the process. A
// program that only prints there, and looks at no error, then goes on for ever. Go's own printing
// still ends the process: see Writer.
func SwallowStdio() error {
	options := C.struct_sigward_options{
		size:  C.sizeof_struct_sigward_options,
		flags: C.SIGWARD_SWALLOW_STDIO,
	}
	options.sigpipe = C.SIGWARD_SIGPIPE_FILTER
	return code("swallow stdio", C.sigward_init(&options))
}

// Counters returns all counters.
func Counters() (CounterValues, error) {
	var c C.struct_sigward_counters
	if err := code("counters", C.sigward_read_counters(&c)); err != nil {
		return CounterValues{}, err
	}
	return CounterValues{
		Deliveries:    uint64(c.deliveries),
		Swallowed:     uint64(c.swallowed),
		Chained:       uint64(c.chained),
		Unattributed:  uint64(c.unattributed),
		Overwritten:   uint64(c.overwritten),
		RacesRepaired: uint64(c.races_repaired),
		CyclesCut:     uint64(c.cycles_cut),
		EventsDropped: uint64(c.events_dropped),
		Faults:        uint64(c.faults),
		Patches:       uint64(c.patches),
		Healed:        uint64(c.healed),
		Maps:          uint64(c.maps),
		Leaked:        uint64(c.leaked),
	}, nil
}

// ReadEvents returns events after the one numbered cursor, oldest first, and the cursor for the
// next call. The first call takes 0. It returns some; call again until there are none.
func ReadEvents(cursor uint64) (events []Event, next uint64, err error) {
	var batch [eventBatch]C.struct_sigward_event
	place := C.uint64_t(cursor)
	count := C.sigward_read_events(&place, &batch[0], C.size_t(len(batch)))
	if count < 0 {
		return nil, cursor, code("read events", C.int(count))
	}
	for i := range batch[:count] {
		events = append(events, event(&batch[i]))
	}
	return events, uint64(place), nil
}

// skipEvents is the cursor behind some more events.
func skipEvents(cursor uint64) uint64 {
	var batch [eventBatch]C.struct_sigward_event
	place := C.uint64_t(cursor)
	C.sigward_read_events(&place, &batch[0], C.size_t(len(batch)))
	return uint64(place)
}

func event(e *C.struct_sigward_event) Event {
	thread := unsafe.Slice((*byte)(unsafe.Pointer(&e.thread[0])), len(e.thread))
	address := unsafe.Slice((*byte)(unsafe.Pointer(&e.peer[0])), len(e.peer))
	kind := "unknown"
	if names := [...]string{"unknown", "pipe", "socket", "other", "map"}; e.fd_kind >= 0 &&
		int(e.fd_kind) < len(names) {
		kind = names[e.fd_kind]
	}
	about := Event{
		Number: uint64(e.number),
		Time:   time.Unix(0, int64(e.time_ns)),
		Signal: syscall.Signal(e.signal),
		TID:    int(e.tid),
		Thread: cString(thread),
		FD:     int(e.fd),
		Kind:   kind,
		Result: int64(e.result),
		Inode:  uint64(e.inode),
		Call:   C.GoString(C.sigward_event_operation(e)),
		Caller: caller(e),
	}
	if address = address[:min(int(e.peer_len), len(address))]; kind != "map" {
		about.Peer = peer(address)
		return about
	}
	about.Path = string(address)
	about.Offset, about.LenNow = int64(e.offset), int64(e.len_now)
	about.Cause, about.Write = Cause(e.cause), e.write != 0
	return about
}

func caller(e *C.struct_sigward_event) string {
	var name [64]C.char
	C.sigward_event_library(e, &name[0], C.size_t(len(name)))
	return C.GoString(&name[0])
}

func code(op string, status C.int) error {
	if status >= 0 {
		return nil
	}
	return &Error{
		Op:    op,
		Errno: syscall.Errno(-status),
		Text:  C.GoString(C.sigward_strerror(status)),
	}
}

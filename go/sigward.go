// Package sigward keeps SIGPIPE from killing a Go process that has C, C++ or Rust inside, and tells which
// thread wrote to which broken descriptor and peer.
//
//	import _ "github.com/sigward/sigward/go"
//
// That is all: the package's init arms the process. A write to a broken pipe or socket, on any thread and in
// any library, returns EPIPE; Go's own behaviour stays as os/signal documents it.
//
// Without cgo the package builds and does nothing: a pure Go process needs no help against SIGPIPE.
//
// With the build tag sigward_external the package links no archive of its own: the program brings the C
// functions in another one, such as a Rust staticlib that says `pub use sigward::ffi::*;`.
package sigward

import (
	"fmt"
	"net/netip"
	"syscall"
	"time"
)

// Event is one SIGPIPE that ended in our handler: who wrote to what.
type Event struct {
	Number uint64         // 1 for the first of the process; a gap is an event that was overwritten
	Time   time.Time      // when the write failed
	Signal syscall.Signal // SIGPIPE
	TID    int            // kernel thread id of the writer
	Thread string         // its name
	FD     int            // what was written to, or -1 if that could not be told for certain
	Kind   string         // "pipe", "socket", "other" or "unknown"
	Result int64          // -EPIPE, or the bytes of a partial write
	Inode  uint64         // of the pipe or socket, as in /proc/PID/fd
	Call   string         // the system call: "writev", or empty if it could not be told
	Caller string         // file name of the library or executable that made it; may be empty
	Peer   string         // address or path of the other side, also when the connection is gone; may be empty
}

// String is the event as one line for a log.
func (e Event) String() string {
	call := e.Call
	if call == "" {
		call = "a write"
	}
	if e.Caller != "" {
		call += " by " + e.Caller
	}
	text := fmt.Sprintf("SIGPIPE swallowed: %s on thread %q (tid %d) to ", call, e.Thread, e.TID)
	switch {
	case e.Kind == "socket" && e.Peer != "":
		text += fmt.Sprintf("fd %d (socket:[%d], peer %s)", e.FD, e.Inode, e.Peer)
	case e.Kind == "pipe", e.Kind == "socket":
		text += fmt.Sprintf("fd %d (%s:[%d])", e.FD, e.Kind, e.Inode)
	case e.Kind == "other":
		text += fmt.Sprintf("fd %d (inode %d)", e.FD, e.Inode)
	default:
		text += "an unknown fd"
	}
	if e.Result < 0 {
		return text + ": EPIPE"
	}
	return text + fmt.Sprintf(": %d bytes, then it broke", e.Result)
}

// CounterValues are all counters at about one moment.
type CounterValues struct {
	Deliveries    uint64 // signals that came to one of our entry points
	Swallowed     uint64 // SIGPIPEs that ended here
	Chained       uint64 // signals that went to a predecessor
	Unattributed  uint64 // swallowed ones whose descriptor could not be told
	Overwritten   uint64 // how often a handler was found standing where ours had been on top
	RacesRepaired uint64 // races with other writers of the kernel's table, lost and put right
	CyclesCut     uint64 // circles of handlers that were cut
	EventsDropped uint64 // events that found their slot in the ring still being written
}

// Error says which operation failed and with which errno; errors.Is(err, syscall.EPERM) sees through it.
type Error struct {
	Op    string
	Errno syscall.Errno
	Text  string // what it means and what to do next
}

func (e *Error) Error() string { return "sigward: " + e.Op + ": " + e.Text }

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// Watch calls report for each event from now on, from a goroutine of its own that looks every interval, and
// returns a function that stops it after reporting what is left.
func Watch(interval time.Duration, report func(Event)) (stop func()) {
	asked, stopped := make(chan struct{}), make(chan struct{})
	var cursor uint64
	drain := func() {
		for {
			events, next, err := ReadEvents(cursor)
			if cursor = next; err != nil || len(events) == 0 {
				return
			}
			for _, event := range events {
				report(event)
			}
		}
	}
	go func() {
		defer close(stopped)
		defer drain()
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				drain()
			case <-asked:
				return
			}
		}
	}()
	return func() {
		close(asked)
		<-stopped
	}
}

// peer turns a struct sockaddr into text.
func peer(raw []byte) string {
	if len(raw) < 4 {
		return ""
	}
	family := uint16(raw[0]) | uint16(raw[1])<<8 // linux/amd64 and arm64 are little-endian
	port := uint16(raw[2])<<8 | uint16(raw[3])
	switch {
	case family == syscall.AF_INET && len(raw) >= 8:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw[4:8])), port).String()
	case family == syscall.AF_INET6 && len(raw) >= 24:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(raw[8:24])), port).String()
	case family == syscall.AF_UNIX:
		return cString(raw[2:])
	}
	return ""
}

func cString(raw []byte) string {
	for end, b := range raw {
		if b == 0 {
			return string(raw[:end])
		}
	}
	return string(raw)
}

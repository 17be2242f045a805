// Package sigward keeps two signals from killing a Go process: SIGPIPE, where C, C++ or Rust inside
// writes to a broken pipe or socket, and SIGBUS, where a mapped file is truncated, overwritten or
// out of disk space.
//
//	import _ "github.com/sigward/sigward/go"
//
// That is all against SIGPIPE: the package's init arms the process. A write to a broken pipe or
// socket, on any thread and in any library, returns EPIPE, and ReadEvents tells which thread wrote
// to which descriptor and peer; Go's own behaviour stays as os/signal documents it. A standard
// output or standard error that is a pipe is left out, so that `prog | head` ends, whoever prints
// there: see SwallowStdio, and Writer for Go's own printing.
//
// A signal.Notify for SIGPIPE by a package that is initialised before this one is cancelled: call
// it in main. While this package is initialised SIGPIPE has its default for some microseconds. What
// no signal of a write tells (io_uring's later writes, a signal that was blocked) and what differs
// on arm64 is listed in docs/book/limits.md of the repository.
//
// Against SIGBUS, map files with Open instead of syscall.Mmap: reading what is lost is an error
// then. AdoptFile guards the maps that another library made. Faults elsewhere, and nil
// dereferences, are handled by Go as before.
//
// Without cgo the package builds as well: a pure Go process needs no help against SIGPIPE, and a
// Map guards there what Go alone can. It has no Log then.
//
// With the build tag sigward_external the package links no archive of its own: the program brings
// the C functions in another one, such as a Rust staticlib that says `pub use sigward::ffi::*;`.
package sigward

import (
	"fmt"
	"syscall"
	"time"
)

// Event is one SIGPIPE that ended in our handler, who wrote to what, or one SIGBUS, who met which
// loss in a map.
type Event struct {
	Number uint64         // 1 for the first of the process; a gap is events overwritten or dropped
	Time   time.Time      // when it was
	Signal syscall.Signal // SIGPIPE or SIGBUS
	TID    int            // kernel thread id of the writer, or of who met the loss
	Thread string         // its name
	// FD: what was written to, or the map's own descriptor; -1 if that could not be told for
	// certain.
	FD   int
	Kind string // "pipe", "socket", "other" or "unknown"; SIGBUS: "map"
	// Result: -EPIPE, or the bytes of a partial write; SIGBUS: the cause's errno, negative.
	Result int64
	Inode  uint64 // of the pipe or socket, as in /proc/PID/fd, or of the mapped file
	Call   string // the system call: "writev", or empty if it could not be told
	Caller string // file name of the library or executable that made it (as Owner); may be empty
	// Peer: address or path of the other side, also when the connection is gone; may be empty.
	Peer string

	// SIGBUS only:

	Path   string // of the file, its last 112 bytes; may be empty
	Offset int64  // the lowest lost byte, from the start of the map
	LenNow int64  // with CauseTruncated: the file's length in bytes
	Cause  Cause  // why
	Write  bool   // met by a write
}

// String is the event as one line for a log.
func (e Event) String() string {
	if e.Kind == "map" {
		return e.loss()
	}
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

func (e Event) loss() string {
	text := "SIGBUS caught: read"
	if e.Write {
		text = "SIGBUS caught: write"
	}
	if e.Caller != "" {
		text += " by " + e.Caller
	}
	path := e.Path
	if path == "" {
		path = "a file"
	}
	text += fmt.Sprintf(
		" on thread %q (tid %d) of the map of %s (inode %d): lost from byte %d on: ", e.Thread,
		e.TID, path, e.Inode, e.Offset)
	switch e.Cause {
	case CauseTruncated:
		return text + fmt.Sprintf("the file was cut to %d bytes", e.LenNow)
	case CauseNoSpace:
		return text + "no space"
	case CauseIO:
		return text + "input/output error"
	case CauseHardware:
		return text + "damaged memory"
	}
	return text + "cause unknown"
}

// eventBatch is how many events are read at once.
const eventBatch = 64

// CounterValues are all counters at about one moment.
type CounterValues struct {
	Deliveries    uint64 // signals that came to one of our entry points
	Swallowed     uint64 // SIGPIPEs that ended here
	Chained       uint64 // signals that went to a predecessor
	Unattributed  uint64 // swallowed ones whose descriptor could not be told
	Overwritten   uint64 // how often something else, or a changed row of ours, was found on top
	RacesRepaired uint64 // races with other writers of the kernel's table, lost and put right
	CyclesCut     uint64 // circles of handlers that were cut
	EventsDropped uint64 // events that found their slot in the ring still being written
	Faults        uint64 // SIGBUSes that ended here: in a guarded map or in a checked copy
	Patches       uint64 // ranges of lost pages that were replaced by zeros
	Healed        uint64 // faults whose page was there again at a second look: nothing was lost
	Maps          uint64 // maps that are guarded now; the only one that falls
	// Leaked: closed maps whose addresses stay taken, because a handler did not leave them within a
	// second.
	Leaked uint64
}

// Error says which operation failed and with which errno; errors.Is(err, syscall.EPERM) sees
// through it.
type Error struct {
	Op    string
	Errno syscall.Errno
	Text  string // what it means and what to do next
}

func (e *Error) Error() string { return "sigward: " + e.Op + ": " + e.Text }

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

func cString(raw []byte) string {
	for end, b := range raw {
		if b == 0 {
			return string(raw[:end])
		}
	}
	return string(raw)
}

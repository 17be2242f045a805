package sigward

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// What a MapError is about, for errors.Is. A read or write after Close is os.ErrClosed.
var (
	// ErrLost: any of the four below, or a cause unknown.
	ErrLost = errors.New("sigward: bytes of the map are lost")
	// ErrTruncated: the bytes are no longer in the file.
	ErrTruncated = errors.New("sigward: the mapped file was truncated")
	// ErrNoSpace: disk full or quota reached, in a sparse file.
	ErrNoSpace = errors.New("sigward: no space for a page of the map")
	// ErrIO: the device or file server failed.
	ErrIO = errors.New("sigward: input/output error in a mapped file")
	// ErrHardware: the processor found it poisoned.
	ErrHardware = errors.New("sigward: memory under a mapped file failed")
	// ErrStale: changed in place, or another file has its name.
	ErrStale = errors.New("sigward: the mapped file is not as it was")
)

// Cause is why bytes of a map are lost.
type Cause int

// The causes; their values are those of sigward_cause in C.
const (
	CauseNone      Cause = iota // nothing is lost
	CauseTruncated              // the file ends before them
	CauseNoSpace                // the file system has no room for them
	CauseIO                     // the device or the file server failed
	CauseHardware               // the memory failed
	// CauseUnknown: nobody can tell: there is no descriptor, or the fault was gone at second look.
	CauseUnknown
)

func (c Cause) String() string {
	return nameOf(int(c), "cause", "none", "truncated", "no space", "input/output error",
		"hardware", "unknown")
}

// Word is the cause as one word, for labels of metrics and attributes of logs.
func (c Cause) Word() string {
	return nameOf(int(c), "cause", "none", "truncated", "no_space", "io", "hardware", "unknown")
}

// nameOf is the name at that place, or the number of what has none.
func nameOf(value int, what string, names ...string) string {
	if value < 0 || value >= len(names) || names[value] == "" {
		return fmt.Sprintf("%s %d", what, value)
	}
	return names[value]
}

// Fault is the first loss of a map: what was met, where and by whom.
type Fault struct {
	Offset int64 // the lowest lost byte, from the start of the map
	// LenNow: with CauseTruncated: the file's length in bytes when the fault was handled.
	LenNow  int64
	Address uintptr       // the address that faulted
	Time    time.Time     // when
	Cause   Cause         // why
	Errno   syscall.Errno // of the cause: ENOSPC, EIO, …; EFAULT where there is none
	Write   bool          // whether it was a write
	TID     int           // kernel thread id of the first thread that met it, 0 if unknown
	Thread  string        // its name
}

// MapError is what a Map's methods fail with: the operation, the file, and, where bytes are lost,
// from where on and why.
//
// errors.Is sees ErrLost, ErrTruncated, ErrNoSpace, ErrIO, ErrHardware, ErrStale, and the errno and
// what that stands for: syscall.ENOSPC, fs.ErrNotExist.
type MapError struct {
	// Op: "open", "read", "write", "do", "check", "verify", "refresh", "populate", "flush", "grow",
	// "follow", "adopted", …
	Op   string
	Path string // as it was given to Open
	// Offset: with a Cause: the lowest lost byte, from the start of the map; nothing from it on is
	// to be trusted.
	Offset int64
	Cause  Cause         // CauseNone: no byte is lost, the operation failed
	LenNow int64         // with CauseTruncated: the file's length in bytes when that was noticed
	Errno  syscall.Errno // EFAULT where a lost byte has no errno of its own
}

// Error says what happened and what to do next.
func (e *MapError) Error() string {
	return "sigward: " + e.Op + " " + e.Path + ": " + e.reason()
}

func (e *MapError) reason() string {
	lost := fmt.Sprintf("bytes from %d on are lost: ", e.Offset)
	cure := "Refresh"
	if e.Op == adopted {
		cure = "Heal"
	}
	switch e.Cause {
	case CauseTruncated:
		return lost + fmt.Sprintf("the file was truncated to %d bytes; %s maps what it holds now",
			e.LenNow, cure)
	case CauseNoSpace:
		return lost + e.Errno.Error() + "; make room, then " + cure + " and write again"
	case CauseIO:
		return lost + e.Errno.Error() + "; " + cure + " tries the device again"
	case CauseHardware:
		return lost + "the memory under them failed; " + cure + " reads the file anew"
	case CauseUnknown:
		return lost + "cause unknown; " + cure + " maps what the file holds now"
	}
	switch {
	case e.Op == "grow" && e.Errno == syscall.ENOSPC:
		return e.Errno.Error() + "; make room, nothing has changed"
	case e.Op == "grow" && e.Errno == syscall.EOPNOTSUPP:
		return "this file system cannot promise blocks; open it with Options.ReserveSlowly"
	case e.Op == "grow" && e.Errno == syscall.EFBIG:
		return e.Errno.Error() + "; raise RLIMIT_FSIZE, or the file system cannot have such a file"
	case e.Op == "grow" && e.Errno == syscall.EBADF:
		return "the map is read-only; open it with Options.Writable"
	case e.Errno == syscall.ESTALE:
		return "the file has changed since it was mapped; Refresh maps it as it is now"
	case e.Errno == errEmpty:
		return "the file is empty: there is nothing to map"
	case e.Errno == syscall.ENODEV:
		return "not a file that can be mapped"
	case e.Errno == syscall.ENXIO && e.Op == "write":
		return "past the end of the map; make the file longer and map it anew"
	case e.Errno == syscall.ENXIO:
		return "the offset is past the end of the file"
	case e.Errno == syscall.EBADF && e.Op == "write":
		return "the map is read-only; open it with Options.Writable"
	case e.Errno == syscall.ENOSYS && e.Op == "adopt":
		return "/proc is not mounted; only it tells what is mapped"
	case e.Errno == syscall.EEXIST:
		return "a guarded map lies there already"
	}
	return e.Errno.Error()
}

// Unwrap returns the errno.
func (e *MapError) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// Is tells whether the error is what target, one of the Err variables of this package, stands for.
func (e *MapError) Is(target error) bool {
	switch target {
	case ErrLost:
		return e.Cause != CauseNone || e.Errno == syscall.EFAULT
	case ErrTruncated:
		return e.Cause == CauseTruncated
	case ErrNoSpace:
		return e.Cause == CauseNoSpace || e.Errno == syscall.ENOSPC ||
			e.Op == "grow" && e.Errno == syscall.EDQUOT
	case ErrNoPromise:
		return e.Errno == syscall.EOPNOTSUPP && e.Op == "grow"
	case ErrIO:
		return e.Cause == CauseIO || e.Errno == syscall.EIO
	case ErrHardware:
		return e.Cause == CauseHardware
	case ErrStale:
		return e.Errno == syscall.ESTALE
	}
	return false
}

// lostError is the error for a fault.
func lostError(op, path string, fault Fault) error {
	return &MapError{
		Op:     op,
		Path:   path,
		Offset: fault.Offset,
		Cause:  fault.Cause,
		LenNow: fault.LenNow,
		Errno:  fault.Errno,
	}
}

// closedError is what everything answers after Close, as os.File does.
func closedError(op, path string) error {
	return &fs.PathError{Op: op, Path: path, Err: os.ErrClosed}
}

// ThreadError says why a fault on this thread would not be caught.
type ThreadError struct {
	Blocked   bool // C code has blocked SIGBUS in this thread: the kernel kills the process
	Covered   bool // another handler stands above ours: EnsureOnTop takes the top again
	Unguarded bool // nobody has taken the seat: Err says why; or the program was built without cgo
}

func (e *ThreadError) Error() string {
	text := "sigward: a fault on this thread would not be caught:"
	if e.Blocked {
		text += " SIGBUS is blocked in it, unblock it;"
	}
	if e.Covered {
		text += " another handler stands above ours, call EnsureOnTop;"
	}
	if e.Unguarded {
		text += " no handler of ours is installed, see Err;"
	}
	return text[:len(text)-1]
}

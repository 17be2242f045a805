//go:build !cgo || !linux || (!amd64 && !arm64)

package sigward

import (
	"os"
	"runtime"
	"syscall"
)

// Err returns nil: there was nothing to arm.
func Err() error { return nil }

// Status says that nothing is armed, and why.
func Status() StatusReport {
	why := "the library is not for " + runtime.GOOS + "/" + runtime.GOARCH
	switch runtime.GOOS + "/" + runtime.GOARCH {
	case "linux/amd64", "linux/arm64":
		why = "built without cgo (CGO_ENABLED=1 links the library)"
	}
	return StatusReport{
		SIGPIPE: because(why + "; Go's own writes need no help"),
		SIGBUS:  because(why + "; ReadAt, WriteAt and Do of a Map are guarded by Go alone"),
	}
}

// EnsureOnTop does nothing.
func EnsureOnTop() error { return nil }

// Restore does nothing.
func Restore() error { return nil }

// Filter does nothing.
func Filter() error { return nil }

// SwallowStdio does nothing.
func SwallowStdio() error { return nil }

// Counters returns zeros.
func Counters() (CounterValues, error) { return CounterValues{}, nil }

func skipEvents(cursor uint64) uint64 { return cursor }

// ReadEvents returns none.
func ReadEvents(cursor uint64) (events []Event, next uint64, err error) { return nil, cursor, nil }

// Repair does nothing: without cgo there is no handler but Go's.
func Repair(syscall.Signal) (repaired bool, err error) { return false, nil }

// RepairAll does nothing, for the same reason.
func RepairAll() (repaired int, err error) { return 0, nil }

// Rows are nothing here.
type Rows struct{ _ byte }

// SaveRows notes nothing.
func SaveRows() (*Rows, error) { return new(Rows), nil }

// Restore does nothing.
func (r *Rows) Restore() error { return nil }

// SetNoSigpipe fails with ENOTSUP.
func SetNoSigpipe(int) error {
	return &Error{Op: "set no sigpipe", Errno: syscall.ENOTSUP, Text: "the library is not linked"}
}

// Explain fails with ENOTSUP.
func Explain() error {
	return &Error{Op: "explain", Errno: syscall.ENOTSUP, Text: "the library is not linked"}
}

// ExplainSignals fails with ENOTSUP.
func ExplainSignals(...syscall.Signal) error { return Explain() }

// LastWordsJSON does nothing: there are no last words without the library.
func LastWordsJSON(bool) {}

// LastWords does nothing: nothing is adopted without the library.
func LastWords(*os.File) error { return nil }

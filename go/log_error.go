package sigward

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// What a LogError is about, for errors.Is; besides these ErrNoSpace, ErrNoPromise, ErrLost and
// those that belong to it.
var (
	ErrLogBusy    = errors.New("sigward: another writer has the log open")
	ErrNotALog    = errors.New("sigward: the file is no log")
	ErrLogDamaged = errors.New("sigward: bytes of the log that were durable are damaged")
	ErrLogFull    = errors.New("sigward: the log has used up its capacity")
	ErrLogMoved   = errors.New("sigward: the log's file was unlinked, renamed or replaced")
)

// LogError is what a Log's and a LogReader's methods fail with, unless it is a *MapError or
// an *os.PathError.
type LogError struct {
	Op     string // "open", "append", "flush", "close", "read", "seek", "check", "salvage"
	Path   string
	Offset int64 // with ErrLogDamaged: where, in bytes from the start of the file
	Errno  syscall.Errno
	kind   error
}

// Error says what happened and what to do next.
func (e *LogError) Error() string {
	text := e.Errno.Error()
	switch {
	case e.kind == ErrLogBusy:
		text = "another writer has this log open: one at a time"
	case e.kind == ErrNotALog:
		text = "the file is no log; name another one"
	case e.kind == ErrLogDamaged:
		text = fmt.Sprintf("the log is damaged at byte %d, below what was durable once; "+
			"copy what is whole out of it with SalvageLog, or restore the file", e.Offset)
	case e.kind == ErrLogFull:
		text = "the log has used up its addresses; open it with a larger Capacity"
	case e.kind == ErrLogMoved:
		text = "the log's file has lost its name (unlinked, renamed, replaced); open the log anew"
	case e.kind == ErrNoPromise:
		text = "this file system cannot promise blocks; open the log with SlowZeros"
	case e.Errno == syscall.ENOSYS:
		text = "logs are for Linux on amd64 and arm64, in programs that are built with cgo"
	case e.Errno == syscall.EPROTONOSUPPORT:
		text = "the log has a format that this package does not know"
	case e.Errno == syscall.EMSGSIZE:
		text = "the record is too long"
	case e.Op == "flush":
		text = "writing to the disk failed (" + text + "); open the log anew to learn what is there"
	}
	return "sigward: " + e.Op + " " + e.Path + ": " + text
}

// Unwrap returns the errno.
func (e *LogError) Unwrap() error { return e.Errno }

// Is tells whether the error is what target, one of the Err variables of this package, stands for.
func (e *LogError) Is(target error) bool {
	return target != nil && target == e.kind ||
		target == ErrNoSpace && (e.Errno == syscall.ENOSPC || e.Errno == syscall.EDQUOT) ||
		target == ErrIO && e.Errno == syscall.EIO
}

func logError(op, path string, errno syscall.Errno, offset int64) *LogError {
	e := &LogError{Op: op, Path: path, Errno: errno, Offset: offset}
	switch errno {
	case syscall.EBUSY:
		e.kind = ErrLogBusy
	case syscall.EILSEQ:
		e.kind = ErrNotALog
	case syscall.EBADMSG:
		e.kind = ErrLogDamaged
	case syscall.ESTALE:
		e.kind = ErrLogMoved
	case syscall.EOPNOTSUPP:
		e.kind = ErrNoPromise
	}
	return e
}

// logFailure is what the library has answered.
func logFailure(op, path string, errno syscall.Errno, offset int64) error {
	switch errno {
	case syscall.EFAULT:
		return &MapError{Op: op, Path: path, Offset: offset, Cause: CauseTruncated, Errno: errno}
	case syscall.ENOENT,
		syscall.EEXIST,
		syscall.EISDIR,
		syscall.ENODEV,
		syscall.EACCES,
		syscall.EROFS,
		syscall.ENOTDIR:
		return &os.PathError{Op: op, Path: path, Err: errno}
	}
	return logError(op, path, errno, offset)
}

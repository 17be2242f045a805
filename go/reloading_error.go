package sigward

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// ErrBeingWritten is why a Reloading has not taken a file: somebody has it open for writing, or may
// have.
var ErrBeingWritten = errors.New("sigward: somebody is writing the file")

// ErrEmpty is why a Reloading has not taken a file that is empty.
var ErrEmpty = errors.New("sigward: the file is empty")

// ErrRefused is why a Reloading has not taken a file that the parser did not accept.
var ErrRefused = errors.New("sigward: the parser refuses the file")

var (
	errSettling = errors.New("sigward: the file has to settle")
	errChanged  = errors.New("sigward: the file was changed while it was copied")
)

// ReloadError says why what the path names now is not the version that Get returns. The version
// before stays.
//
// errors.Is sees ErrBeingWritten, ErrEmpty, ErrRefused, and what Err is: an errno and what it
// stands for (fs.ErrNotExist, fs.ErrPermission), or the parser's own error.
type ReloadError struct {
	Path  string
	Size  int64     // of the file in bytes, -1 if there is none
	Kept  uint64    // the version that is served instead; 0 while there is none yet
	Since time.Time // when it was met first
	Last  time.Time // when it was met last
	Count int       // how many looks have met it in a row
	Err   error     // what is wrong

	refused bool
}

// Error says what happened and what is still served.
func (e *ReloadError) Error() string {
	text := "sigward: reload " + e.Path
	if e.Size >= 0 {
		text += fmt.Sprintf(" (%d bytes)", e.Size)
	}
	if text += ": "; e.refused {
		text += "the parser refuses it: "
	}
	text += e.Err.Error()
	if e.Kept != 0 {
		text += fmt.Sprintf("; version %d stays", e.Kept)
	}
	return text
}

// Unwrap returns Err.
func (e *ReloadError) Unwrap() error { return e.Err }

// Is tells whether the error is what target stands for.
func (e *ReloadError) Is(target error) bool {
	switch target {
	case ErrRefused:
		return e.refused
	case ErrBeingWritten:
		return e.passing()
	}
	return false
}

// passing tells whether it is over by itself, as soon as somebody has finished writing.
func (e *ReloadError) passing() bool {
	var own *fileError
	return errors.As(e.Err, &own) &&
		(own.kind == ErrBeingWritten || own.kind == errSettling || own.kind == errChanged)
}

// same tells whether it is the trouble of before once more. Two refusals are of two contents.
func (e *ReloadError) same(before *ReloadError) bool {
	return before != nil && !e.refused && !before.refused && e.Err.Error() == before.Err.Error()
}

func reloadReason(errno syscall.Errno, kind error) error { return &fileError{errno, kind} }

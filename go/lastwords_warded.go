//go:build cgo && linux && (amd64 || arm64)

package sigward

// #include "sigward.h"
import "C"

import (
	"os"
	"sync"
	"syscall"
)

var lastWords struct {
	sync.Mutex
	file *os.File // stays open for as long as it is to be written to
}

// LastWords tells where the line goes, besides standard error, that says why the process ends: an
// adopted file (see AdoptFile) has lost a page of a shared writable mapping, or what [Explain] and
// [ExplainSignals] tell. With nil there is no such line at all, not on standard error either.
//
// f is used only while it is open. A line that would block is left out. It fails with
// a *os.PathError if f is closed; then nothing has changed. From any goroutine.
func LastWords(f *os.File) error {
	lastWords.Lock()
	defer lastWords.Unlock()
	errno := syscall.EBADF
	if f == nil {
		errno = errnoOf(C.sigward_last_words(-1))
	} else {
		withFd(f, func(fd int) { errno = errnoOf(C.sigward_last_words(C.int(fd))) })
	}
	if errno != 0 {
		return &os.PathError{Op: "last words", Path: f.Name(), Err: os.ErrClosed}
	}
	lastWords.file = f
	return nil
}

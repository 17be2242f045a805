//go:build unix

package sigward

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// Writer returns a writer to f that returns EPIPE where f's own Write would end the process: os
// ends it when standard output or standard error is a broken pipe, and no os/signal call changes
// that without taking more away. For a service whose log reader may go away. On Linux it raises
// neither SIGPIPE nor, beyond RLIMIT_FSIZE, SIGXFSZ, also inside a C host that has both at their
// defaults.
//
// Otherwise Write is as f's own: concurrent ones are not mixed, deadlines hold, and errors are the
// same *os.PathError, with os.ErrClosed after f.Close, os.ErrDeadlineExceeded, and EAGAIN where
// somebody has made a blocking file non-blocking. It does not close f.
//
// A net.Conn needs none of this: Go's writes to it return EPIPE, on every thread, unless somebody
// has put SIG_DFL over the handlers for SIGPIPE (see Status and EnsureOnTop).
func Writer(f *os.File) io.Writer {
	info, err := f.Stat()
	return &writer{f, err == nil && info.Mode().IsRegular()}
}

type writer struct {
	file    *os.File
	regular bool
}

// largestWrite is what package os writes at once; some systems refuse more than 2 GiB.
const largestWrite = 1 << 30

// Write holds f's lock for writing from the first byte to the last, as f.Write does: RawConn has it
// while the callback runs and while it waits.
func (w *writer) Write(p []byte) (written int, err error) {
	raw, err := w.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	waited := raw.Write(func(fd uintptr) (done bool) {
		var more bool
		for more = true; more; {
			more, err = w.writeSome(int(fd), p, &written)
		}
		return err != syscall.EAGAIN
	})
	switch {
	case waited == nil:
	case errors.Is(waited, os.ErrDeadlineExceeded):
		err = waited
	// Open, and nothing that the runtime can wait for.
	case err == syscall.EAGAIN && raw.Control(func(uintptr) {}) == nil:
	default:
		err = os.ErrClosed
	}
	if err != nil {
		err = &os.PathError{Op: "write", Path: w.file.Name(), Err: err}
	}
	return written, err
}

// writeSome makes one call, and tells whether it is to be followed by another at once.
func (w *writer) writeSome(fd int, p []byte, written *int) (more bool, err error) {
	n, err := writeWithoutSignal(fd, p[*written:min(len(p), *written+largestWrite)], w.regular)
	*written += max(n, 0)
	switch {
	case err == syscall.EINTR:
		return true, nil
	case err != nil || *written == len(p):
		return false, err
	case n <= 0:
		return false, io.ErrUnexpectedEOF
	}
	return true, nil
}

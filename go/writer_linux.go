//go:build amd64 || arm64

package sigward

import (
	"errors"
	"io"
	"os"
	"syscall"
	"unsafe"
)

// Writer returns a writer to f that returns EPIPE where f's own Write would end the process: os ends it when
// standard output or standard error is a broken pipe, and no os/signal call changes that without taking more away. For
// a service whose log reader may go away. Where the kernel can (Linux 6.18), it raises no SIGPIPE either.
//
// A net.Conn needs none of this: Go's writes to it return EPIPE, on every thread, whatever C and Rust do in the
// process. Concurrent writes are as those of f. It does not close f.
func Writer(f *os.File) io.Writer { return &writer{f} }

type writer struct{ file *os.File }

func (w *writer) Write(p []byte) (written int, err error) {
	raw, err := w.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	for written < len(p) && err == nil {
		var n int
		waited := raw.Write(func(fd uintptr) bool {
			n, err = writeQuietly(int(fd), p[written:])
			return err != syscall.EAGAIN
		})
		if errors.Is(waited, os.ErrDeadlineExceeded) {
			return written, waited
		}
		if waited != nil {
			return written, &os.PathError{Op: "write", Path: w.file.Name(), Err: os.ErrClosed}
		}
		if n > 0 {
			written += n
		}
		if err == syscall.EINTR {
			err = nil
		}
	}
	if err != nil {
		err = &os.PathError{Op: "write", Path: w.file.Name(), Err: err}
	}
	return written, err
}

// rwfNoSignal is RWF_NOSIGNAL: no SIGPIPE for this write (Linux 6.18, include/uapi/linux/fs.h).
const rwfNoSignal = 0x100

func writeQuietly(fd int, p []byte) (int, error) {
	if len(p) > 0 {
		part := syscall.Iovec{Base: &p[0]}
		part.SetLen(len(p))
		n, _, errno := syscall.Syscall6(sysPwritev2, uintptr(fd), uintptr(unsafe.Pointer(&part)), 1,
			^uintptr(0), ^uintptr(0), rwfNoSignal)
		// An older kernel, a file that takes no flags, or a seccomp filter that does not know the call.
		if errno != syscall.EOPNOTSUPP && errno != syscall.ENOSYS && errno != syscall.EPERM {
			if errno != 0 {
				return 0, errno
			}
			return int(n), nil
		}
	}
	// Go's own write: the signal that it may raise is Go's, which ignores it.
	return syscall.Write(fd, p)
}

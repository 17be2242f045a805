//go:build !cgo && (amd64 || arm64)

package sigward

import (
	"io"
	"math"
	"syscall"
)

// growing waits until no other process or map makes the file longer: a reservation that fails undoes what it did, and must
// not meet another one at the file's end. It takes the lock that src/file/linux/growing.rs of the Rust crate explains.
func growing(fd int) (done func()) {
	const (
		getLock, setLock, setLockWait = 36, 37, 38 // F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW
		place                         = math.MaxInt64 - 0x5167
	)
	own, err := reopen(fd, syscall.O_RDWR)
	if err != nil {
		return func() {}
	}
	lock := func(call int, kind int16) (syscall.Flock_t, syscall.Errno) {
		request := syscall.Flock_t{Type: kind, Whence: io.SeekStart, Start: place, Len: 1}
		errno := eintr(func() error { return syscall.FcntlFlock(uintptr(own), call, &request) })
		return request, errno
	}
	for {
		_, errno := lock(setLock, syscall.F_WRLCK)
		if errno == syscall.EAGAIN || errno == syscall.EACCES {
			other, failed := lock(getLock, syscall.F_WRLCK)
			if failed == 0 && other.Type == syscall.F_UNLCK {
				continue
			}
			if failed == 0 && other.Start == place && other.Len == 1 {
				lock(setLockWait, syscall.F_WRLCK)
			}
		}
		return func() {
			lock(setLock, syscall.F_UNLCK)
			syscall.Close(own)
		}
	}
}

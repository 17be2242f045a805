package sigward

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// writeWithoutSignal is write(2) without a signal.
func writeWithoutSignal(fd int, p []byte, regular bool) (n int, err error) {
	if regular {
		withinLimit(func() syscall.Errno {
			n, err = syscall.Write(fd, p)
			return 0
		})
		return n, err
	}
	if n, err, known := writeFlagged(fd, p); known {
		return n, err
	}
	withoutSignal(syscall.SIGPIPE, func() { n, err = syscall.Write(fd, p) })
	return n, err
}

// rwfNoSignal is RWF_NOSIGNAL: no SIGPIPE for this write (Linux 6.18, include/uapi/linux/fs.h).
const rwfNoSignal = 0x100

// writeFlagged tells whether its outcome is that of the write. It is not for an older kernel, a
// file that takes no flags, or a filter of seccomp(2) that refuses the call, whatever errno it
// says: the plain write knows better.
func writeFlagged(fd int, p []byte) (n int, err error, known bool) {
	if len(p) == 0 || noFlags.Load() {
		return 0, nil, false
	}
	part := syscall.Iovec{Base: &p[0]}
	part.SetLen(len(p))
	written, _, errno := syscall.Syscall6(sysPwritev2, uintptr(fd), uintptr(unsafe.Pointer(&part)),
		1, ^uintptr(0), ^uintptr(0), rwfNoSignal)
	switch errno {
	case 0:
		return int(written), nil, true
	case syscall.EPIPE, syscall.EAGAIN, syscall.EINTR:
		return 0, errno, true
	}
	return 0, nil, false
}

// noFlags is set by tests: a kernel before 6.18.
var noFlags atomic.Bool

// sysPwritev2 is the number of pwritev2(2), which package syscall does not have everywhere.
var sysPwritev2 = func() uintptr {
	switch runtime.GOARCH {
	case "amd64":
		return 328
	case "386":
		return 379
	case "arm":
		return 393
	case "mips", "mipsle":
		return 4362
	case "mips64", "mips64le":
		return 5322
	case "ppc64", "ppc64le":
		return 381
	case "s390x":
		return 377
	}
	return 287 // include/uapi/asm-generic/unistd.h
}()

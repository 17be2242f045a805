//go:build amd64 || arm64

package sigward

import (
	"os"
	"syscall"
	"unsafe"
)

var zeros [1 << 18]byte

// writeZeros is for file systems that cannot promise. Nothing is written over, and nothing is taken
// back.
func (r *reservation) writeZeros() (Promise, syscall.Errno) {
	holes, errno := r.holes()
	if errno != 0 {
		return 0, errno
	}
	needed := max(r.reach-r.before.Size, 0)
	for _, hole := range holes {
		needed += hole.end - hole.start
	}
	// With one number of 4 bytes for each block.
	if needed > 0 && !r.has(needed+needed/max(r.block/4, 1)) {
		return 0, syscall.ENOSPC
	}
	if errno = r.fill(holes); errno == 0 {
		errno = r.extend()
	}
	if errno == 0 {
		// Network file systems find room when the pages are written.
		errno = eintr(func() error { return syscall.Fdatasync(r.fd) })
	}
	if errno != 0 {
		return 0, errno
	}
	return r.promise(), 0
}

// holes of the range, as far as the file reaches.
func (r *reservation) holes() ([]extent, syscall.Errno) {
	end := min(r.end, r.before.Size)
	if r.start >= end {
		return nil, 0
	}
	taken, errno := extents(r.fd, r.start, end, true)
	switch {
	case errno == 0:
		return gaps(r.start, end, taken), 0
	case int64(r.before.Blocks)*512 >= r.before.Size: // as many blocks as a file without holes has
		return nil, 0
	}
	return nil, syscall.EOPNOTSUPP
}

// fill gives holes their blocks by page faults for writing, which change no byte.
func (r *reservation) fill(holes []extent) syscall.Errno {
	if len(holes) == 0 {
		return 0
	}
	fd, err := reopen(r.fd, syscall.O_RDWR) // a map for writing needs a descriptor for both
	if err != nil {
		return errnoIn(err)
	}
	defer syscall.Close(fd)
	const window = 16 << 20
	page := int64(os.Getpagesize())
	for _, hole := range holes {
		for at := hole.start / page * page; at < hole.end; at += window {
			if errno := populate(fd, at, min(at+window, hole.end)); errno != 0 {
				return errno
			}
		}
	}
	return 0
}

func populate(fd int, start, end int64) syscall.Errno {
	const populateWrite = 23 // MADV_POPULATE_WRITE, Linux 5.14
	var window []byte
	errno := eintr(func() (err error) {
		window, err = syscall.Mmap(fd, start, int(end-start), syscall.PROT_READ|syscall.PROT_WRITE,
			syscall.MAP_SHARED)
		return err
	})
	if errno != 0 {
		return errno
	}
	defer syscall.Munmap(window)
	switch errno := eintr(func() error { return syscall.Madvise(window, populateWrite) }); errno {
	case syscall.EINVAL: // an older kernel: no way to fill a hole without writing over it
		return syscall.EOPNOTSUPP
	case syscall.EFAULT: // a store would have raised SIGBUS: there is no block
		return syscall.ENOSPC
	default:
		return errno
	}
}

// extend appends, so that what somebody else has appended meanwhile is not written over.
func (r *reservation) extend() syscall.Errno {
	const rwfAppend = 0x10
	for {
		var now syscall.Stat_t
		if err := syscall.Fstat(r.fd, &now); err != nil || now.Size >= r.reach {
			return errnoIn(err)
		}
		part := syscall.Iovec{Base: &zeros[0]}
		part.SetLen(int(min(r.reach-now.Size, int64(len(zeros)))))
		_, _, errno := syscall.Syscall6(sysPwritev2, uintptr(r.fd), uintptr(unsafe.Pointer(&part)),
			1, 0, 0, rwfAppend)
		if errno != 0 && errno != syscall.EINTR {
			return errno
		}
	}
}

//go:build amd64 || arm64

package sigward

import (
	"bytes"
	"os"
	"syscall"
	"unsafe"
)

var zeros [1 << 18]byte

// writeZeros is for file systems that cannot promise.
func (r *reservation) writeZeros() (Promise, syscall.Errno) {
	holes, errno := r.holes()
	if errno != 0 {
		return 0, errno
	}
	// What is beyond the end can be taken back everywhere, what is in a hole not (ext2): so that comes last.
	if errno = r.extend(); errno == 0 {
		errno = r.fill(holes)
	}
	if errno == 0 {
		// Network file systems find room when the pages are written.
		errno = eintr(func() error { return syscall.Fdatasync(r.fd) })
	}
	if errno != 0 {
		r.takeBack(holes)
		return 0, errno
	}
	return promiseOf(r.fd), 0
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

func (r *reservation) fill(holes []extent) syscall.Errno {
	if len(holes) == 0 {
		return 0
	}
	fd := r.fd
	flags, _, _ := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFL, 0)
	if flags&syscall.O_APPEND != 0 { // such a descriptor writes at the end, whatever the offset
		again, err := reopen(fd, syscall.O_WRONLY)
		if err != nil {
			return errnoIn(err)
		}
		defer syscall.Close(again)
		fd = again
	}
	for _, hole := range holes {
		for at := hole.start; at < hole.end; {
			var n int
			part := zeros[:min(hole.end-at, int64(len(zeros)))]
			if errno := eintr(func() (err error) { n, err = syscall.Pwrite(fd, part, at); return }); errno != 0 {
				return errno
			}
			at += int64(n)
		}
	}
	return 0
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
		_, _, errno := syscall.Syscall6(sysPwritev2, uintptr(r.fd), uintptr(unsafe.Pointer(&part)), 1, 0, 0, rwfAppend)
		if errno != 0 && errno != syscall.EINTR {
			return errno
		}
	}
}

func (r *reservation) takeBack(holes []extent) {
	var now syscall.Stat_t
	if syscall.Fstat(r.fd, &now) == nil && now.Size > r.before.Size && now.Size <= r.reach {
		syscall.Ftruncate(r.fd, r.before.Size)
	}
	page, block := int64(os.Getpagesize()), make([]byte, len(zeros))
	for _, hole := range holes {
		for at := hole.start; at < hole.end; at += int64(len(zeros)) {
			end := min(hole.end, at+int64(len(zeros)))
			part := block[:end-at]
			if n, err := syscall.Pread(r.fd, part, at); err != nil || n != len(part) || !bytes.Equal(part, zeros[:n]) {
				continue // somebody has written there
			}
			if end == r.before.Size { // the last block is given back whole or not at all
				end = (end-1)/page*page + page
			}
			r.fallocate(punchHole|keepSize, at, end)
		}
	}
	r.restoreTime()
}

//go:build cgo && linux && (amd64 || arm64)

package sigward

// #include <stdlib.h>
// #include "sigward.h"
// #include "sigward_go.h"
import "C"

import (
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// backend is the library's side of a mapping: its handler catches the faults, so that touching the
// data needs nothing.
type backend struct{ handle *C.sigward_map }

func newMapping(path string, o Options) (*mapping, syscall.Errno) {
	if errno := o.valid(); errno != 0 {
		return nil, errno
	}
	if strings.IndexByte(path, 0) >= 0 {
		return nil, syscall.EINVAL
	}
	options := C.sigward_map_options{
		size:          C.sizeof_sigward_map_options,
		offset:        C.uint64_t(o.Offset),
		len:           C.uint64_t(o.Len),
		writable:      flag(o.Writable),
		copy_on_write: flag(o.CopyOnWrite),
		no_descriptor: flag(o.NoDescriptor),

		capacity:       C.uint64_t(o.Capacity),
		reserve_slowly: flag(o.ReserveSlowly),
	}
	c := &mapping{ground: new(ground)}
	if o.Strict {
		if errno := c.openStrictly(path, &o, &options); errno != 0 {
			return nil, errno
		}
	} else {
		name := C.CString(path)
		defer C.free(unsafe.Pointer(name))
		if errno := errnoOf(C.sigward_map_open(name, &options, &c.handle)); errno != 0 {
			return nil, errno
		}
	}
	c.look()
	return c, 0
}

// look takes address, length and poison word as they are now.
func (c *mapping) look() {
	var now C.sigward_bytes
	C.sigward_map_look(c.handle, &now)
	c.data = unsafe.Slice((*byte)(now.data), int(now.len))
	c.lowestLost = (*uint64)(unsafe.Pointer(now.poison))
}

func (c *mapping) grow(n int64, _ bool) (*mapping, syscall.Errno) {
	return c.longer(C.sigward_map_grow(c.handle, C.uint64_t(n)))
}

func (c *mapping) follow() (*mapping, syscall.Errno) {
	return c.longer(C.sigward_map_follow(c.handle))
}

// longer is what the mapping is after a call that may have made it longer.
func (c *mapping) longer(status C.int) (*mapping, syscall.Errno) {
	if errno := errnoOf(status); errno != 0 {
		return nil, errno
	}
	next := &mapping{identity: c.identity, ground: c.ground}
	next.look()
	return next, 0
}

// openStrictly notes what the file is like before it is mapped, on the descriptor that it is mapped
// from: a change at any time after that is seen.
func (c *mapping) openStrictly(
	path string,
	o *Options,
	options *C.sigward_map_options,
) syscall.Errno {
	fd, errno := openFile(path, o)
	if errno != 0 {
		return errno
	}
	if c.identity, errno = identityOf(fd); errno == 0 {
		errno = errnoOf(C.sigward_map_fd(C.int(fd), options, &c.handle))
	}
	if errno != 0 {
		syscall.Close(fd)
	}
	return errno
}

func (c *mapping) copyOut(p []byte, off int) int { return copy(p, c.data[off:]) }

func (c *mapping) copyIn(p []byte, off int) int { return copy(c.data[off:], p) }

func (c *mapping) run(fn func([]byte) error) error { return fn(c.data) }

func (g *ground) status() (Fault, bool) {
	var f C.sigward_fault
	if C.sigward_map_status(g.handle, &f) != 1 {
		return Fault{}, false
	}
	return fault(&f), true
}

// measure is status: the library looks at the file's length.
func (c *mapping) measure() (Fault, bool) { return c.status() }

func (c *mapping) verify(path string) syscall.Errno {
	errno := errnoOf(C.sigward_map_verify(c.handle))
	if errno == 0 && c.identity != nil { // the library was given a descriptor and knows no path
		_, errno = c.identity.seen.named(path)
	}
	return errno
}

func (c *mapping) populate() syscall.Errno {
	return errnoOf(C.sigward_map_populate(c.handle, 0, C.uint64_t(len(c.data))))
}

func (c *mapping) flush() syscall.Errno { return errnoOf(C.sigward_map_flush(c.handle)) }

// succeed has the kernel forget what it keeps of the file, if a flush of the last of the older
// mappings, which comes first, has failed: it takes for written what is not. The older ones stay.
func (c *mapping) succeed(older []*mapping) syscall.Errno {
	handles := make([]*C.sigward_map, len(older))
	for i, old := range older {
		handles[i] = old.handle
	}
	return errnoOf(C.sigward_runtime_map_succeed(c.handle, &handles[0], C.size_t(len(handles))))
}

func (g *ground) end(addressesStay bool) {
	if addressesStay {
		C.sigward_map_retire(g.handle)
	} else {
		C.sigward_map_close(g.handle)
	}
}

// ThreadCheck is nil when a fault in a map is caught on the thread that this goroutine runs on, and
// a *ThreadError that says why not otherwise.
//
// Who stands in the seat is the same for all threads. Go blocks SIGBUS in none of its own; only C
// code that changed a thread's mask, or threads that inherited such a mask, can make a difference.
// So the answer holds for all of Go unless such code runs on Go's threads; ask on the thread in
// question then: from the callback that it makes.
func ThreadCheck() error {
	bits := C.sigward_thread_check()
	if bits == 0 {
		return nil
	}
	return &ThreadError{
		Blocked:   bits&C.SIGWARD_THREAD_BLOCKED != 0,
		Covered:   bits&C.SIGWARD_THREAD_COVERED != 0,
		Unguarded: bits&C.SIGWARD_THREAD_UNGUARDED != 0,
	}
}

func fault(f *C.sigward_fault) Fault {
	return Fault{
		Offset:  int64(f.offset),
		LenNow:  int64(f.len_now),
		Address: uintptr(f.address),
		Time:    time.Unix(0, int64(f.time_ns)),
		Cause:   Cause(f.cause),
		Errno:   syscall.Errno(f.error),
		Write:   f.write != 0,
		TID:     int(f.tid),
		Thread:  cString(unsafe.Slice((*byte)(unsafe.Pointer(&f.thread[0])), len(f.thread))),
	}
}

func flag(set bool) C.uint32_t {
	if set {
		return 1
	}
	return 0
}

func errnoOf(status C.int) syscall.Errno {
	if status < 0 {
		return syscall.Errno(-status)
	}
	return 0
}

//go:build cgo && linux && (amd64 || arm64)

package sigward

// #include <stdlib.h>
// #include "sigward.h"
import "C"

import (
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/sigward/sigward/go/internal/order"
)

// adoption guards what Adopt or AdoptFile was given.
type adoption struct {
	handle     *C.sigward_adopted
	lowestLost *uint64
	start      uint64 // where in the file the offsets of errors begin
}

func newAdoption(handle *C.sigward_adopted, start uint64) *adoption {
	return &adoption{
		handle,
		(*uint64)(unsafe.Pointer(C.sigward_adopted_poison_word(handle))),
		start,
	}
}

func guardMemory(data []byte, f *os.File, offset int64) (guard, syscall.Errno) {
	if len(data) == 0 || offset < 0 {
		return nil, syscall.EINVAL
	}
	var handle *C.sigward_adopted
	status := C.int(0)
	adopt := func(fd uintptr) {
		at := unsafe.Pointer(unsafe.SliceData(data))
		status = C.sigward_adopt_range(at, C.size_t(len(data)), C.int(int32(fd)), C.off_t(offset),
			&handle)
	}
	if f == nil {
		adopt(^uintptr(0))
	} else if raw, err := f.SyscallConn(); err != nil || raw.Control(adopt) != nil {
		return nil, syscall.EBADF
	}
	if errno := errnoOf(status); errno != 0 {
		return nil, errno
	}
	return newAdoption(handle, uint64(offset)), 0
}

func guardFile(path string) (guard, syscall.Errno) {
	if strings.IndexByte(path, 0) >= 0 {
		return nil, syscall.EINVAL
	}
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var handle *C.sigward_adopted
	if errno := errnoOf(C.sigward_adopt_file(name, &handle)); errno != 0 {
		return nil, errno
	}
	return newAdoption(handle, 0), 0
}

func (a *adoption) count() int { return int(C.sigward_adopted_count(a.handle)) }

// status makes a cgo call only when something is lost.
func (a *adoption) status() (Fault, bool) {
	order.StoreLoad() // the owner may have written
	if atomic.LoadUint64(a.lowestLost) == ^uint64(0) {
		return Fault{}, false
	}
	var f C.sigward_fault
	return a.fault(C.sigward_adopted_status(a.handle, &f), &f)
}

func (a *adoption) take() (Fault, bool) {
	var f C.sigward_fault
	return a.fault(C.sigward_adopted_take(a.handle, &f), &f)
}

func (a *adoption) fault(status C.int, f *C.sigward_fault) (Fault, bool) {
	if status != 1 {
		return Fault{}, false
	}
	f.offset -= C.uint64_t(a.start)
	return fault(f), true
}

func (a *adoption) verify() syscall.Errno { return errnoOf(C.sigward_adopted_verify(a.handle)) }

func (a *adoption) sink(bytes uint64) { C.sigward_adopted_sink(a.handle, C.uint64_t(bytes)) }

func (a *adoption) heal() syscall.Errno { return errnoOf(C.sigward_adopted_heal(a.handle)) }

func (a *adoption) close() { C.sigward_adopted_close(a.handle) }

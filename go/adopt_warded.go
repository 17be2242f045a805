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

// oneMapping guards what Adopt was given.
type oneMapping struct {
	handle     *C.sigward_map
	lowestLost *uint64
}

func guardMemory(data []byte, f *os.File, offset int64) (guard, syscall.Errno) {
	if len(data) == 0 || offset < 0 {
		return nil, syscall.EINVAL
	}
	var handle *C.sigward_map
	status := C.int(0)
	adopt := func(fd uintptr) {
		at := unsafe.Pointer(unsafe.SliceData(data))
		status = C.sigward_map_adopt(at, C.size_t(len(data)), C.int(int32(fd)), C.off_t(offset), &handle)
	}
	if f == nil {
		adopt(^uintptr(0))
	} else if raw, err := f.SyscallConn(); err != nil || raw.Control(adopt) != nil {
		return nil, syscall.EBADF
	}
	if errno := errnoOf(status); errno != 0 {
		return nil, errno
	}
	return &oneMapping{handle, (*uint64)(unsafe.Pointer(C.sigward_map_poison_word(handle)))}, 0
}

func (one *oneMapping) rescan() (int, syscall.Errno) { return 1, 0 }

func (one *oneMapping) count() int { return 1 }

// status makes a cgo call only when something is lost.
func (one *oneMapping) status() (Fault, bool) {
	order.StoreLoad() // the owner may have written
	if atomic.LoadUint64(one.lowestLost) == ^uint64(0) {
		return Fault{}, false
	}
	var f C.sigward_fault
	if C.sigward_map_status(one.handle, &f) != 1 {
		return Fault{}, false
	}
	return fault(&f), true
}

func (one *oneMapping) heal() syscall.Errno { return errnoOf(C.sigward_map_refresh(one.handle)) }

func (one *oneMapping) close() { C.sigward_map_close(one.handle) }

// mappingsOfFile guards what AdoptFile found.
type mappingsOfFile struct{ handle *C.sigward_adopted }

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
	return &mappingsOfFile{handle}, 0
}

func (all *mappingsOfFile) rescan() (int, syscall.Errno) {
	number := C.sigward_adopted_rescan(all.handle)
	return max(int(number), 0), errnoOf(number)
}

func (all *mappingsOfFile) count() int { return int(C.sigward_adopted_count(all.handle)) }

func (all *mappingsOfFile) status() (Fault, bool) {
	var f C.sigward_fault
	order.StoreLoad()
	if C.sigward_adopted_status(all.handle, &f) != 1 {
		return Fault{}, false
	}
	return fault(&f), true
}

func (all *mappingsOfFile) heal() syscall.Errno { return errnoOf(C.sigward_adopted_heal(all.handle)) }

func (all *mappingsOfFile) close() { C.sigward_adopted_close(all.handle) }

//go:build cgo && linux && (amd64 || arm64)

package sigward

// #include <stdlib.h>
// #include "sigward.h"
//
// // The position, or an errno below 0: a place for the answer would be memory of Go's heap.
// static inline int64_t appended(sigward_log *log, const void *record, size_t length) {
//     uint64_t position = 0;
//     int status = sigward_log_append(log, record, length, &position);
//     return status < 0 ? status : (int64_t)position;
// }
import "C"

import (
	"strings"
	"syscall"
	"unsafe"
)

type logHandle struct{ log *C.sigward_log }

type readerHandle struct{ reader *C.sigward_log_reader }

// cPath must be freed.
func cPath(path string) (*C.char, syscall.Errno) {
	if strings.IndexByte(path, 0) >= 0 {
		return nil, syscall.EINVAL
	}
	return C.CString(path), 0
}

func openLogHandle(
	path string,
	options LogOptions,
) (handle logHandle, found LogRecovery, errno syscall.Errno) {
	name, errno := cPath(path)
	if errno != 0 {
		return handle, found, errno
	}
	defer C.free(unsafe.Pointer(name))
	given := C.sigward_log_options{
		capacity: C.uint64_t(options.Capacity),
		step:     C.uint64_t(options.Step),
	}
	given.size = C.size_t(unsafe.Sizeof(given))
	if options.SlowZeros {
		given.slow_zeros = 1
	}
	if options.DiscardAfterTorn {
		given.discard_after_torn = 1
	}
	var seen C.sigward_log_recovery
	errno = errnoOf(C.sigward_log_open_sized(name, &given, &seen, &handle.log,
		C.size_t(unsafe.Sizeof(seen))))
	found = LogRecovery{int64(seen.records), int64(seen.end), int64(seen.durable), int64(seen.torn)}
	return handle, found, errno
}

func reportOf(found C.sigward_log_report) LogReport {
	return LogReport{
		Records: int64(found.records), End: int64(found.end), Durable: int64(found.durable),
		Damaged: int64(found.damaged), FirstDamage: int64(found.first_damage),
		Lost: int64(found.lost), Torn: int64(found.torn), Headers: int(found.headers),
	}
}

func checkLog(path string) (report LogReport, errno syscall.Errno) {
	name, errno := cPath(path)
	if errno != 0 {
		return report, errno
	}
	defer C.free(unsafe.Pointer(name))
	var found C.sigward_log_report
	errno = errnoOf(C.sigward_log_check_sized(name, &found, C.size_t(unsafe.Sizeof(found))))
	return reportOf(found), errno
}

func salvageLog(from, to string) (report LogReport, errno syscall.Errno) {
	source, errno := cPath(from)
	if errno != 0 {
		return report, errno
	}
	defer C.free(unsafe.Pointer(source))
	target, errno := cPath(to)
	if errno != 0 {
		return report, errno
	}
	defer C.free(unsafe.Pointer(target))
	var found C.sigward_log_report
	errno = errnoOf(C.sigward_log_salvage_sized(source, target, &found,
		C.size_t(unsafe.Sizeof(found))))
	return reportOf(found), errno
}

func (h logHandle) append(record []byte) (int64, syscall.Errno) {
	answer := C.appended(h.log, unsafe.Pointer(unsafe.SliceData(record)), C.size_t(len(record)))
	if answer < 0 {
		return 0, syscall.Errno(-answer)
	}
	return int64(answer), 0
}

func (h logHandle) flush() (durable int64, errno syscall.Errno) {
	var upTo C.uint64_t
	errno = errnoOf(C.sigward_log_flush(h.log, &upTo))
	return int64(upTo), errno
}

func (h logHandle) end() int64 { return int64(C.sigward_log_end(h.log)) }

func (h logHandle) close() syscall.Errno { return errnoOf(C.sigward_log_close(h.log)) }

func openReaderHandle(path string) (handle readerHandle, errno syscall.Errno) {
	name, errno := cPath(path)
	if errno != 0 {
		return handle, errno
	}
	defer C.free(unsafe.Pointer(name))
	return handle, errnoOf(C.sigward_log_reader_open(name, &handle.reader))
}

func (h readerHandle) next(room []byte) (length int, errno syscall.Errno) {
	answer := C.sigward_log_reader_next(h.reader, unsafe.Pointer(unsafe.SliceData(room)),
		C.size_t(len(room)), nil)
	if answer < 0 {
		return 0, syscall.Errno(-answer)
	}
	return int(answer), 0
}

func (h readerHandle) durable() (int64, syscall.Errno) {
	var upTo C.uint64_t
	errno := errnoOf(C.sigward_log_reader_durable(h.reader, &upTo))
	return int64(upTo), errno
}

func (h readerHandle) position() int64 { return int64(C.sigward_log_reader_position(h.reader)) }

func (h readerHandle) seek(position int64) syscall.Errno {
	return errnoOf(C.sigward_log_reader_seek(h.reader, C.uint64_t(position)))
}

func (h readerHandle) close() { C.sigward_log_reader_close(h.reader) }

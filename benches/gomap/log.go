package main

// #include <stddef.h>
// #include <stdint.h>
// typedef struct sigward_log sigward_log;
// int sigward_log_open(const char *path, const void *options, void *recovery, sigward_log **out);
// int sigward_log_append(sigward_log *log, const void *record, size_t len, uint64_t *position);
// int sigward_log_close(sigward_log *log);
import "C"

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	sigward "github.com/sigward/sigward/go"
)

// measureAppend compares Append with the C function that it ends in, called by cgo with nothing
// around it.
func measureAppend(folder string, size int, target string) {
	path := filepath.Join(folder, "golog")
	record := make([]byte, size)
	ours, err := sigward.OpenLog(path)
	must(err)
	defer ours.Close()
	must(os.Remove(path))
	name := C.CString(path)
	var theirs *C.sigward_log
	if status := C.sigward_log_open(name, nil, nil, &theirs); status != 0 {
		fail("sigward_log_open: ", status)
	}
	defer C.sigward_log_close(theirs)
	must(os.Remove(path))

	const count = 500
	perAppend := func(begun time.Time) float64 {
		return float64(time.Since(begun).Nanoseconds()) / count
	}
	inGo := func() float64 {
		begun := time.Now()
		for i := 0; i < count; i++ {
			if _, err := ours.Append(record); err != nil {
				fail("Append: ", err)
			}
		}
		return perAppend(begun)
	}
	inC := func() float64 {
		begun := time.Now()
		for i := 0; i < count; i++ {
			var position C.uint64_t
			data, size := unsafe.Pointer(unsafe.SliceData(record)), C.size_t(len(record))
			if status := C.sigward_log_append(theirs, data, size, &position); status != 0 {
				fail("sigward_log_append: ", status)
			}
		}
		return perAppend(begun)
	}
	unit := map[int]string{64: "64 B", 4096: "4 KiB"}[size]
	measure(fmt.Sprintf("Go Append / C through cgo, %s", unit), inGo, inC, target)
}

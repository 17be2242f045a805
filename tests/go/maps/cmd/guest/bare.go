//go:build !warded

package main

// #include <stdint.h>
import "C"

import (
	"os"
	"syscall"
	"unsafe"
)

// guest_map maps a file, and returns where it is.
//
//export guest_map
func guest_map(path *C.char) unsafe.Pointer {
	file, err := os.Open(C.GoString(path))
	if err != nil {
		return nil
	}
	defer file.Close()
	status, err := file.Stat()
	if err != nil {
		return nil
	}
	data, err := syscall.Mmap(int(file.Fd()), 0, int(status.Size()), syscall.PROT_READ,
		syscall.MAP_SHARED)
	if err != nil {
		return nil
	}
	return unsafe.Pointer(&data[0])
}

// guest_truncated never knows.
//
//export guest_truncated
func guest_truncated() C.int { return 0 }

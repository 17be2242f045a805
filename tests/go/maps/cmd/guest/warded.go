//go:build warded

package main

// #include <stdint.h>
import "C"

import (
	"errors"
	"unsafe"

	sigward "github.com/sigward/sigward/go"
)

var guarded *sigward.Map

// guest_map maps a file, and returns where it is.
//
//export guest_map
func guest_map(path *C.char) unsafe.Pointer {
	var err error
	if guarded, err = sigward.Open(C.GoString(path)); err != nil {
		return nil
	}
	return unsafe.Pointer(&guarded.Bytes()[0])
}

// guest_truncated tells whether the map knows that its file was truncated.
//
//export guest_truncated
func guest_truncated() C.int {
	if errors.Is(guarded.Err(), sigward.ErrTruncated) {
		return 1
	}
	return 0
}

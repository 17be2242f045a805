// Guest is a Go library for a C host: built with -buildmode=c-shared. chost/host.c is its host.
package main

// #include <stdint.h>
import "C"

import (
	"runtime"
	"runtime/debug"
	"unsafe"
)

func main() {}

var sink byte

// guest_ready returns once Go's runtime is up and every package's init has run.
//
//export guest_ready
func guest_ready() {}

// guest_touch reads a byte in Go code: on the caller's thread, then on one of Go's own.
//
//export guest_touch
func guest_touch(address unsafe.Pointer) {
	touch((*byte)(address))
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread() // so that it is another thread than the caller's
		defer close(done)
		touch((*byte)(address))
	}()
	<-done
}

//go:noinline
func touch(address *byte) { sink = *address }

// guest_recovers tells whether a fault at an address that nobody guards, and a nil dereference, are
// panics that can be recovered from.
//
//export guest_recovers
func guest_recovers(stray unsafe.Pointer) C.int {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	if recovers((*byte)(stray)) && recovers(nil) {
		return 1
	}
	return 0
}

func recovers(address *byte) (recovered bool) {
	defer func() {
		_, recovered = recover().(runtime.Error)
	}()
	touch(address)
	return false
}

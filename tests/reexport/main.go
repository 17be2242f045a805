// Command reexport is a Go program with two Rust archives. One of them, libyours.a, brings sigward along, so the
// program is built with -tags sigward_external and the Go package links no archive of its own.
package main

/*
#cgo LDFLAGS: ${SRCDIR}/lib/libyours.a ${SRCDIR}/lib/libother.a -lm
int yours_write(void);
int other_catches(void);
*/
import "C"

import (
	"fmt"
	"os"
	"syscall"

	sigward "github.com/sigward/sigward/go"
)

func main() {
	if err := sigward.Err(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	failed := syscall.Errno(C.yours_write())
	events, _, err := sigward.ReadEvents(0)
	fmt.Printf("write: %v, other catches: %d, events: %v %v\n", failed, C.other_catches(), events, err)
	if failed != syscall.EPIPE || C.other_catches() != 1 || len(events) != 1 {
		os.Exit(1)
	}
}

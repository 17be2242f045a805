// Command reexport is a Go program with two Rust archives. One of them, libyours.a, brings sigward
// along, so the program is built with -tags sigward_external and the Go package links no archive of
// its own.
package main

/*
#cgo LDFLAGS: ${SRCDIR}/lib/libyours.a ${SRCDIR}/lib/libother.a -lm
int yours_write(void);
int yours_guarded(void);
int other_catches(void);
*/
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	sigward "github.com/sigward/sigward/go"
)

// blocked is this thread's signal mask, and what is pending on it.
func blocked() string {
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return err.Error()
	}
	var lines []string
	for _, line := range strings.Split(string(status), "\n") {
		if strings.HasPrefix(line, "SigBlk:") || strings.HasPrefix(line, "SigPnd:") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, ", ")
}

func main() {
	if err := sigward.Err(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	failed := syscall.Errno(C.yours_write())
	events, _, err := sigward.ReadEvents(0)
	// A guard on one of Go's own threads leaves its mask as it was.
	runtime.LockOSThread()
	before := blocked()
	guarded := C.yours_guarded()
	if after := blocked(); guarded != 2 || before != after {
		fmt.Printf("guards: %d of 2, mask %s before, %s after\n", guarded, before, after)
		os.Exit(1)
	}
	fmt.Printf("write: %v, other catches: %d, events: %v %v\n", failed, C.other_catches(), events,
		err)
	if failed != syscall.EPIPE || C.other_catches() != 1 || len(events) != 1 {
		os.Exit(1)
	}
}

package main

/*
#cgo LDFLAGS: ${SRCDIR}/libyours.a ${SRCDIR}/libother.a -lm
int yours_write(void);
int other_write(void);
*/
import "C"

import "syscall"

// writes is whether three writes to broken pipes, in two libraries, are EPIPE.
func writes() bool {
	failed := []C.int{C.yours_write(), C.other_write(), C.yours_write()}
	for _, errno := range failed {
		if syscall.Errno(errno) != syscall.EPIPE {
			return false
		}
	}
	return true
}

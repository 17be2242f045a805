//go:build !linux

package sigward

import "syscall"

// withinLimit makes a call that writes to a file. On these systems a C host that links or loads Go
// code has to ignore SIGXFSZ itself.
func withinLimit(call func() syscall.Errno) syscall.Errno { return call() }

//go:build !cgo && !host

package main

import "syscall"

// writeOnThread has no thread but Go's.
func writeOnThread(fd int) int {
	_, err := syscall.Write(fd, []byte("x"))
	return int(err.(syscall.Errno))
}

//go:build unix && !linux

package sigward

import "syscall"

func writeQuietly(fd int, p []byte, _ bool) (int, error) { return syscall.Write(fd, p) }

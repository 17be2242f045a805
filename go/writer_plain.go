//go:build unix && !linux

package sigward

import "syscall"

func writeWithoutSignal(fd int, p []byte, _ bool) (int, error) { return syscall.Write(fd, p) }

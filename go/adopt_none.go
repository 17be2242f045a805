//go:build !cgo || !linux || (!amd64 && !arm64)

package sigward

import (
	"os"
	"syscall"
)

// Only a handler can guard what Go did not map and others read.

func guardMemory([]byte, *os.File, int64) (guard, syscall.Errno) { return nil, syscall.ENOTSUP }

func guardFile(string) (guard, syscall.Errno) { return nil, syscall.ENOTSUP }

//go:build !linux || (!amd64 && !arm64)

package sigward

import (
	"os"
	"syscall"
)

// Logs are for Linux: elsewhere no blocks can be promised, and opening one for writing says so.
// They can be read.
const defaultCapacity = 64 << 20

func lockFile(*os.File) syscall.Errno                        { return syscall.ENOSYS }
func unlockFile(*os.File)                                    {}
func syncData(f *os.File) error                              { return f.Sync() }
func syncFolder(string) error                                { return nil }
func writeInPlace(*os.File)                                  {}
func nextData(_ *os.File, start, end int64) (from, to int64) { return start, end }
func giveBack(*os.File, int64)                               {}
func randomSalt() uint32                                     { return 1 }

//go:build unix

package sigward

import (
	"os"
	"syscall"
	"time"
)

// steadyLook asks for the change time, which nobody can set.
func steadyLook(f *os.File) (steady, syscall.Errno) {
	info, err := f.Stat()
	if err != nil {
		return steady{}, errnoIn(err)
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return steady{info.Size(), info.ModTime()}, 0
	}
	return steady{info.Size(), time.Unix(changeTime(s))}, 0
}

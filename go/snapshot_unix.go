//go:build unix

package sigward

import (
	"os"
	"syscall"
	"time"
)

// steadyNow asks for the change time, which nobody can set.
func steadyNow(f *os.File) (steady, syscall.Errno) {
	askServer(f)
	info, err := f.Stat()
	if err != nil {
		return steady{}, errnoIn(err)
	}
	return steadyOf(info), 0
}

func steadyOf(info os.FileInfo) steady {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return steady{info.Size(), time.Unix(changeTime(s))}
	}
	return steady{info.Size(), info.ModTime()}
}

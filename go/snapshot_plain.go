//go:build !unix

package sigward

import (
	"os"
	"syscall"
)

func steadyNow(f *os.File) (steady, syscall.Errno) {
	info, err := f.Stat()
	if err != nil {
		return steady{}, errnoIn(err)
	}
	return steadyOf(info), 0
}

func steadyOf(info os.FileInfo) steady { return steady{info.Size(), info.ModTime()} }

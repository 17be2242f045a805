//go:build amd64 || arm64

package sigward

import (
	"io"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

func fileSystemOf(f *os.File) (kind uint32) {
	withFd(f, func(fd int) {
		var s syscall.Statfs_t
		if syscall.Fstatfs(fd, &s) == nil {
			kind = uint32(s.Type)
		}
	})
	return kind
}

// momentOf is what a file's times are worth. src/file/snapshot/moment.rs of the Rust crate has the
// table.
func momentOf(f *os.File) Moment {
	const tmpfs, ext, xfs, btrfs, overlay = 0x01021994, 0xef53, 0x58465342, 0x9123683e, 0x794c7630
	switch fileSystemOf(f) {
	case tmpfs, ext, xfs, btrfs, overlay:
		return MomentProven
	}
	return MomentUnproven
}

// askServer has the kernel ask a server, or a daemon, for what fstat(2) says next: it may have an
// answer in memory from before somebody else's change.
func askServer(f *os.File) {
	const emptyPath, forceSync, basicStats = 0x1000, 0x2000, 0x7ff
	statx := uintptr(332)
	if runtime.GOARCH == "arm64" {
		statx = 291
	}
	var room [256]byte
	var name byte
	withFd(f, func(fd int) {
		syscall.Syscall6(statx, uintptr(fd), uintptr(unsafe.Pointer(&name)), emptyPath|forceSync,
			basicStats, uintptr(unsafe.Pointer(&room)), 0)
	})
}

// pastCache opens the file to be read without the page cache; nil where that does not work, and
// then the cache has forgotten it, unless others have it mapped.
func pastCache(source *os.File, room []byte) (direct *os.File) {
	withFd(source, func(fd int) {
		direct, _ = os.OpenFile(procPath(fd), syscall.O_RDONLY|syscall.O_DIRECT, 0)
	})
	if direct != nil {
		if _, err := direct.ReadAt(room, 0); err == nil || err == io.EOF {
			return direct
		}
		direct.Close()
	}
	const dontNeed = 4
	withFd(source, func(fd int) {
		syscall.Syscall6(syscall.SYS_FADVISE64, uintptr(fd), 0, 0, dontNeed, 0, 0)
	})
	return nil
}

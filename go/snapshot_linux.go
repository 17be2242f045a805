//go:build amd64 || arm64

package sigward

import (
	"os"
	"path/filepath"
	"syscall"
)

// cloneNameless shares the blocks of a file with one that has no name, in the folder of the file
// itself; nil where that cannot be had, for whatever reason. src/file/snapshot of the Rust crate
// explains each step.
func cloneNameless(source *os.File, path string) *os.File {
	fd, errno := -1, syscall.EBADF
	withFd(source, func(from int) {
		link, err := os.Readlink(procPath(from))
		if err != nil {
			return
		}
		fd, errno = openAt(atFdcwd, filepath.Dir(link),
			oTmpfile|syscall.O_EXCL|syscall.O_RDWR|syscall.O_NOFOLLOW, 0)
		if errno != 0 {
			return
		}
		const ficlone = 0x40049409
		for errno = syscall.EINTR; errno == syscall.EINTR; {
			errno = withinLimit(func() syscall.Errno { // it counts as a write
				_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), ficlone,
					uintptr(from))
				return errno
			})
		}
		if errno != 0 {
			syscall.Close(fd)
		}
	})
	if errno != 0 {
		return nil
	}
	return os.NewFile(uintptr(fd), path)
}

// clonesAtOneMoment tells of the file systems that keep writers away while they clone.
func clonesAtOneMoment(f *os.File) bool {
	const xfs, btrfs = 0x58465342, 0x9123683e
	kind := fileSystemOf(f)
	return kind == xfs || kind == btrfs
}

// waitForWriters waits for a write that has begun before: the change time moves at its beginning,
// so a long one that is at work all the time while the file is copied would show nothing. Both
// calls take the lock that a write holds.
func waitForWriters(f *os.File) {
	const seekHole = 4
	f.Seek(0, seekHole)
	withFd(f, func(fd int) { extents(fd, 0, 1, false) })
}

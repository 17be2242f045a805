//go:build amd64 || arm64

package sigward

import (
	"crypto/rand"
	"encoding/binary"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"
)

const defaultCapacity = 64 << 30

// lockFile takes the lock that every writer takes, until the descriptor is closed.
func lockFile(f *os.File) syscall.Errno {
	errno := syscall.EBADF
	withFd(f, func(fd int) {
		errno = eintr(func() error { return syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) })
	})
	return errno
}

// unlockFile gives it up by name: a child that is just being started has a share in the descriptor
// until it calls exec.
func unlockFile(f *os.File) {
	withFd(f, func(fd int) { syscall.Flock(fd, syscall.LOCK_UN) })
}

func syncData(f *os.File) error {
	errno := syscall.EBADF
	withFd(f, func(fd int) { errno = eintr(func() error { return syscall.Fdatasync(fd) }) })
	return pathError("fdatasync", f.Name(), errno, nil)
}

// syncFolder: it has the name of a new file.
func syncFolder(path string) error {
	whole, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(whole))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// writeInPlace exempts an empty file from being copied on write (chattr +C); elsewhere than on
// btrfs it is refused.
func writeInPlace(f *os.File) {
	withFd(f, func(fd int) {
		var flags [2]uint32 // an int, in a long
		const get, set, noCopy = 0x80086601, 0x40086602, 0x00800000
		if ioctl(fd, get, unsafe.Pointer(&flags)) == 0 {
			flags[0] |= noCopy
			ioctl(fd, set, unsafe.Pointer(&flags))
		}
	})
}

// nextData is where in the range something may be written.
func nextData(f *os.File, start, end int64) (from, to int64) {
	const seekData, seekHole = 3, 4
	from, to = start, end
	withFd(f, func(fd int) {
		at, err := syscall.Seek(fd, start, seekData)
		switch {
		case err == syscall.ENXIO:
			from = end
			return
		case err == nil:
			from = min(at, end)
		}
		if at, err := syscall.Seek(fd, from, seekHole); err == nil {
			to = min(at, end)
		}
	})
	return from, to
}

// giveBack frees the blocks from offset on, in place: a cut would be a fault for whoever has the
// file mapped.
func giveBack(f *os.File, offset int64) {
	withFd(f, func(fd int) {
		var s syscall.Stat_t
		if syscall.Fstat(fd, &s) == nil && offset < s.Size {
			syscall.Fallocate(fd, punchHole|keepSize, offset, s.Size-offset)
		}
	})
}

func randomSalt() uint32 {
	var b [4]byte
	rand.Read(b[:])
	return binary.LittleEndian.Uint32(b[:])
}

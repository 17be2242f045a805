package sigward

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// isBeingWritten asks with a read lease, which is given back at once: the kernel refuses it while a
// writer exists. src/file/lease/kernel.rs of the Rust crate explains it. A writer who opens the
// file in those microseconds waits for them, and SIGURG comes, which Go's runtime expects at any
// time.
func isBeingWritten(f *os.File) (writing, known bool) {
	const setSignal, setLease = 10, 1024 // F_SETSIG, F_SETLEASE
	withFd(f, func(fd int) {
		_, _, errno := syscall.Syscall(
			syscall.SYS_FCNTL, uintptr(fd), setSignal, uintptr(syscall.SIGURG))
		if errno != 0 {
			return
		}
		_, _, errno = syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), setLease, syscall.F_RDLCK)
		if errno == 0 {
			syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), setLease, syscall.F_UNLCK)
		}
		writing, known = errno == syscall.EAGAIN, errno == 0 || errno == syscall.EAGAIN
	})
	return writing, known
}

// chainPlace is a place between a path and its file whose changes matter.
type chainPlace struct {
	// In this folder they decide: another entry there, and the path leads elsewhere.
	names         map[string]bool
	device, inode uint64 // so that a folder in the place of another is noticed
	isFile        bool
}

// followPath follows an absolute path as the kernel would, as far as it leads.
func followPath(path string) map[string]chainPlace {
	chain := map[string]chainPlace{}
	decides := func(folder, name string) {
		place := chain[folder]
		if place.names == nil {
			place.names = map[string]bool{}
		}
		place.names[name] = true
		chain[folder] = place
	}
	here, ahead := "/", strings.Split(path, "/")
	for links := 0; len(ahead) > 0; {
		name := ahead[0]
		ahead = ahead[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			here = filepath.Dir(here)
			continue
		}
		at := filepath.Join(here, name)
		var s syscall.Stat_t
		if eintr(func() error { return syscall.Lstat(at, &s) }) != 0 {
			decides(here, name)
			return chain
		}
		if s.Mode&syscall.S_IFMT == syscall.S_IFDIR && len(ahead) > 0 {
			place := chain[at]
			place.device, place.inode = uint64(s.Dev), s.Ino
			chain[at] = place
			here = at
			continue
		}
		decides(here, name)
		if s.Mode&syscall.S_IFMT != syscall.S_IFLNK {
			chain[at] = chainPlace{device: uint64(s.Dev), inode: s.Ino, isFile: true}
			return chain
		}
		target, err := os.Readlink(at)
		if links++; err != nil || links > 40 { // as many as the kernel follows
			return chain
		}
		if filepath.IsAbs(target) {
			here = "/"
		}
		ahead = append(strings.Split(target, "/"), ahead...)
	}
	return chain
}

func sameChain(a, b map[string]chainPlace) bool {
	if len(a) != len(b) {
		return false
	}
	for at, place := range a {
		other, here := b[at]
		if !here || place.device != other.device || place.inode != other.inode ||
			place.isFile != other.isFile || len(place.names) != len(other.names) {
			return false
		}
		for name := range place.names {
			if !other.names[name] {
				return false
			}
		}
	}
	return true
}

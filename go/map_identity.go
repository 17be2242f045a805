//go:build unix

package sigward

import "syscall"

// identity is what tells that a file is still the one that was mapped, and as it was: with its own
// descriptor, so that a look needs no cgo and no path.
//
// Whoever writes to a file, truncates it or puts its times back changes its ctime, and nobody can
// set that.
type identity struct {
	fd   int
	seen snapshot
}

type snapshot struct {
	device, inode uint64
	size          int64
	seconds, nano int64 // ctime
}

func snapshotOf(s *syscall.Stat_t) snapshot {
	seconds, nano := changeTime(s)
	return snapshot{uint64(s.Dev), uint64(s.Ino), int64(s.Size), seconds, nano}
}

// sameFile tells whether both are of one file, whatever is in it.
func (s snapshot) sameFile(other snapshot) bool {
	return s.device == other.device && s.inode == other.inode
}

func identityOf(fd int) (*identity, syscall.Errno) {
	seen, errno := statNow(fd)
	if errno != 0 {
		return nil, errno
	}
	return &identity{fd, seen}, 0
}

func statNow(fd int) (snapshot, syscall.Errno) {
	var s syscall.Stat_t
	if errno := eintr(func() error { return syscall.Fstat(fd, &s) }); errno != 0 {
		return snapshot{}, errno
	}
	return snapshotOf(&s), 0
}

// changed tells whether the file is no longer as it was; also when nobody can tell.
func (i *identity) changed() bool {
	now, errno := statNow(i.fd)
	return errno != 0 || now != i.seen
}

// named is how the file is now that the path names; ESTALE if that is another one or none.
func (s snapshot) named(path string) (snapshot, syscall.Errno) {
	var at syscall.Stat_t
	errno := eintr(func() error { return syscall.Stat(path, &at) })
	now := snapshotOf(&at)
	if errno != 0 || now.device != s.device || now.inode != s.inode {
		return snapshot{}, syscall.ESTALE
	}
	return now, 0
}

func (i *identity) close() { syscall.Close(i.fd) }

// openFile opens a path for mapping. It does not wait for the other side of a FIFO.
func openFile(path string, o *Options) (fd int, errno syscall.Errno) {
	mode := syscall.O_RDONLY
	if o.Writable && !o.CopyOnWrite {
		mode = syscall.O_RDWR
	}
	errno = eintr(func() (err error) {
		fd, err = syscall.Open(path, mode|syscall.O_CLOEXEC|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
		return err
	})
	return fd, errno
}

// eintr calls again what a signal interrupted, and returns the errno of what it ends with.
func eintr(call func() error) syscall.Errno {
	for {
		switch err := call(); errno := err.(type) {
		case nil:
			return 0
		case syscall.Errno:
			if errno != syscall.EINTR {
				return errno
			}
		default:
			return syscall.EIO
		}
	}
}

//go:build amd64 || arm64

package sigward

import (
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"
)

const (
	oPath    = 0x200000
	oTmpfile = 0x400000 | syscall.O_DIRECTORY
	atFdcwd  = -0x64
)

// target is where the new file goes: a folder, held open, and a name in it. Everything is relative
// to the folder, so that moving it meanwhile does no harm. src/file/replace of the Rust crate
// explains each step.
type target struct {
	folder   int
	name     string
	readable bool // without permission to read it a folder cannot be opened for fsync(2)
}

// findTarget compares with what the kernel finds, as the text of a link in /proc may name another
// file; again, if a link was switched in between.
func findTarget(path string) (*target, syscall.Errno) {
	for tries := 0; tries <= 40; tries++ {
		t, linked, errno := followTarget(path)
		if errno != 0 {
			return nil, errno
		}
		if !linked {
			return t.kept(), 0
		}
		var found, named syscall.Stat_t
		missing := eintr(func() error { return syscall.Stat(path, &found) })
		fd, errno := openAt(t.folder, t.name, oPath|syscall.O_NOFOLLOW, 0)
		if errno == 0 {
			errno = eintr(func() error { return syscall.Fstat(fd, &named) })
			syscall.Close(fd)
		}
		if errno == missing && found.Dev == named.Dev && found.Ino == named.Ino {
			return t.kept(), 0
		}
		t.close()
	}
	return nil, syscall.ENOENT
}

// followTarget is what the links at path lead to by their texts, and whether there are any.
func followTarget(path string) (*target, bool, syscall.Errno) {
	base := atFdcwd
	for links := 0; links <= 40; links++ {
		t, errno := splitTarget(base, path)
		if base != atFdcwd {
			syscall.Close(base)
		}
		if errno != 0 {
			return nil, false, errno
		}
		text, errno := readLink(t.folder, t.name)
		switch errno {
		case 0:
			base, path = t.folder, text
		case syscall.EINVAL, syscall.ENOENT: // no link, or nothing there
			return t, links != 0, 0
		default:
			t.close()
			return nil, false, errno
		}
	}
	syscall.Close(base)
	return nil, false, syscall.ELOOP
}

func splitTarget(base int, path string) (*target, syscall.Errno) {
	if path == "" {
		return nil, syscall.ENOENT
	}
	slash := strings.LastIndexByte(path, '/') + 1
	folder, name := path[:slash], path[slash:]
	if name == "" || name == "." || name == ".." {
		return nil, syscall.EISDIR
	}
	if folder == "" {
		folder = "."
	}
	fd, errno := openAt(base, folder, syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	if errno == syscall.EACCES {
		fd, errno = openAt(base, folder, oPath|syscall.O_DIRECTORY, 0)
		return &target{fd, name, false}, errno
	}
	return &target{fd, name, true}, errno
}

// kept is t, whose folder goes with it where nobody closes it.
func (t *target) kept() *target {
	runtime.SetFinalizer(t, (*target).close)
	return t
}

func (t *target) close() {
	runtime.SetFinalizer(t, nil)
	syscall.Close(t.folder)
}

func (t *target) remove(name string) {
	eintr(func() error { return syscall.Unlinkat(t.folder, name) })
}

// attributes are those of what is to be replaced, nil if there is nothing; an error if it cannot
// be.
func (t *target) attributes() (*attributes, syscall.Errno) {
	for _, flags := range []int{oPath, syscall.O_RDONLY | syscall.O_NONBLOCK} {
		fd, errno := openAt(t.folder, t.name, flags|syscall.O_NOFOLLOW, 0)
		switch errno {
		case 0:
		case syscall.ENOENT:
			return nil, 0
		case syscall.ELOOP: // it has become a link, which will be replaced
			return nil, 0
		default:
			return nil, errno
		}
		a, errno := readAttributes(fd)
		syscall.Close(fd)
		if errno == 0 && a.kind == syscall.S_IFLNK {
			return nil, 0
		}
		if errno == 0 {
			errno = kindErrno(a.kind)
		}
		if errno != syscall.EBADF { // without /proc a file has to be readable
			return a, errno
		}
	}
	return nil, syscall.EBADF
}

func kindErrno(kind uint32) syscall.Errno {
	switch kind {
	case syscall.S_IFREG:
		return 0
	case syscall.S_IFDIR:
		return syscall.EISDIR
	}
	return syscall.ENODEV
}

// temporary is the new file: without a name where the system can.
func (t *target) temporary(mode uint32) (*os.File, string, syscall.Errno) {
	t.sweep()
	fd, errno := -1, syscall.EOPNOTSUPP
	if t.syncsNameless() {
		fd, errno = openAt(t.folder, ".", oTmpfile|syscall.O_RDWR, mode)
	}
	switch errno {
	case 0:
		flock(fd, syscall.LOCK_EX)
		if syscall.Access(procPath(fd), 0) == nil {
			return os.NewFile(uintptr(fd), t.name), "", 0
		}
		syscall.Close(fd) // without /proc it could not be named
	case syscall.EOPNOTSUPP, syscall.EISDIR, syscall.EINVAL, syscall.ENOENT, syscall.ENOSYS:
	default:
		return nil, "", errno
	}
	if errno = t.removable(); errno != 0 {
		return nil, "", errno
	}
	name, errno := t.withFreeName(func(name string) (errno syscall.Errno) {
		fd, errno = openAt(t.folder, name,
			syscall.O_RDWR|syscall.O_CREAT|syscall.O_EXCL|syscall.O_NOFOLLOW, mode)
		if errno != 0 {
			return errno
		}
		// Somebody may have taken it for a left-over before it was locked.
		var s syscall.Stat_t
		locked := flock(fd, syscall.LOCK_EX)
		if locked == syscall.EWOULDBLOCK || syscall.Fstat(fd, &s) == nil && s.Nlink == 0 {
			syscall.Close(fd)
			return syscall.EEXIST
		}
		return 0
	})
	if errno != 0 {
		return nil, "", errno
	}
	return os.NewFile(uintptr(fd), t.name), name, 0
}

// syncsNameless tells whether fsync(2) of a file without a name is known to keep it: not on btrfs,
// and not on an overlay, whose layers may be btrfs.
func (t *target) syncsNameless() bool {
	const ext, tmpfs, xfs = 0xef53, 0x01021994, 0x58465342
	var s syscall.Statfs_t
	if eintr(func() error { return syscall.Fstatfs(t.folder, &s) }) != 0 {
		return false
	}
	return s.Type == ext || s.Type == tmpfs || s.Type == xfs
}

// publish gives the new file its name, and whatever had it loses it.
func (r *Replacement) publish() (errno syscall.Errno) {
	if r.hidden == "" {
		if errno = r.link(r.target.name); errno != syscall.EEXIST {
			return errno
		}
		// link(2) replaces nothing; rename(2) does, but needs a name.
		if errno = r.target.removable(); errno != 0 {
			return errno
		}
		if r.hidden, errno = r.target.withFreeName(r.link); errno != 0 {
			return errno
		}
	}
	if errno = eintr(func() error {
		return syscall.Renameat(r.target.folder, r.hidden, r.target.folder, r.target.name)
	}); errno == 0 {
		r.hidden = "" // free again, and may be somebody else's by now
		withFd(r.file, func(fd int) { flock(fd, syscall.LOCK_UN) })
	}
	return errno
}

func (r *Replacement) link(name string) (errno syscall.Errno) {
	const follow = 0x400 // AT_SYMLINK_FOLLOW
	to, err := syscall.BytePtrFromString(name)
	if err != nil {
		return syscall.EINVAL
	}
	withFd(r.file, func(fd int) {
		from, _ := syscall.BytePtrFromString(procPath(fd))
		here := atFdcwd
		_, _, errno = syscall.Syscall6(syscall.SYS_LINKAT, uintptr(here),
			uintptr(unsafe.Pointer(from)), uintptr(r.target.folder), uintptr(unsafe.Pointer(to)),
			follow, 0)
	})
	return errno
}

// smallNumbers are how many hidden names are looked at.
const smallNumbers = 8

func (t *target) withFreeName(take func(string) syscall.Errno) (name string, errno syscall.Errno) {
	for number := uint64(0); number < smallNumbers+100; number++ {
		name = hiddenName(t.name, number)
		if number >= smallNumbers {
			name = hiddenName(t.name, randomNumber())
		}
		if errno = take(name); errno != syscall.EEXIST {
			break
		}
	}
	if errno != 0 {
		name = ""
	}
	return name, errno
}

// flock does not wait. Whoever works on a file has it locked, until the process dies.
func flock(fd, how int) syscall.Errno {
	return eintr(func() error { return syscall.Flock(fd, how|syscall.LOCK_NB) })
}

// sweep removes what killed replacements of the same file have left: regular files with no other
// name and nobody at work, of one who may replace the destination: the caller, or its owner.
func (t *target) sweep() {
	for number := uint64(0); number < smallNumbers; number++ {
		name := hiddenName(t.name, number)
		const flags = syscall.O_RDONLY | syscall.O_NOFOLLOW | syscall.O_NONBLOCK | syscall.O_NOCTTY
		fd, errno := openAt(t.folder, name, flags, 0)
		if errno != 0 {
			continue
		}
		var left syscall.Stat_t
		if syscall.Fstat(fd, &left) == nil && left.Mode&syscall.S_IFMT == syscall.S_IFREG &&
			left.Nlink == 1 && t.isOurs(left.Uid) && flock(fd, syscall.LOCK_EX) == 0 {
			if named, ok := t.statusOf(name); ok && named.Dev == left.Dev && named.Ino == left.Ino {
				t.remove(name)
			}
		}
		syscall.Close(fd)
	}
}

func (t *target) isOurs(owner uint32) bool {
	if int(owner) == syscall.Geteuid() {
		return true
	}
	live, ok := t.statusOf(t.name)
	return ok && live.Uid == owner
}

func (t *target) statusOf(name string) (s syscall.Stat_t, ok bool) {
	fd, errno := openAt(t.folder, name, oPath|syscall.O_NOFOLLOW, 0)
	if errno != 0 {
		return s, false
	}
	defer syscall.Close(fd)
	return s, syscall.Fstat(fd, &s) == nil
}

// removable tells whether a name in this folder can be removed again.
func (t *target) removable() syscall.Errno {
	const appendOrImmutable = 0x20 | 0x10 // FS_APPEND_FL, FS_IMMUTABLE_FL
	if flags, ok := inodeFlags(t.folder); ok && flags&appendOrImmutable != 0 {
		return syscall.EPERM
	}
	return 0
}

// sync takes the folder to the disk.
func (t *target) sync(f *os.File) (errno syscall.Errno) {
	if t.readable {
		errno = eintr(func() error { return syscall.Fsync(t.folder) })
	} else {
		withFd(f, func(fd int) { _, _, errno = syscall.Syscall(sysSyncfs, uintptr(fd), 0, 0) })
	}
	if errno == syscall.EINVAL || errno == syscall.ENOTSUP {
		return 0 // it writes folders at once, or cannot otherwise
	}
	return errno
}

func openSource(path string) (*os.File, syscall.Errno) {
	fd, errno := openAt(atFdcwd, path, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if errno == syscall.EAGAIN { // somebody has a lease to give up first
		fd, errno = openAt(atFdcwd, path, syscall.O_RDONLY|syscall.O_NOCTTY, 0)
	}
	if errno == syscall.ENXIO {
		return nil, syscall.ENODEV
	}
	if errno != 0 {
		return nil, errno
	}
	var s syscall.Stat_t
	if errno = eintr(func() error { return syscall.Fstat(fd, &s) }); errno == 0 {
		errno = kindErrno(s.Mode & syscall.S_IFMT)
	}
	if errno != 0 {
		syscall.Close(fd)
		return nil, errno
	}
	syscall.SetNonblock(fd, false) // a regular file: nothing for the poller
	return os.NewFile(uintptr(fd), path), 0
}

// cloneContents shares the blocks, where the file system can. A failure has done nothing.
func cloneContents(to, from *os.File) (cloned bool) {
	const ficlone = 0x40049409
	withFd(to, func(target int) {
		withFd(from, func(source int) {
			cloned = 0 == withinLimit(func() syscall.Errno {
				_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(target), ficlone,
					uintptr(source))
				return errno
			})
		})
	})
	return cloned
}

// copyContents leaves holes holes.
func copyContents(to, from *os.File, length int64) error {
	const seekData, seekHole = 3, 4
	at := int64(0)
	for at < length {
		start, end := at, length
		if data, err := from.Seek(at, seekData); err == nil {
			start = data
			if end, err = from.Seek(data, seekHole); err != nil {
				return err
			}
		} else if errnoIn(err) == syscall.ENXIO { // a hole up to the end
			break
		}
		n, err := copyPart(to, from, start, end-start)
		if at = start + n; err != nil {
			return err
		}
		if n < end-start {
			break // cut meanwhile
		}
	}
	// Files of /proc have a length of 0 and contents all the same.
	n, err := copyPart(to, from, length, 1<<62)
	if err == nil && n == 0 {
		err = to.Truncate(length)
	}
	return err
}

func copyPart(to, from *os.File, start, length int64) (int64, error) {
	if _, err := from.Seek(start, io.SeekStart); err != nil {
		return 0, err
	}
	if _, err := to.Seek(start, io.SeekStart); err != nil {
		return 0, err
	}
	// By copy_file_range(2), where that is to be had.
	return io.Copy(to, io.LimitReader(from, length))
}

func openAt(folder int, name string, flags int, mode uint32) (fd int, errno syscall.Errno) {
	errno = eintr(func() (err error) {
		fd, err = syscall.Openat(folder, name, flags|syscall.O_CLOEXEC, mode)
		return err
	})
	return fd, errno
}

func readLink(folder int, name string) (string, syscall.Errno) {
	text := make([]byte, 4096)
	path, err := syscall.BytePtrFromString(name)
	if err != nil {
		return "", syscall.EINVAL
	}
	n, _, errno := syscall.Syscall6(syscall.SYS_READLINKAT, uintptr(folder),
		uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&text[0])), uintptr(len(text)), 0, 0)
	if errno != 0 {
		return "", errno
	}
	return string(text[:n]), 0
}

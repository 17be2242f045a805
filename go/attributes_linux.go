//go:build amd64 || arm64

package sigward

import (
	"os"
	"strings"
	"syscall"
	"unsafe"
)

// attributes are what goes from one file to the next.
type attributes struct {
	kind, mode  uint32
	user, group int
	names       []string
	values      [][]byte
}

const accessList = "system.posix_acl_access"

// essential are the extended attributes that people set, and miss.
func essential(name string) bool { return strings.HasPrefix(name, "user.") || name == accessList }

func attributesOf(f *os.File) (a *attributes, errno syscall.Errno) {
	errno = syscall.EBADF
	withFd(f, func(fd int) { a, errno = readAttributes(fd) })
	return a, errno
}

// readAttributes: the file need only be open with O_PATH where /proc is there; where not, that is
// EBADF.
func readAttributes(fd int) (*attributes, syscall.Errno) {
	var s syscall.Stat_t
	if errno := eintr(func() error { return syscall.Fstat(fd, &s) }); errno != 0 {
		return nil, errno
	}
	a := &attributes{
		kind:  s.Mode & syscall.S_IFMT,
		mode:  s.Mode & 0o7777,
		user:  int(s.Uid),
		group: int(s.Gid),
	}
	if a.kind != syscall.S_IFREG {
		return a, 0
	}
	place := xattrs{path: procPath(fd)}
	names, errno := place.list()
	if errno == syscall.ENOENT || errno == syscall.ENOTDIR {
		place = xattrs{fd: fd}
		names, errno = place.list()
	}
	if errno != 0 {
		return nil, errno
	}
	for _, name := range names {
		if name == "security.ima" || name == "security.evm" { // digests of the old contents
			continue
		}
		switch value, errno := place.get(name); {
		case errno == 0:
			a.names, a.values = append(a.names, name), append(a.values, value)
		case errno != syscall.ENODATA && essential(name):
			return nil, errno
		}
	}
	return a, 0
}

// give: the mode last, because changing the owner takes set-user-ID away, and an access control
// list has the group's bits.
//
// Privileges (set-user-ID, set-group-ID, file capabilities) only if they are wanted.
func (a *attributes) give(f *os.File, privileged bool) (errno syscall.Errno) {
	errno = syscall.EBADF
	withFd(f, func(fd int) {
		mode := a.mode
		if !privileged {
			mode &= 0o1777
		}
		if errno = a.giveOwner(fd); errno == 0 {
			errno = a.giveExtended(fd, privileged)
		}
		if errno == 0 {
			errno = eintr(func() error { return syscall.Fchmod(fd, mode) })
		}
	})
	return errno
}

// giveToNew gives a file that was not there what is not permissions, as far as it may be given:
// those it has been made with.
func (a *attributes) giveToNew(f *os.File) (errno syscall.Errno) {
	errno = syscall.EBADF
	withFd(f, func(fd int) {
		if errno = a.giveOwner(fd); errno == syscall.EPERM {
			syscall.Fchown(fd, -1, a.group) // at least the group, if it is one of ours
			errno = 0
		}
		for i, name := range a.names {
			if strings.HasPrefix(name, "user.") {
				xattrs{fd: fd}.call(sysFsetxattr, name, a.values[i])
			}
		}
	})
	return errno
}

func (a *attributes) permissions() uint32 { return a.mode & 0o777 }

func (a *attributes) giveOwner(fd int) syscall.Errno {
	var s syscall.Stat_t
	if errno := eintr(func() error { return syscall.Fstat(fd, &s) }); errno != 0 {
		return errno
	}
	if int(s.Uid) == a.user && int(s.Gid) == a.group {
		return 0
	}
	errno := eintr(func() error { return syscall.Fchown(fd, a.user, a.group) })
	if errno == syscall.EINVAL { // no such owner in this user namespace
		errno = syscall.EPERM
	}
	return errno
}

// giveExtended: the new file has these, and of the essential ones no others: a folder's default
// list gave it some.
func (a *attributes) giveExtended(fd int, privileged bool) syscall.Errno {
	place := xattrs{fd: fd}
	now, errno := place.list()
	if errno != 0 {
		return errno
	}
	for _, name := range now {
		if essential(name) && !contains(a.names, name) {
			if errno := place.call(sysFremovexattr, name, nil); errno != 0 {
				return errno
			}
		}
	}
	for i, name := range a.names {
		if name == "security.capability" && !privileged {
			continue
		}
		if old, errno := place.get(name); errno == 0 && string(old) == string(a.values[i]) {
			continue // a label that may not be set, but is there
		}
		switch errno := place.call(sysFsetxattr, name, a.values[i]); errno {
		case 0:
		case syscall.EPERM, syscall.EACCES, syscall.EOPNOTSUPP, syscall.EINVAL:
			if essential(name) {
				return errno
			}
		default:
			return errno
		}
	}
	return 0
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// Package syscall has them for paths, and their numbers follow the paths'.
const (
	sysFsetxattr    = syscall.SYS_FSETXATTR
	sysFremovexattr = syscall.SYS_FREMOVEXATTR
)

// xattrs is where attributes are: a path, or an open file.
type xattrs struct {
	path string
	fd   int
}

func (x xattrs) list() ([]string, syscall.Errno) {
	text, errno := sized(func(room []byte) (int, syscall.Errno) {
		if x.path != "" {
			n, err := syscall.Listxattr(x.path, room)
			return n, errnoIn(err)
		}
		n, _, errno := syscall.Syscall(syscall.SYS_FLISTXATTR, uintptr(x.fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(room))), uintptr(len(room)))
		return int(n), errno
	})
	if errno == syscall.EOPNOTSUPP {
		return nil, 0
	}
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == 0 }), errno
}

func (x xattrs) get(name string) ([]byte, syscall.Errno) {
	return sized(func(room []byte) (int, syscall.Errno) {
		if x.path != "" {
			n, err := syscall.Getxattr(x.path, name, room)
			return n, errnoIn(err)
		}
		p, _ := syscall.BytePtrFromString(name)
		n, _, errno := syscall.Syscall6(syscall.SYS_FGETXATTR, uintptr(x.fd),
			uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(unsafe.SliceData(room))),
			uintptr(len(room)), 0, 0)
		return int(n), errno
	})
}

func (x xattrs) call(number uintptr, name string, value []byte) syscall.Errno {
	p, _ := syscall.BytePtrFromString(name)
	_, _, errno := syscall.Syscall6(number, uintptr(x.fd), uintptr(unsafe.Pointer(p)),
		uintptr(unsafe.Pointer(unsafe.SliceData(value))), uintptr(len(value)), 0, 0)
	return errno
}

// sized asks how much there is, then for it, until nobody has changed it in between.
func sized(call func([]byte) (int, syscall.Errno)) ([]byte, syscall.Errno) {
	for {
		n, errno := call(nil)
		if errno != 0 || n == 0 {
			return nil, errno
		}
		room := make([]byte, n)
		n, errno = call(room)
		if errno == 0 {
			return room[:n], 0
		}
		if errno != syscall.ERANGE {
			return nil, errno
		}
	}
}

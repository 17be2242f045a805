//go:build amd64 || arm64

package sigward

import (
	"math"
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"
)

// Modes of fallocate(2) (include/uapi/linux/falloc.h).
const (
	keepSize     = 0x01
	punchHole    = 0x02
	unshareRange = 0x40
)

// reservation is a range to be reserved, and the file as it was before.
type reservation struct {
	fd         int
	start, end int64 // what has to have blocks: whole folios, as far as the file reaches then
	reach      int64 // where the caller's range ends
	before     syscall.Stat_t
	lengthened bool // a call was made that can have made the file longer; if none was, it is somebody else's doing, and stays
}

// reserve does what src/file/linux of the Rust crate does, where each step is explained.
func reserve(fd int, offset, length int64, slowly bool) (promise Promise, errno syscall.Errno) {
	errno = withinLimit(func() (errno syscall.Errno) {
		promise, errno = reserveBlocks(fd, offset, length, slowly)
		return errno
	})
	return promise, errno
}

func reserveBlocks(fd int, offset, length int64, slowly bool) (Promise, syscall.Errno) {
	r := reservation{fd: fd}
	if errno := r.prepare(offset, length); errno != 0 {
		return 0, errno
	}
	if isZFS(fd) {
		return 0, syscall.EOPNOTSUPP // it checks for room, and keeps none
	}
	known, noList := extents(fd, r.start, r.knownEnd(), false)
	unshared, errno := r.allocate()
	switch {
	case errno == 0 && unshared:
		return PromiseFull, 0
	case errno == 0:
		return promiseOf(fd), 0
	}
	r.undo(known, noList == 0)
	if slowly && (errno == syscall.EOPNOTSUPP || errno == syscall.ENOSYS) {
		return r.writeZeros()
	}
	return 0, errno
}

func (r *reservation) prepare(offset, length int64) syscall.Errno {
	switch {
	case offset < 0 || length <= 0:
		return syscall.EINVAL
	case offset > math.MaxInt64-length:
		return syscall.EOVERFLOW
	}
	if errno := eintr(func() error { return syscall.Fstat(r.fd, &r.before) }); errno != 0 {
		return errno
	}
	switch r.before.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
	case syscall.S_IFDIR:
		return syscall.EISDIR
	case syscall.S_IFIFO:
		return syscall.ESPIPE
	default:
		return syscall.ENODEV
	}
	r.reach = offset + length
	if r.grows() && uint64(r.reach) > sizeLimit() {
		return syscall.EFBIG
	}
	// A store makes a whole folio of the page cache dirty, and needs blocks for any hole in it. tmpfs, which keeps no list of
	// extents, takes them page by page.
	unit := int64(os.Getpagesize())
	if _, errno := extents(r.fd, 0, 1, false); errno == 0 {
		unit *= min(unit/8, 2048)
	}
	r.start = offset - offset%unit
	r.end = max(r.before.Size, r.reach)
	if up := (r.reach-1)/unit*unit + unit; up > 0 {
		r.end = min(r.end, up)
	}
	return 0
}

// grows tells whether the file has to become longer.
func (r *reservation) grows() bool { return r.reach > r.before.Size }

// allocate tells whether the blocks are known to be this file's alone.
func (r *reservation) allocate() (unshared bool, errno syscall.Errno) {
	errno = r.fallocate(unshareRange|keepSize, r.start, r.end)
	switch errno {
	case 0:
		unshared = true
	case syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.EINVAL, syscall.EPERM: // EPERM: the file is chattr +a
		errno = r.fallocate(keepSize, r.start, r.end)
		if errno == syscall.EOPNOTSUPP || errno == syscall.ENOSYS {
			errno = r.fallocate(0, r.start, r.end) // NFS
		}
	}
	if errno == 0 && r.grows() {
		// Unlike ftruncate it cannot make a file shorter that somebody has made longer meanwhile.
		errno = r.fallocate(0, r.reach-1, r.reach)
	}
	return unshared, errno
}

// fallocate: on older kernels (not on 6.18) tmpfs gives everything back when a signal comes, and the runtime sends itself many; from the
// second attempt on they wait.
func (r *reservation) fallocate(mode uint32, start, end int64) syscall.Errno {
	r.lengthened = r.lengthened || mode&keepSize == 0
	call := func() syscall.Errno { return errnoIn(syscall.Fallocate(r.fd, mode, start, end-start)) }
	errno := call()
	if errno != syscall.EINTR {
		return errno
	}
	if strings.HasPrefix(runtime.GOARCH, "mips") { // another size of signal sets
		for errno == syscall.EINTR {
			errno = call()
		}
		return errno
	}
	const setMask = 2 // SIG_SETMASK
	all, old := ^uint64(0), uint64(0)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	for errno == syscall.EINTR {
		errno = call()
	}
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	return errno
}

// knownEnd is how far has to be known what was there: cutting at the file's end frees everything beyond it.
func (r *reservation) knownEnd() int64 {
	if r.grows() {
		return math.MaxInt64
	}
	return r.end
}

// undo gives back what is new.
func (r *reservation) undo(known []extent, isKnown bool) {
	var now syscall.Stat_t
	if syscall.Fstat(r.fd, &now) != nil {
		return
	}
	sameLength, length := now.Size == r.before.Size, r.before.Size
	if r.lengthened && now.Size > length && now.Size <= r.reach {
		syscall.Ftruncate(r.fd, length)
	}
	if isKnown {
		beyond := false
		current, _ := extents(r.fd, r.start, r.end, true)
		for _, e := range current {
			if !e.unwritten {
				continue
			}
			for _, blocks := range gaps(e.start, e.end, known) {
				if blocks.start < length {
					r.fallocate(punchHole|keepSize, blocks.start, blocks.end)
				}
				beyond = beyond || blocks.end > length
			}
		}
		if sameLength && beyond {
			syscall.Ftruncate(r.fd, length)
			for _, older := range known {
				if older.unwritten && older.end > length {
					r.fallocate(keepSize, max(older.start, length), older.end)
				}
			}
		}
	}
	r.restoreTime()
}

// restoreTime puts the modification time back, if it may be set.
func (r *reservation) restoreTime() {
	var now syscall.Stat_t
	if syscall.Fstat(r.fd, &now) != nil || now.Mtim == r.before.Mtim || now.Size != r.before.Size {
		return
	}
	omit := syscall.Timespec{Nsec: 1<<30 - 2} // UTIME_OMIT
	times := [2]syscall.Timespec{omit, r.before.Mtim}
	syscall.Syscall6(syscall.SYS_UTIMENSAT, uintptr(r.fd), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0)
}

// sizeLimit is RLIMIT_FSIZE in bytes.
func sizeLimit() uint64 {
	const fileSize = 1
	limit := syscall.Rlimit{Cur: math.MaxUint64}
	syscall.Getrlimit(fileSize, &limit)
	return limit.Cur
}

// promiseOf is how much a reservation is worth: a file system where files can share blocks has to copy on write.
func promiseOf(fd int) Promise {
	if kindOf(fd) == 0x65735546 { // FUSE_SUPER_MAGIC
		return PromiseUnproven
	}
	errno := probeClone(fd)
	if errno == syscall.EBADF { // opened for writing only, or to append
		if again, err := reopen(fd, syscall.O_RDWR); err == nil {
			errno = probeClone(again)
			syscall.Close(again)
		}
	}
	switch errno {
	case syscall.EOPNOTSUPP, syscall.ENOTTY, syscall.ENOSYS:
		return PromiseFull
	}
	if isNeverCopied(fd) {
		return PromiseFull
	}
	return PromiseFirstWrite
}

// probeClone asks for a clone that no file system can make, of one byte that begins no block.
func probeClone(fd int) syscall.Errno {
	request := struct {
		source               int64
		offset, length, dest uint64
	}{int64(fd), 1, 1, 0}
	return ioctl(fd, 0x4020940d, unsafe.Pointer(&request)) // FICLONERANGE
}

// isNeverCopied tells of chattr +C.
func isNeverCopied(fd int) bool {
	var flags [2]uint32 // an int, in a long
	get := uintptr(0x80086601)
	if unsafe.Sizeof(uintptr(0)) == 4 {
		get = 0x80046601 // FS_IOC_GETFLAGS
	}
	return ioctl(fd, get, unsafe.Pointer(&flags)) == 0 && (flags[0]|flags[1])&0x00800000 != 0
}

func isZFS(fd int) bool { return kindOf(fd) == 0x2fc12fc1 }

// kindOf is the number of the file system's kind (statfs(2)); 0 if it cannot be had.
func kindOf(fd int) uint32 {
	var s syscall.Statfs_t
	if syscall.Fstatfs(fd, &s) != nil {
		return 0
	}
	return uint32(s.Type)
}

func ioctl(fd int, request uintptr, argument unsafe.Pointer) syscall.Errno {
	for {
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, uintptr(argument))
		if errno != syscall.EINTR {
			return errno
		}
	}
}

// reopen opens the file of a descriptor once more, with other flags.
func reopen(fd, flags int) (int, error) {
	return syscall.Open(procPath(fd), flags|syscall.O_CLOEXEC|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
}

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
	unshareRange = 0x40
)

// Kinds of file systems (include/uapi/linux/magic.h).
const (
	btrfsMagic = 0x9123683e
	zfsMagic   = 0x2fc12fc1
	fuseMagic  = 0x65735546
)

// reservation is a range to be reserved.
type reservation struct {
	fd         int
	start, end int64 // what has to have blocks: whole folios, as far as the file reaches then
	reach      int64 // where the caller's range ends
	before     syscall.Stat_t
	kind       uint32 // the file system's number
	block      int64
	free       int64 // bytes that this process may take; -1 if that is not known
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
	if r.kind == zfsMagic {
		return 0, syscall.EOPNOTSUPP // it checks for room, and keeps none
	}
	unshared, errno := r.allocate()
	switch {
	case errno == 0 && unshared:
		return PromiseFull, 0
	case errno == 0:
		return r.promise(), 0
	case slowly && (errno == syscall.EOPNOTSUPP || errno == syscall.ENOSYS):
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
	if r.reach > r.before.Size && uint64(r.reach) > sizeLimit() {
		return syscall.EFBIG
	}
	// A store makes a whole folio of the page cache dirty, and needs blocks for any hole in it.
	// tmpfs, which keeps no list of extents, takes them page by page.
	unit := int64(os.Getpagesize())
	if _, errno := extents(r.fd, 0, 1, false); errno == 0 {
		unit *= min(unit/8, 2048)
	}
	r.start = offset - offset%unit
	r.end = max(r.before.Size, r.reach)
	if up := (r.reach-1)/unit*unit + unit; up > 0 {
		r.end = min(r.end, up)
	}
	r.askSystem()
	return 0
}

func (r *reservation) askSystem() {
	var s syscall.Statfs_t
	r.free = -1
	if eintr(func() error { return syscall.Fstatfs(r.fd, &s) }) != 0 {
		return
	}
	r.kind, r.block = uint32(s.Type), max(int64(s.Bsize), 1)
	if s.Blocks == 0 {
		return
	}
	blocks := uint64(s.Bavail)
	if syscall.Geteuid() == 0 { // the last blocks are root's
		blocks = uint64(s.Bfree)
	}
	r.free = int64(min(blocks, uint64(math.MaxInt64/r.block))) * r.block
}

// has tells whether there may be so many free bytes.
func (r *reservation) has(bytes int64) bool { return r.free < 0 || bytes <= r.free }

// mayFit tells whether there may be blocks for all that the range has none for. ext4 keeps what a
// refused call had found, and nobody can give that back without the risk of taking what others have
// written there meanwhile: so it is asked first.
func (r *reservation) mayFit() bool {
	// Btrfs takes all or nothing, and is vague about what is free.
	if r.kind == btrfsMagic || r.has(r.end-r.start) {
		return true
	}
	taken, errno := extents(r.fd, r.start, r.end, false)
	if errno != 0 {
		return true // tmpfs and others without a list give back what they have taken
	}
	const clusters = 128 << 10 // of bigalloc: one at either end of a gap may be there already
	var needed int64
	for _, gap := range gaps(r.start, r.end, taken) {
		needed += max(gap.end-gap.start-clusters, 0)
	}
	return r.has(needed)
}

// allocate tells whether the blocks are known to be this file's alone.
func (r *reservation) allocate() (unshared bool, errno syscall.Errno) {
	errno = r.fallocate(unshareRange|keepSize, r.start, r.end)
	switch errno {
	case 0:
		unshared = true
	// EPERM: the file is chattr +a.
	case syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.EINVAL, syscall.EPERM:
		if !r.mayFit() {
			return false, syscall.ENOSPC
		}
		errno = r.fallocate(keepSize, r.start, r.end)
		if errno == syscall.EOPNOTSUPP || errno == syscall.ENOSYS {
			errno = r.fallocate(0, r.start, r.end) // NFS
		}
	}
	if errno == 0 && r.reach > r.before.Size {
		// Unlike ftruncate it cannot make a file shorter that somebody has made longer meanwhile.
		errno = r.fallocate(0, r.reach-1, r.reach)
	}
	return unshared, errno
}

// fallocate: on older kernels (not on 6.18) tmpfs gives everything back when a signal comes, and
// the runtime sends itself many; from the second attempt on they wait.
func (r *reservation) fallocate(mode uint32, start, end int64) syscall.Errno {
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
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&all)),
		uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	for errno == syscall.EINTR {
		errno = call()
	}
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&old)), 0, 8, 0,
		0)
	return errno
}

// sizeLimit is RLIMIT_FSIZE in bytes.
func sizeLimit() uint64 {
	const fileSize = 1
	limit := syscall.Rlimit{Cur: math.MaxUint64}
	syscall.Getrlimit(fileSize, &limit)
	return limit.Cur
}

// promise is how much the reservation is worth: a file system where files can share blocks has to
// copy on write.
func (r *reservation) promise() Promise {
	if r.kind == fuseMagic {
		return PromiseUnproven
	}
	fd := r.fd
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
	flags, ok := inodeFlags(fd)
	return ok && flags&0x00800000 != 0
}

// inodeFlags are what chattr(1) sets.
func inodeFlags(fd int) (uint32, bool) {
	var flags [2]uint32 // an int, in a long
	get := uintptr(0x80086601)
	if unsafe.Sizeof(uintptr(0)) == 4 {
		get = 0x80046601 // FS_IOC_GETFLAGS
	}
	errno := ioctl(fd, get, unsafe.Pointer(&flags))
	return flags[0] | flags[1], errno == 0
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
	return syscall.Open(procPath(fd), flags|syscall.O_CLOEXEC|syscall.O_NONBLOCK|syscall.O_NOCTTY,
		0)
}

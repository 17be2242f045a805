package sigward

import (
	"errors"
	"os"
	"strconv"
	"syscall"
)

// ErrNoPromise is what Reserve fails with where the file system has no way to promise blocks (ext2,
// some network file systems): ReserveSlowly writes zeros instead.
var ErrNoPromise = errors.New("sigward: this file system cannot promise blocks")

// ErrSourceChanged is what ReplaceFile and Snapshot fail with when the source was written to while
// it was copied.
var ErrSourceChanged = errors.New("sigward: the source was changed while it was copied")

// ErrUnsynced is what Commit and ReplaceFile fail with when the file is replaced, but its folder
// could not be written to the disk: after a power failure the old file may be back.
var ErrUnsynced = errors.New("sigward: the file is replaced, but its folder is not on the disk")

// Promise is how far a reservation reaches.
type Promise int

const (
	// PromiseFull: no write into the range fails for lack of space, however often the same bytes
	// are written.
	PromiseFull Promise = iota
	// PromiseFirstWrite: the file system copies on write (btrfs, unless the file is chattr +C). A
	// block that was never written takes one write; another one into the same block, also of other
	// bytes of it, needs new room as soon as the kernel has written the first to the disk, and on a
	// full disk it does that at once.
	PromiseFirstWrite
	// PromiseUnproven: the file system is a program (FUSE, virtiofs) that has said yes, and nobody
	// can ask what it keeps of that: some refuse any write on a full disk, also where they have
	// reserved (fuse2fs). A store through a map asks for no room there and does not fail; Flush
	// does, or fsync(2).
	PromiseUnproven
)

func (p Promise) String() string {
	switch p {
	case PromiseFirstWrite:
		return "first write only"
	case PromiseUnproven:
		return "unproven"
	}
	return "full"
}

// fileError is an errno that says what to do next.
type fileError struct {
	errno syscall.Errno
	kind  error // one of the variables above, or nil
}

func (e *fileError) Error() string {
	switch {
	case e.kind == ErrNoPromise:
		return "this file system cannot promise blocks; ReserveSlowly writes zeros"
	case e.kind == ErrSourceChanged:
		return "the source was changed while it was copied; try again when it is whole"
	case e.kind == ErrUnsynced:
		return "the file is replaced, but its folder is not on the disk: " + e.errno.Error()
	case e.kind == ErrHasWriter:
		return "somebody has the file open for writing; " +
			"take the lease when it is closed, or read through a guarded map"
	case e.kind == ErrNotOwner:
		return "the file is somebody else's; take the lease as its owner, or with CAP_LEASE"
	case e.kind == ErrNoLeases:
		return "no leases here (the file system, or /proc/sys/fs/leases-enable); " +
			"read through a guarded map"
	case e.kind == ErrBroken:
		return "the lease was broken by force, " +
			"so the file may have changed while it was read; read it again"
	case e.kind == ErrBeingWritten:
		return "somebody has it open for writing; it is taken when they close it"
	case e.kind == errSettling:
		return "whether somebody writes it cannot be told; " +
			"it is taken when it does not change for a while"
	case e.kind == errChanged:
		return "it was changed while it was copied; that is tried again"
	case e.kind == ErrEmpty:
		return "it is empty"
	case e.errno == syscall.ENOSPC:
		return e.errno.Error() + "; make room, nothing has changed"
	case e.errno == syscall.EFBIG:
		return e.errno.Error() + "; raise RLIMIT_FSIZE, or the file system cannot have such a file"
	case e.errno == syscall.ENOMEM:
		return e.errno.Error() + "; set a limit, or read the file by parts"
	case e.errno == syscall.EBUSY:
		return e.errno.Error() + "; something is mounted on the file, so no other can take its name"
	}
	return e.errno.Error()
}

func (e *fileError) Unwrap() error { return e.errno }

func (e *fileError) Is(target error) bool {
	return target != nil && target == e.kind ||
		target == ErrNoSpace && (e.errno == syscall.ENOSPC || e.errno == syscall.EDQUOT)
}

// pathError is nil for 0.
func pathError(op, path string, errno syscall.Errno, kind error) error {
	if errno == 0 {
		return nil
	}
	return &os.PathError{Op: op, Path: path, Err: &fileError{errno, kind}}
}

// errnoIn is the errno in an error of package os, EIO if there is none.
func errnoIn(err error) syscall.Errno {
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &errno):
		return errno
	}
	return syscall.EIO
}

// Reserve gives every byte from offset to offset+length of the file its block, so that writes
// there, also through a map, cannot fail for lack of space; the file reaches at least so far then.
// What is there stays as it is, holes read as zeros. Holes beside the range get blocks, too, as far
// as a store into it can need them (2 MiB on most machines). On btrfs the promise is smaller: see
// ReservePromise. It ends when the file is cut, a hole is punched into the range, or its blocks are
// shared with another file (reflink, snapshot). f must be open for writing; its position is not
// used.
//
// On failure the file is as long as it was and has the bytes that it had, with all that others have
// written meanwhile: through maps, through descriptors, in other processes, also beyond the old
// end. Blocks may have come: nothing is ever punched or cut to give them back. Where the file
// system keeps what a refused call had found (ext4), room is asked for first, so that this happens
// only if others take it meanwhile, or to a quota. They serve later growth. The times may have
// moved.
//
// errors.Is sees ErrNoSpace (no room, or no quota), ErrNoPromise, and the errno: EFBIG beyond
// RLIMIT_FSIZE, EINVAL for a length of 0 or less, EOVERFLOW, EBADF, EPERM for a file that may not
// grow, ESPIPE and ENODEV for what is no regular file.
func Reserve(f *os.File, offset, length int64) error {
	_, err := reserveFile(f, offset, length, false)
	return err
}

// ReservePromise is Reserve, and tells what the file system promises.
func ReservePromise(f *os.File, offset, length int64) (Promise, error) {
	return reserveFile(f, offset, length, false)
}

// ReserveSlowly is Reserve; where the file system cannot promise, it appends zeros, has holes of
// the range filled by page faults that change no byte, and waits until all is on the disk. Others
// may write into the file meanwhile, and append to it. Room is asked for first; if others take it
// meanwhile, or a quota ends, what was appended stays, as zeros: the file is longer then although
// the call has failed. The same after a crash in between.
//
// ErrNoPromise remains where not even zeros take space (ZFS), where holes cannot be told, and for
// holes before Linux 5.14. EACCES: holes of a file that may not be read.
func ReserveSlowly(f *os.File, offset, length int64) error {
	_, err := reserveFile(f, offset, length, true)
	return err
}

func reserveFile(f *os.File, offset, length int64, slowly bool) (promise Promise, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var errno syscall.Errno
	if err := raw.Control(func(fd uintptr) {
		promise, errno = reserve(int(fd), offset, length, slowly)
	}); err != nil {
		return 0, &os.PathError{Op: "reserve", Path: f.Name(), Err: os.ErrClosed}
	}
	var kind error
	if errno == syscall.EOPNOTSUPP || errno == syscall.ENOSYS {
		errno, kind = syscall.EOPNOTSUPP, ErrNoPromise
	}
	return promise, pathError("reserve", f.Name(), errno, kind)
}

// withFd does nothing with a file that is closed.
func withFd(f *os.File, use func(fd int)) {
	if raw, err := f.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { use(int(fd)) })
	}
}

// procPath is the name that proc(5) has for whatever a descriptor is open on.
func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// regular says why something else than a file of bytes is refused.
func regular(info os.FileInfo) syscall.Errno {
	switch {
	case info.IsDir():
		return syscall.EISDIR
	case !info.Mode().IsRegular():
		return syscall.ENODEV
	}
	return 0
}

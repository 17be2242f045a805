package sigward

import (
	"errors"
	"os"
	"runtime"
	"time"
)

var (
	// ErrHasWriter is what TakeLease fails with where somebody has the file open for writing, or
	// waits to open it so.
	ErrHasWriter = errors.New("sigward: somebody has the file open for writing")
	// ErrNotOwner is what TakeLease fails with where the file is another user's, and the process
	// has no CAP_LEASE.
	ErrNotOwner = errors.New("sigward: leases are for the file's owner")
	// ErrNoLeases is what TakeLease fails with where the file system, or the system, knows none.
	ErrNoLeases = errors.New("sigward: no leases here")
	// ErrBroken is what Release fails with where the kernel had broken the lease by force: what was
	// read last may be of another file, or of none.
	ErrBroken = errors.New("sigward: the lease was broken by force")
)

// A Lease is a file that nobody opens for writing or cuts before its holder was told. Whoever wants
// to, also in this process, waits until Release, at most for /proc/sys/fs/lease-break-time (45 s);
// who opens with O_NONBLOCK gets EWOULDBLOCK. Replacing a file (ReplaceFile, rename) and removing
// it are no concern of a lease: who has it open keeps it. Nobody is told of those who come from
// another machine or through the lower layer of an overlay.
//
//	lease, err := sigward.TakeLease(path)
//	…
//	select {
//	case <-lease.Wanted(): // somebody waits: finish what is begun, or copy
//	case <-done:
//	}
//	err = lease.Release() // nil: all that was read is as it was when the lease was taken
//
// The goroutine that holds a lease must not open the file for writing: it would wait for itself.
//
// The kernel's notices go to one thread, which a goroutine keeps for as long as there are leases;
// they are no signals that package os/signal sees, or could lose. With and without cgo the same.
// All methods may be called at once from many goroutines.
type Lease struct {
	held *leasedFile
}

// TakeLease opens the file for reading, following symbolic links, and takes a lease on it. It waits
// for nobody, and needs two descriptors.
//
// errors.Is sees ErrHasWriter (also a writer in this process, a writable map, or a child between
// fork and exec, which has what this process had open), ErrNotOwner, ErrNoLeases, and the errno:
// EISDIR, ENODEV (a pipe, socket or device), ENOENT, EACCES, EMFILE.
func TakeLease(path string) (*Lease, error) {
	held, errno, kind := takeLease(path)
	if errno != 0 {
		return nil, pathError("lease", path, errno, kind)
	}
	l := &Lease{held}
	runtime.SetFinalizer(l, func(l *Lease) { l.held.release() })
	return l, nil
}

// Wanted is closed when somebody waits for the file.
func (l *Lease) Wanted() <-chan struct{} { return l.held.wanted }

// File is the file, open for reading: to read, map or copy from. Release closes it; a map of it may
// outlive the lease, the promise does not.
func (l *Lease) File() *os.File { return l.held.file }

// Held tells whether the lease has held until now, wanted or not: what was read before is as it was
// when the lease was taken. One system call.
func (l *Lease) Held() bool {
	defer runtime.KeepAlive(l)
	return l.held.isHeld()
}

// Deadline is when the kernel will break the lease by force; false while nobody waits, and where
// lease-break-time is 0 (never). It is reckoned from the notice: whether the lease held is told by
// Held and Release.
func (l *Lease) Deadline() (time.Time, bool) {
	defer runtime.KeepAlive(l)
	select {
	case <-l.held.wanted:
		return l.held.deadline, !l.held.deadline.IsZero()
	default:
		return time.Time{}, false
	}
}

// Release gives the lease up: whoever waits goes on. nil proves that all that was read under the
// lease is as it was when that was taken; ErrBroken that the kernel had broken it before. The
// second call fails with os.ErrClosed.
func (l *Lease) Release() error {
	runtime.SetFinalizer(l, nil)
	held, first := l.held.release()
	switch {
	case !first:
		return &os.PathError{Op: "release", Path: l.held.path, Err: os.ErrClosed}
	case !held:
		return pathError("release", l.held.path, brokenErrno, ErrBroken)
	}
	return nil
}

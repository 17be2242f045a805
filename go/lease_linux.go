//go:build amd64 || arm64

package sigward

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// What src/file/lease of the Rust crate does, where each step is explained, by the same system
// calls.

const (
	setSignal   = 10 // include/uapi/asm-generic/fcntl.h
	getSignal   = 11
	setOwner    = 15
	ownerThread = 0
	setLease    = 1024
	getLease    = 1025

	// leaseSignal goes to our thread only. Nobody sends it to a process, so taking it takes nothing
	// from anybody.
	leaseSignal = syscall.SIGSTKFLT
	// leaseSweep is how often all leases are looked at, for the case that a notice is lost.
	leaseSweep = 2 * time.Second

	brokenErrno = syscall.ESTALE
)

type leasedFile struct {
	path     string
	file     *os.File
	wanted   chan struct{}
	deadline time.Time // set before wanted is closed; zero: never

	mu sync.Mutex
	fd int // of the lease, file's being a duplicate that others may close; -1 when released
}

func takeLease(path string) (*leasedFile, syscall.Errno, error) {
	// Opening a pipe or a device does something to it, so it is looked at before.
	info, err := os.Stat(path)
	if err != nil {
		return nil, errnoIn(err), nil
	}
	if errno := regular(info); errno != 0 {
		return nil, errno, nil
	}
	fd := -1
	errno := eintr(func() (err error) {
		// It may have become one since: O_NONBLOCK waits for nobody.
		fd, err = syscall.Open(path,
			syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
		return err
	})
	switch errno {
	case 0:
	case syscall.EWOULDBLOCK:
		return nil, errno, ErrHasWriter // somebody else has a lease for writing on it
	case syscall.ENXIO:
		return nil, syscall.ENODEV, nil
	default:
		return nil, errno, nil
	}
	const duplicate = 1030 // F_DUPFD_CLOEXEC
	copied, errno := fcntl(fd, duplicate, 0)
	if errno != 0 {
		syscall.Close(fd)
		return nil, errno, nil
	}
	file, wanted := os.NewFile(copied, path), make(chan struct{})
	l := &leasedFile{path: path, file: file, wanted: wanted, fd: fd}
	if info, err = l.file.Stat(); err != nil {
		errno = errnoIn(err)
	} else {
		errno = regular(info)
	}
	var kind error
	if errno == 0 {
		errno, kind = leases.take(l)
	}
	if errno != 0 {
		l.close()
		return nil, errno, kind
	}
	return l, 0, nil
}

// isHeld: the kernel takes the signal back when it takes the lease, before it lets anybody go on.
func (l *leasedFile) isHeld() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	signal, errno := fcntl(l.fd, getSignal, 0)
	return l.fd >= 0 && errno == 0 && signal == uintptr(leaseSignal)
}

// release tells whether it was still held, and whether nobody had released it before.
func (l *leasedFile) release() (held, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fd < 0 {
		return false, false
	}
	held = leases.giveUp(l)
	l.close()
	return held, true
}

func (l *leasedFile) close() {
	syscall.Close(l.fd)
	l.fd = -1
	l.file.Close()
}

// leases are those of this process.
var leases leaseKeeper

type leaseKeeper struct {
	mu       sync.Mutex
	thread   *leaseThread
	held     map[*leasedFile]int // with its descriptor, which is open for as long as it is in here
	patience time.Duration       // as last read
}

type leaseThread struct {
	id    int
	stop  bool
	ended chan struct{}
}

func (k *leaseKeeper) take(l *leasedFile) (errno syscall.Errno, kind error) {
	k.mu.Lock()
	if k.thread == nil {
		k.held, k.patience = make(map[*leasedFile]int), 45*time.Second
		k.thread = &leaseThread{ended: make(chan struct{})}
		started := make(chan struct{})
		go k.watch(k.thread, started)
		<-started
	}
	owner := [2]int32{ownerThread, int32(k.thread.id)}
	_, _, errno = syscall.Syscall(syscall.SYS_FCNTL, uintptr(l.fd), setOwner,
		uintptr(unsafe.Pointer(&owner)))
	if errno == 0 {
		_, errno = fcntl(l.fd, setSignal, uintptr(leaseSignal))
	}
	if errno == 0 {
		if _, errno = fcntl(l.fd, setLease, syscall.F_RDLCK); errno != 0 {
			errno, kind = leaseError(errno)
		}
	}
	if errno == 0 {
		k.held[l] = l.fd
	}
	k.unlock()
	return errno, kind
}

func leaseError(errno syscall.Errno) (syscall.Errno, error) {
	switch errno {
	case syscall.EAGAIN:
		return errno, ErrHasWriter
	case syscall.EACCES:
		return errno, ErrNotOwner
	case syscall.EINVAL, syscall.EOPNOTSUPP, syscall.ENOSYS:
		return syscall.EOPNOTSUPP, ErrNoLeases
	}
	return errno, nil
}

func (k *leaseKeeper) giveUp(l *leasedFile) bool {
	k.mu.Lock()
	delete(k.held, l)
	_, errno := fcntl(l.fd, setLease, syscall.F_UNLCK)
	k.unlock()
	return errno == 0
}

// unlock ends the thread if nothing is left to watch for.
func (k *leaseKeeper) unlock() {
	thread := k.thread
	if thread == nil || len(k.held) > 0 {
		k.mu.Unlock()
		return
	}
	k.thread, thread.stop = nil, true
	// Sent before the thread can know, so it finds the signal when it cleans up.
	syscall.Tgkill(os.Getpid(), thread.id, leaseSignal)
	k.mu.Unlock()
	<-thread.ended
}

// watch waits for notices. The thread is its own meanwhile; only the one signal is blocked in it.
func (k *leaseKeeper) watch(thread *leaseThread, started chan<- struct{}) {
	runtime.LockOSThread()
	setLeaseSignalMask(0) // SIG_BLOCK
	thread.id = syscall.Gettid()
	close(started)
	looked := time.Now()
	for {
		came := waitForLeaseSignal(leaseSweep)
		now := time.Now()
		if !came && now.Sub(looked) < leaseSweep {
			continue // a signal of the runtime's
		}
		since := looked
		if came {
			since = now
		}
		k.mu.Lock()
		if thread.stop {
			k.mu.Unlock()
			break
		}
		k.checkAll(since)
		k.mu.Unlock()
		looked = now
	}
	for waitForLeaseSignal(0) {
	}
	setLeaseSignalMask(1) // SIG_UNBLOCK
	runtime.UnlockOSThread()
	close(thread.ended)
}

// checkAll asks the kernel about every lease: a notice does not say for how many it stands.
func (k *leaseKeeper) checkAll(since time.Time) {
	var found []*leasedFile
	for l, fd := range k.held {
		kind, errno := fcntl(fd, getLease, 0)
		if errno == 0 && kind == syscall.F_RDLCK {
			continue
		}
		select {
		case <-l.wanted:
		default:
			found = append(found, l)
		}
	}
	if len(found) == 0 {
		return
	}
	if text, err := os.ReadFile("/proc/sys/fs/lease-break-time"); err == nil {
		if seconds, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 31); err == nil {
			k.patience = time.Duration(seconds) * time.Second
		}
	}
	for _, l := range found {
		if k.patience > 0 {
			l.deadline = since.Add(k.patience)
		}
		close(l.wanted)
	}
}

func setLeaseSignalMask(how uintptr) {
	set := uint64(1) << (leaseSignal - 1)
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, how, uintptr(unsafe.Pointer(&set)), 0, 8, 0, 0)
}

func waitForLeaseSignal(timeout time.Duration) bool {
	set := uint64(1) << (leaseSignal - 1)
	limit := syscall.NsecToTimespec(int64(timeout))
	got, _, errno := syscall.Syscall6(syscall.SYS_RT_SIGTIMEDWAIT, uintptr(unsafe.Pointer(&set)), 0,
		uintptr(unsafe.Pointer(&limit)), 8, 0, 0)
	return errno == 0 && got == uintptr(leaseSignal)
}

func fcntl(fd int, command, argument uintptr) (uintptr, syscall.Errno) {
	for {
		result, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), command, argument)
		if errno != syscall.EINTR {
			return result, errno
		}
	}
}

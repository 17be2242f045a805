package sigward

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// signalSet is the kernel's set of signals. The two that matter here are in its first word on every
// architecture.
type signalSet [4]uintptr

// signalSetSize is what the kernel wants to hear: 64 signals, 128 on MIPS.
func signalSetSize() uintptr {
	if strings.HasPrefix(runtime.GOARCH, "mips") {
		return 16
	}
	return 8
}

func setOf(signal syscall.Signal) signalSet { return signalSet{1 << (uint(signal) - 1)} }

func (s signalSet) has(signal syscall.Signal) bool { return s[0]>>(uint(signal)-1)&1 != 0 }

// withoutSignal makes calls that the kernel may answer with a signal beside the error: SIGXFSZ for
// a write beyond RLIMIT_FSIZE, SIGPIPE for one into a broken pipe. Inside a C host (c-shared,
// c-archive) Go installs no handler for SIGXFSZ, and the host may have reset SIGPIPE: the signal
// would end the process. So it is blocked on this thread while the calls last, and taken back if
// they raised it. src/sys/undisturbed.rs of the Rust crate does the same.
//
// A signal that was pending before stays, and so does one for the whole process.
func withoutSignal(signal syscall.Signal, calls func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	held, before := setOf(signal), signalSet{}
	if changeMask(blockSignals, &held, &before) != 0 {
		calls()
		return
	}
	defer changeMask(setSignals, &before, nil)
	// One that was let in until now cannot have been left pending for this thread.
	older := before.has(signal) && isPendingHere(signal)
	defer func() {
		if !older && isPendingHere(signal) {
			takeBack(signal)
		}
	}()
	calls()
}

// changeMask also has the numbers that rt_sigprocmask(2) has on MIPS.
func changeMask(how uintptr, set, before *signalSet) syscall.Errno {
	if strings.HasPrefix(runtime.GOARCH, "mips") {
		how++
	}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, how,
		uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(before)), signalSetSize(), 0, 0)
	return errno
}

const blockSignals, setSignals = 0, 2 // SIG_BLOCK, SIG_SETMASK

// isPendingHere tells whether the signal waits for this thread and not for the process.
// rt_sigpending(2) has both in one; proc(5), which takes longer, has them apart.
func isPendingHere(signal syscall.Signal) bool {
	var pending signalSet
	syscall.RawSyscall(syscall.SYS_RT_SIGPENDING, uintptr(unsafe.Pointer(&pending)),
		signalSetSize(), 0)
	if !pending.has(signal) {
		return false
	}
	text, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return true
	}
	for _, line := range strings.Split(string(text), "\n") {
		if digits, ok := strings.CutPrefix(line, "SigPnd:"); ok {
			digits = strings.TrimSpace(digits)
			low, err := strconv.ParseUint(digits[max(len(digits)-16, 0):], 16, 64)
			return err != nil || low>>(uint(signal)-1)&1 != 0
		}
	}
	return true
}

// takeBack takes the signal that this thread's calls raised: the kernel gives a thread its own
// before those of the process. One from somebody who aimed at this thread in the meantime is sent
// again.
func takeBack(signal syscall.Signal) {
	set, at := setOf(signal), syscall.Timespec{}
	var info [32]uint32
	taken, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGTIMEDWAIT,
		uintptr(unsafe.Pointer(&set)), uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&at)),
		signalSetSize(), 0, 0)
	if errno != 0 || taken != uintptr(signal) {
		return
	}
	// The kernel's own looks as if this process had sent it.
	code, sender := info[2], info[2+unsafe.Sizeof(uintptr(0))/4]
	if strings.HasPrefix(runtime.GOARCH, "mips") {
		code = info[1]
	}
	if code == 0 && int(sender) == syscall.Getpid() {
		return
	}
	syscall.RawSyscall6(syscall.SYS_RT_TGSIGQUEUEINFO, uintptr(syscall.Getpid()),
		uintptr(syscall.Gettid()), uintptr(signal), uintptr(unsafe.Pointer(&info)), 0, 0)
}

// withinLimit makes a call that writes to a file: beyond RLIMIT_FSIZE its errno is EFBIG, and
// nothing else happens.
func withinLimit(call func() syscall.Errno) (errno syscall.Errno) {
	withoutSignal(syscall.SIGXFSZ, func() { errno = call() })
	return errno
}

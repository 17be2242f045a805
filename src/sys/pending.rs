//! Signals that wait, blocked in this thread: whose they are, and taking back what a call of ours
//! has raised. Everything here is signal-safe.
//!
//! A call that the kernel answers with a signal (SIGPIPE, SIGXFSZ) raises it for the thread, with
//! the siginfo of a kill(2) by this very process. What others have sent stays, or is given back.
//!
//! # References
//! sigpending(2), sigtimedwait(2), `dequeue_signal` in kernel/signal.c.

use std::ffi::c_int;
use std::mem::MaybeUninit;

/// A set of one signal.
pub(crate) fn only(signal: c_int) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: room for a set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: an emptied set; a number that is no signal changes nothing.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    // SAFETY: zeroed and filled.
    unsafe { set.assume_init() }
}

pub(crate) fn holds(set: &libc::sigset_t, signal: c_int) -> bool {
    // SAFETY: an initialised set.
    unsafe { libc::sigismember(set, signal) == 1 }
}

/// Whether one waits for this thread itself. What waits for the process is no call's.
pub(crate) fn is_on_thread(signal: c_int) -> bool {
    is_pending(signal, false) && is_among_the_threads(signal)
}

/// Takes the one that waits for this thread, if the kernel has raised it for a call of this thread.
pub(crate) fn take_a_calls(signal: c_int) {
    // Where nobody may ask (a sandbox), what is there is looked at.
    if is_pending(signal, true) && is_among_the_threads(signal) {
        consume_one(signal);
    }
}

/// On this thread or on the process: sigpending(2) shows the two as one. `unknown` if that fails.
#[inline(never)]
fn is_pending(signal: c_int, unknown: bool) -> bool {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: room for a set.
    let asked = unsafe { libc::sigpending(set.as_mut_ptr()) };
    // SAFETY: zeroed, and filled if the call succeeded.
    if asked == 0 { holds(&unsafe { set.assume_init() }, signal) } else { unknown }
}

/// `SigPnd` of proc(5). Without /proc, or without a descriptor, the answer is yes: before the call
/// it is then left for its owner, after it its siginfo decides.
#[cfg(target_os = "linux")]
fn is_among_the_threads(signal: c_int) -> bool {
    let _whole = super::cancel::Uncancelled::enter();
    let mut text = [0_u8; 4096];
    let path = c"/proc/thread-self/status".as_ptr();
    // SAFETY: a NUL-terminated path.
    let fd = unsafe { libc::open(path, libc::O_RDONLY | libc::O_CLOEXEC) };
    // SAFETY: `text` has that room; a bad descriptor is an error of read.
    let length = unsafe { libc::read(fd, text.as_mut_ptr().cast(), text.len()) };
    // SAFETY: ours, or -1.
    unsafe { libc::close(fd) };
    let text =
        usize::try_from(length).ok().and_then(|length| text.get(..length)).unwrap_or_default();
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"SigPnd:\t"));
    let number = line.and_then(|digits| std::str::from_utf8(digits).ok());
    number
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .is_none_or(|set| set >> (signal - 1) & 1 == 1)
}

#[cfg(not(target_os = "linux"))]
fn is_among_the_threads(_signal: c_int) -> bool {
    true
}

/// The thread's comes before the process's. One that is not the kernel's is given back.
#[cfg(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd"))]
fn consume_one(signal: c_int) {
    let set = only(signal);
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        if wait_for(&set, &mut info, &now) == signal {
            break;
        }
        // A handler of another signal came first.
        if super::call::errno() != libc::EINTR {
            return;
        }
    }
    // SAFETY: filled by the call.
    let info = unsafe { info.assume_init() };
    // SAFETY: the field is a number at a fixed place; the code says whether it means anything.
    let sender = unsafe { info.si_pid() };
    if !is_the_kernels(info.si_code, sender) {
        give_back(signal, &info);
    }
}

/// What a write of this process raises: `SI_USER`. (NetBSD's was not looked up.)
#[cfg(any(target_os = "linux", target_os = "netbsd"))]
fn is_the_kernels(code: c_int, sender: libc::pid_t) -> bool {
    code == 0 && super::wiped::is_own_process(sender)
}

/// `SI_KERNEL` (`tdsignal` in sys/kern/kern_sig.c); `SI_USER` is somebody's kill(2) there.
#[cfg(target_os = "freebsd")]
fn is_the_kernels(code: c_int, _sender: libc::pid_t) -> bool {
    code == 0x10006
}

/// The system call itself: glibc's function says `SI_USER` where the kernel says `SI_TKILL`, and a
/// raise(3) of this very process would pass for a write's.
#[cfg(target_os = "linux")]
fn wait_for(
    set: &libc::sigset_t,
    info: &mut MaybeUninit<libc::siginfo_t>,
    time: &libc::timespec,
) -> c_int {
    let (set, info, time) = (std::ptr::from_ref(set), info.as_mut_ptr(), std::ptr::from_ref(time));
    // SAFETY: a set that begins with the kernel's 64 bits, room for a siginfo, and a time.
    unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, set, info, time, size_of::<u64>()) as c_int }
}

#[cfg(any(target_os = "freebsd", target_os = "netbsd"))]
fn wait_for(
    set: &libc::sigset_t,
    info: &mut MaybeUninit<libc::siginfo_t>,
    time: &libc::timespec,
) -> c_int {
    // SAFETY: a set, room for a siginfo, and a time.
    unsafe { libc::sigtimedwait(set, info.as_mut_ptr(), time) }
}

#[cfg(target_os = "linux")]
fn give_back(signal: c_int, info: &libc::siginfo_t) {
    // SAFETY: no arguments, cannot fail.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) };
    let process = std::process::id();
    // SAFETY: a whole siginfo; a thread may send itself any code.
    unsafe {
        libc::syscall(
            libc::SYS_rt_tgsigqueueinfo,
            process,
            thread,
            signal,
            std::ptr::from_ref(info),
        );
    }
}

#[cfg(any(target_os = "freebsd", target_os = "netbsd"))]
fn give_back(signal: c_int, _info: &libc::siginfo_t) {
    // SAFETY: a valid number. The siginfo is lost: no call here carries it.
    unsafe { libc::raise(signal) };
}

/// Where sigtimedwait(2) is missing, sigwait(3) takes what is known to be pending.
#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd")))]
fn consume_one(signal: c_int) {
    let set = only(signal);
    let mut taken = 0;
    // SAFETY: a set, and room for a number.
    unsafe { libc::sigwait(&raw const set, &raw mut taken) };
}

//! The thread guard: SIGPIPE cannot be delivered to this thread while it lasts, and none that was raised
//! inside is left behind.
//!
//! For calls that no flag makes quiet (`sendfile`, `splice`) and for libraries that write by themselves. It
//! changes nothing but this thread's signal mask, so it disturbs nobody. What makes it more than two calls of
//! pthread_sigmask(3) is what may be pending:
//!
//! | pending at the start | raised inside | at the end |
//! |---|---|---|
//! | nothing | nothing | nothing to do |
//! | nothing | by a write of this thread | consumed |
//! | nothing | by kill(2), meanwhile | given back: it was not ours |
//! | on the process, or meanwhile | nothing by this thread | the process's stays |
//! | on the process | by a write of this thread | the thread's is consumed, the process's stays |
//! | on this thread | by a write of this thread | both are one to the kernel, which stays |
//!
//! Guards nest: to the inner one the outer one's signals are pending at the start, and stay for the outer.
//! What is started inside inherits the mask (clone(2)) and keeps it: a thread, and a child by fork(2), posix_spawn(3),
//! popen(3), system(3), which then cannot die of SIGPIPE when its reader has gone. Start nothing inside; a
//! [`QuietThread`](super::QuietThread) changes no mask.

use crate::error::Error;
use libc::SIGPIPE;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Blocks SIGPIPE in this thread until it is dropped, also by a panic.
///
/// Start no thread and no child inside: it would have SIGPIPE blocked for ever, and `pclose` could wait for one that does not
/// end. For calls that may do so take a [`QuietThread`](super::QuietThread), which changes no mask.
///
/// Not for another thread (`!Send`), and not to be held across an `.await` or a call into Go, which may go on
/// on another thread.
///
/// # References
/// sigprocmask(2), sigpending(2), sigtimedwait(2).
///
/// ```
/// # use std::io::Write;
/// let (reader, mut writer) = std::io::pipe()?;
/// drop(reader);
/// let guard = sigward::sigpipe::ThreadGuard::enter()?;
/// let error = writer.write(b"x").unwrap_err();
/// drop(guard); // the SIGPIPE of that write is gone
/// assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "SIGPIPE is blocked only while the guard lives"]
#[derive(Debug)]
pub struct ThreadGuard {
    state: GuardState,
    not_send: PhantomData<*const ()>,
}

impl ThreadGuard {
    /// Blocks SIGPIPE in this thread. Signal-safe, thread-safe, works in a forked child.
    ///
    /// # Errors
    /// [`Error::System`] if the kernel refuses rt_sigprocmask(2) (seccomp); then nothing has changed.
    pub fn enter() -> Result<Self, Error> {
        Ok(Self { state: GuardState::enter()?, not_send: PhantomData })
    }
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        self.state.leave();
    }
}

/// What a guard has to know at its end. For C it is kept in the caller's struct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GuardState {
    /// SIGPIPE was blocked before: the mask stays as it is.
    pub(crate) was_blocked: bool,
    /// A SIGPIPE of this thread was pending before: it is not ours to consume.
    pub(crate) was_pending: bool,
}

impl GuardState {
    pub(crate) fn enter() -> Result<Self, Error> {
        let set = only_sigpipe();
        let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: both point to sets.
        let status = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, before.as_mut_ptr()) };
        if status != 0 {
            return Err(Error::System(status));
        }
        // SAFETY: zeroed, then filled by the call.
        let before = unsafe { before.assume_init() };
        let was_blocked = holds_sigpipe(&before);
        // What is not blocked is delivered, not pending.
        let was_pending = was_blocked && is_pending() && is_pending_on_thread();
        Ok(Self { was_blocked, was_pending })
    }

    /// Consumes what was raised inside and restores the mask.
    pub(crate) fn leave(self) {
        // What is pending for the process is no write's: the kernel sends its SIGPIPE to the thread.
        if !self.was_pending && is_pending() && is_pending_on_thread() {
            consume_one();
        }
        if !self.was_blocked {
            let set = only_sigpipe();
            // SAFETY: `set` is a set; no old mask is asked for.
            unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) };
        }
    }
}

fn only_sigpipe() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: room for a set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: an emptied set and a valid number.
    unsafe { libc::sigaddset(set.as_mut_ptr(), SIGPIPE) };
    // SAFETY: zeroed and filled.
    unsafe { set.assume_init() }
}

fn holds_sigpipe(set: &libc::sigset_t) -> bool {
    // SAFETY: an initialised set and a valid number.
    unsafe { libc::sigismember(set, SIGPIPE) == 1 }
}

/// Whether a SIGPIPE is pending, on this thread or on the process: sigpending(2) shows the two as one.
fn is_pending() -> bool {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: room for a set.
    unsafe { libc::sigpending(set.as_mut_ptr()) };
    // SAFETY: zeroed, and filled if the call succeeded.
    holds_sigpipe(&unsafe { set.assume_init() })
}

/// Whether one is pending on this thread itself: `SigPnd` of proc(5). Without /proc, or without a descriptor, the answer is
/// yes: at the start it is then left for its owner, at the end its siginfo decides.
#[cfg(target_os = "linux")]
fn is_pending_on_thread() -> bool {
    let _whole = crate::sys::cancel::Uncancelled::enter();
    let mut text = [0_u8; 4096];
    let path = c"/proc/thread-self/status".as_ptr();
    // SAFETY: a NUL-terminated path.
    let fd = unsafe { libc::open(path, libc::O_RDONLY | libc::O_CLOEXEC) };
    // SAFETY: `text` has that room; a bad descriptor is an error of read.
    let length = unsafe { libc::read(fd, text.as_mut_ptr().cast(), text.len()) };
    // SAFETY: ours, or -1.
    unsafe { libc::close(fd) };
    let text = usize::try_from(length).ok().and_then(|length| text.get(..length)).unwrap_or_default();
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"SigPnd:\t"));
    let number = line.and_then(|digits| std::str::from_utf8(digits).ok());
    number
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .is_none_or(|set| set >> (SIGPIPE - 1) & 1 == 1)
}

#[cfg(not(target_os = "linux"))]
fn is_pending_on_thread() -> bool {
    true
}

/// Takes the thread's pending SIGPIPE, which comes before the process's (`dequeue_signal` in kernel/signal.c). One that is
/// not the kernel's is given back.
#[cfg(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd"))]
fn consume_one() {
    let set = only_sigpipe();
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        if wait_for(&set, &mut info, &now) == SIGPIPE {
            break;
        }
        // A handler of another signal came first.
        if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            return;
        }
    }
    // SAFETY: filled by the call.
    let info = unsafe { info.assume_init() };
    // SAFETY: the field is a number at a fixed place; the code says whether it means anything.
    let sender = unsafe { info.si_pid() };
    let kernels = info.si_code == 0 && sender == std::process::id() as libc::pid_t;
    if !kernels {
        give_back(&info);
    }
}

/// The system call itself: glibc's function says `SI_USER` where the kernel says `SI_TKILL`, and a
/// raise(3) of this very process would pass for a write's.
#[cfg(target_os = "linux")]
fn wait_for(
    set: &libc::sigset_t,
    info: &mut MaybeUninit<libc::siginfo_t>,
    time: &libc::timespec,
) -> libc::c_int {
    let (set, info, time) = (std::ptr::from_ref(set), info.as_mut_ptr(), std::ptr::from_ref(time));
    // SAFETY: a set that begins with the kernel's 64 bits, room for a siginfo, and a time.
    unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, set, info, time, size_of::<u64>()) as libc::c_int }
}

#[cfg(any(target_os = "freebsd", target_os = "netbsd"))]
fn wait_for(
    set: &libc::sigset_t,
    info: &mut MaybeUninit<libc::siginfo_t>,
    time: &libc::timespec,
) -> libc::c_int {
    // SAFETY: a set, room for a siginfo, and a time.
    unsafe { libc::sigtimedwait(set, info.as_mut_ptr(), time) }
}

#[cfg(target_os = "linux")]
fn give_back(info: &libc::siginfo_t) {
    // SAFETY: no arguments, cannot fail.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) };
    let process = std::process::id();
    // SAFETY: a whole siginfo; a thread may send itself any code.
    unsafe {
        libc::syscall(libc::SYS_rt_tgsigqueueinfo, process, thread, SIGPIPE, std::ptr::from_ref(info));
    }
}

#[cfg(any(target_os = "freebsd", target_os = "netbsd"))]
fn give_back(_info: &libc::siginfo_t) {
    // SAFETY: a valid number. The siginfo is lost: no call here carries it.
    unsafe { libc::raise(SIGPIPE) };
}

/// Where sigtimedwait(2) is missing, sigwait(3) takes what is known to be pending.
#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "netbsd")))]
fn consume_one() {
    let set = only_sigpipe();
    let mut signal = 0;
    // SAFETY: a set, and room for a number.
    unsafe { libc::sigwait(&raw const set, &raw mut signal) };
}

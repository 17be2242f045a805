//! What the kernel has for leases: fcntl(2), and the signal by which it tells.
//!
//! | asked | answer while nobody waits | somebody waits | broken by force, or released |
//! |---|---|---|---|
//! | `F_GETLEASE` | `F_RDLCK` | `F_UNLCK` | `F_UNLCK` |
//! | `F_GETSIG` | our signal | our signal | 0 |
//! | `F_SETLEASE(F_UNLCK)` | 0 | 0 | `EAGAIN` |
//!
//! The signal is taken back (`lease_modify` in fs/locks.c) under the lock that a waiting writer has to take before it goes on. So a signal
//! that is still there says that nobody has got through. Taking a lease sets it anew each time.

use crate::file::error::Error;
use crate::file::sys::{again, last_errno};
use std::ffi::{c_int, c_long};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

// include/uapi/asm-generic/fcntl.h
const F_SETSIG: c_int = 10;
const F_GETSIG: c_int = 11;
const F_SETOWN_EX: c_int = 15;
const F_OWNER_TID: c_int = 0;

/// `struct f_owner_ex`.
#[repr(C)]
struct Owner {
    kind: c_int,
    id: libc::pid_t,
}

/// The part of `siginfo_t` that `F_SETSIG` fills (`_sigpoll` in include/uapi/asm-generic/siginfo.h).
#[repr(C)]
struct PollInfo {
    signal: c_int,
    errno: c_int,
    code: c_int,
    band: c_long,
    file: c_int,
}

/// The real-time signal of the notices. The highest is valgrind's own. It is directed to one thread and blocked there, so it does not matter who
/// else uses it.
fn signal() -> c_int {
    libc::SIGRTMAX() - 1
}

/// Takes the lease; its notices go to this thread.
pub(super) fn take(file: BorrowedFd<'_>, thread: libc::pid_t) -> Result<(), Error> {
    let owner = Owner { kind: F_OWNER_TID, id: thread };
    // Before the lease, which makes the process its owner where there is none, and would tell it by SIGIO.
    // SAFETY: the struct that this command reads.
    again(|| i64::from(unsafe { libc::fcntl(file.as_raw_fd(), F_SETOWN_EX, &raw const owner) }))
        .map_err(|errno| Error::system("fcntl(F_SETOWN_EX)", errno))?;
    // SAFETY: a command with a number.
    again(|| i64::from(unsafe { libc::fcntl(file.as_raw_fd(), F_SETSIG, signal()) }))
        .map_err(|errno| Error::system("fcntl(F_SETSIG)", errno))?;
    // SAFETY: as above.
    again(|| i64::from(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) })).map_err(
        |errno| match errno {
            libc::EAGAIN => Error::HasWriter,
            libc::EACCES => Error::NotOwner,
            libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS => Error::NoLeases,
            errno => Error::system("fcntl(F_SETLEASE)", errno),
        },
    )?;
    Ok(())
}

/// Whether it was still held.
pub(super) fn give_up(file: BorrowedFd<'_>) -> bool {
    // SAFETY: a command with a number.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) == 0 }
}

/// Whether somebody waits for the file, or has waited for too long. Breaks a lease whose time is over.
pub(super) fn is_wanted(file: RawFd) -> bool {
    // SAFETY: a command without an argument.
    unsafe { libc::fcntl(file, libc::F_GETLEASE) != libc::F_RDLCK }
}

pub(super) fn is_held(file: BorrowedFd<'_>) -> bool {
    // SAFETY: a command without an argument.
    unsafe { libc::fcntl(file.as_raw_fd(), F_GETSIG) == signal() }
}

/// How long the kernel waits for the holder; `None`: for ever.
pub(super) fn patience() -> Option<Option<Duration>> {
    let text = std::fs::read_to_string("/proc/sys/fs/lease-break-time").ok()?;
    let seconds: u64 = text.trim().parse().ok()?;
    Some((seconds > 0).then(|| Duration::from_secs(seconds)))
}

/// A descriptor that becomes readable.
pub(super) fn event() -> Result<OwnedFd, Error> {
    // SAFETY: no pointers.
    let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if event < 0 {
        return Err(Error::system("eventfd", last_errno()));
    }
    // SAFETY: a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(event) })
}

/// Makes it readable.
pub(super) fn set(event: RawFd) {
    let one = 1u64;
    // SAFETY: eight bytes. It cannot fail: the count is far from full.
    unsafe { libc::write(event, (&raw const one).cast(), size_of::<u64>()) };
}

/// Waits until it is readable.
pub(super) fn wait_for(event: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<bool, Error> {
    let mut poll = libc::pollfd { fd: event.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let time = timeout.map(timespec);
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: one struct; a time or none; no mask.
    match unsafe { libc::ppoll(&raw mut poll, 1, time, std::ptr::null()) } {
        -1 => match last_errno() {
            libc::EINTR => Ok(false),
            errno => Err(Error::system("ppoll", errno)),
        },
        count => Ok(count > 0),
    }
}

fn timespec(duration: Duration) -> libc::timespec {
    // SAFETY: numbers (and on some systems padding), for which zero is a value.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    time.tv_sec = libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX);
    time.tv_nsec = duration.subsec_nanos() as _;
    time
}

/// What came to the thread of the notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// The file with this descriptor is wanted.
    For(RawFd),
    /// Some file is: the queue was full.
    ForSome,
    /// Nothing.
    Nothing,
}

/// Waits for the next notice to this thread, whose signals are all blocked.
pub(super) fn next(timeout: Duration) -> Came {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: room for a set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: an emptied set and a valid number.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signal()) };
    // SAFETY: as above.
    unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGIO) };
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let timeout = timespec(timeout);
    // SAFETY: a set, room for a siginfo, a time.
    let came = unsafe { libc::sigtimedwait(set.as_ptr(), info.as_mut_ptr(), &raw const timeout) };
    // SAFETY: zeroed, of the size of a siginfo, and laid out as the kernel does for such a signal; all are numbers.
    let info = unsafe { info.as_ptr().cast::<PollInfo>().read() };
    match came {
        -1 => Came::Nothing,
        // What the kernel sends has a code above 0 (`send_sigio_to_task` in fs/fcntl.c).
        number if number == signal() && info.code > 0 => Came::For(info.file),
        _ => Came::ForSome,
    }
}

/// Calls `work` with every signal of this thread blocked: what it starts is born so.
pub(super) fn with_signals_blocked<T>(work: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: room for a set.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: a filled set, and room for one.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    let result = work();
    // SAFETY: filled by the first call, which cannot fail; no old mask is asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    result
}

/// The kernel's number of this thread.
pub(super) fn this_thread() -> libc::pid_t {
    // SAFETY: a call without arguments that cannot fail.
    unsafe { libc::syscall(libc::SYS_gettid) as libc::pid_t }
}

/// Wakes [`next`] in a thread that was not joined. By SIGIO, which needs no room in the queue.
pub(super) fn wake(thread: libc::pthread_t) {
    // SAFETY: a thread that can still be joined, by the caller's word.
    unsafe { libc::pthread_kill(thread, libc::SIGIO) };
}

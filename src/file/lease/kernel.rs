//! What the kernel has for leases: fcntl(2), and the signal by which it tells.
//!
//! | asked | answer while nobody waits | somebody waits | broken by force, or released |
//! |---|---|---|---|
//! | `F_GETLEASE` | `F_RDLCK` | `F_UNLCK` | `F_UNLCK` |
//! | `F_GETSIG` | our signal | our signal | 0 |
//! | `F_SETLEASE(F_UNLCK)` | 0 | 0 | `EAGAIN` |
//!
//! The signal is taken back (`lease_modify` in fs/locks.c) under the lock that a waiting writer has
//! to take before it goes on. So a signal that is still there says that nobody has got through.
//! Taking a lease sets it anew each time.

use crate::file::error::Error;
use crate::sys::call::again;
use crate::sys::process::this_thread;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::thread::JoinHandleExt;
use std::thread::JoinHandle;
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

/// The signal of the notices: "stack fault on coprocessor", which no kernel has ever sent
/// (signal(7)).
///
/// sigtimedwait(2) takes what is sent to the thread, and then what is sent to the process. So it
/// must be one that nobody sends to the process: with SIGIO or a real-time signal the thread would
/// steal the host's. As it is no real-time signal, it needs no room in a queue
/// (`RLIMIT_SIGPENDING`), and several notices may become one: each time all leases are looked at.
#[cfg(not(any(
    target_arch = "mips",
    target_arch = "mips32r6",
    target_arch = "mips64",
    target_arch = "mips64r6",
    target_arch = "sparc",
    target_arch = "sparc64"
)))]
const SIGNAL: c_int = libc::SIGSTKFLT;
/// There it has another number, or none: SIGEMT, "emulator trap", which Linux does not send either.
#[cfg(any(
    target_arch = "mips",
    target_arch = "mips32r6",
    target_arch = "mips64",
    target_arch = "mips64r6",
    target_arch = "sparc",
    target_arch = "sparc64"
))]
const SIGNAL: c_int = 7;

/// Takes the lease; its notices go to this thread.
pub(super) fn take(file: BorrowedFd<'_>, thread: libc::pid_t) -> Result<(), Error> {
    take_with(file, thread, SIGNAL)
}

/// Whether somebody has the file open for writing, or only mapped so: a lease is taken and given
/// back at once. Nothing where there are no leases, or not for us.
///
/// A writer who opens the file in the microseconds in between waits for them, and the kernel sends
/// this thread a signal: SIGURG, which is ignored by default.
pub(crate) fn has_writer(file: BorrowedFd<'_>) -> Option<bool> {
    match take_with(file, this_thread(), libc::SIGURG) {
        Ok(()) => {
            give_up(file);
            Some(false)
        }
        Err(Error::HasWriter) => Some(true),
        Err(_) => None,
    }
}

fn take_with(file: BorrowedFd<'_>, thread: libc::pid_t, signal: c_int) -> Result<(), Error> {
    let owner = Owner { kind: F_OWNER_TID, id: thread };
    // Before the lease, which makes the process its owner where there is none, and would tell it by
    // SIGIO. SAFETY: the struct that this command reads.
    again(|| i64::from(unsafe { libc::fcntl(file.as_raw_fd(), F_SETOWN_EX, &raw const owner) }))
        .map_err(|errno| Error::system("fcntl(F_SETOWN_EX)", errno))?;
    // SAFETY: a command with a number.
    again(|| i64::from(unsafe { libc::fcntl(file.as_raw_fd(), F_SETSIG, signal) }))
        .map_err(|errno| Error::system("fcntl(F_SETSIG)", errno))?;
    // SAFETY: as above.
    again(|| i64::from(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) }))
        .map_err(|errno| match errno {
            libc::EAGAIN => Error::HasWriter,
            libc::EACCES => Error::NotOwner,
            libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS => Error::NoLeases,
            errno => Error::system("fcntl(F_SETLEASE)", errno),
        })?;
    Ok(())
}

/// Whether it was still held.
pub(super) fn give_up(file: BorrowedFd<'_>) -> bool {
    // SAFETY: a command with a number.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) == 0 }
}

/// Whether somebody waits for the file, or has waited for too long. Breaks a lease whose time is
/// over.
pub(super) fn is_wanted(file: BorrowedFd<'_>) -> bool {
    // SAFETY: a command without an argument.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLEASE) != libc::F_RDLCK }
}

pub(super) fn is_held(file: BorrowedFd<'_>) -> bool {
    // SAFETY: a command without an argument.
    unsafe { libc::fcntl(file.as_raw_fd(), F_GETSIG) == SIGNAL }
}

/// How long the kernel waits for the holder; `Duration::MAX`: for ever.
pub(super) fn patience() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/sys/fs/lease-break-time").ok()?;
    let seconds: u64 = text.trim().parse().ok()?;
    Some(if seconds == 0 { Duration::MAX } else { Duration::from_secs(seconds) })
}

/// Waits for the next notice to this thread, whose signals are all blocked; whether one came.
pub(super) fn next(timeout: Duration) -> bool {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: room for a set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: an emptied set and a valid number.
    unsafe { libc::sigaddset(set.as_mut_ptr(), SIGNAL) };
    // SAFETY: numbers (and on some systems padding), for which zero is a value.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    (time.tv_sec, time.tv_nsec) = (timeout.as_secs() as _, u64::from(timeout.subsec_nanos()) as _);
    // SAFETY: a set and a time; nobody asks for the siginfo.
    unsafe { libc::sigtimedwait(set.as_ptr(), std::ptr::null_mut(), &raw const time) == SIGNAL }
}

/// Wakes [`next`] in a thread that was not joined.
pub(super) fn wake(thread: &JoinHandle<()>) {
    // With musl the standard library's type is a number, and libc's a pointer.
    let thread = thread.as_pthread_t() as _;
    // SAFETY: a thread that can still be joined, as its handle is here.
    unsafe { libc::pthread_kill(thread, SIGNAL) };
}

//! Which way to be quiet this kernel offers: found out once, without raising anything.

use crate::sys::call::errno;
#[cfg(target_os = "linux")]
use crate::sys::constants::RWF_NOSIGNAL;
#[cfg(target_os = "linux")]
use libc::iovec;
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
use std::ffi::c_int;
use std::sync::atomic::{AtomicU8, Ordering};

#[cfg(target_vendor = "apple")]
pub(super) const MSG_NOSIGNAL: c_int = 0;
#[cfg(not(target_vendor = "apple"))]
pub(super) use libc::MSG_NOSIGNAL;

/// How writes are made quiet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `RWF_NOSIGNAL` for everything.
    Flag,
    /// `MSG_NOSIGNAL` for sockets, the thread guard for the rest.
    Message,
    /// The thread guard for everything.
    Guard,
}

const UNKNOWN: u8 = 0;
const FLAG: u8 = 1;
const MESSAGE: u8 = 2;
const GUARD: u8 = 3;

/// Threads that ask at once all find the same; a forked child has its parent's answer, or asks
/// again.
static FOUND: AtomicU8 = AtomicU8::new(UNKNOWN);

#[inline]
pub(super) fn method() -> Method {
    match FOUND.load(Ordering::Relaxed) {
        FLAG => Method::Flag,
        MESSAGE => Method::Message,
        GUARD => Method::Guard,
        _ => find(),
    }
}

/// For tests: takes this method from now on, or looks again.
#[doc(hidden)]
pub fn force(method: Option<Method>) {
    let value = match method {
        None => UNKNOWN,
        Some(Method::Flag) => FLAG,
        Some(Method::Message) => MESSAGE,
        Some(Method::Guard) => GUARD,
    };
    FOUND.store(value, Ordering::Relaxed);
}

/// Writes to a pipe without readers: a kernel that knows the flag says EPIPE and raises nothing,
/// one that does not says EOPNOTSUPP before it looks at the pipe, and a seccomp filter says what it
/// likes.
#[cold]
fn find() -> Method {
    #[cfg(target_os = "linux")]
    {
        // Two descriptors are open meanwhile.
        let _whole = crate::sys::cancel::Uncancelled::enter();
        let Ok((reader, writer)) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC) else {
            // No descriptors left: the answer for now, to be asked again.
            return Method::Message;
        };
        drop(reader);
        let fd = std::os::fd::AsRawFd::as_raw_fd(&writer);
        let byte = libc::iovec { iov_base: c"x".as_ptr().cast_mut().cast(), iov_len: 1 };
        // SAFETY: one whole iovec. Between the close and this nobody can write to the pipe's
        // reader.
        let status = unsafe { pwritev2(fd, &raw const byte, 1) };
        let found = if status == -(libc::EPIPE as isize) { Method::Flag } else { Method::Message };
        force(Some(found));
        found
    }
    #[cfg(not(target_os = "linux"))]
    {
        // Where there is MSG_NOSIGNAL it works; where there is not (macOS), the guard does.
        let found = if MSG_NOSIGNAL == 0 { Method::Guard } else { Method::Message };
        force(Some(found));
        found
    }
}

/// What a libc call returned, with its errno in it.
#[inline]
pub(super) fn status(returned: isize) -> isize {
    if returned < 0 { -(errno() as isize) } else { returned }
}

/// pwritev2(2) at the file's own position, without SIGPIPE. A cancellation point, as write(2) is.
///
/// # Safety
/// `count` structs at `parts`, each with its bytes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[inline]
pub(super) unsafe fn pwritev2(fd: c_int, parts: *const iovec, count: c_int) -> isize {
    // SAFETY: by this function's contract.
    status(unsafe { libc::pwritev2(fd, parts, count, -1, RWF_NOSIGNAL) })
}

/// The same where the C library has no such function. No cancellation point.
///
/// # Safety
/// `count` structs at `parts`, each with its bytes.
#[cfg(all(target_os = "linux", not(target_env = "gnu")))]
#[inline]
pub(super) unsafe fn pwritev2(fd: c_int, parts: *const iovec, count: c_int) -> isize {
    let here = -1_i64;
    let flags = RWF_NOSIGNAL;
    let count = count as libc::c_ulong;
    // SAFETY: by this function's contract.
    status(
        unsafe { libc::syscall(libc::SYS_pwritev2, fd, parts, count, here, here, flags) } as isize
    )
}

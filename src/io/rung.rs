//! Which way to be quiet this kernel offers: found out once, without raising anything.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU8, Ordering};

/// `RWF_NOSIGNAL` of pwritev2(2): no SIGPIPE for this write. Since Linux 6.18,
/// include/uapi/linux/fs.h.
#[cfg(target_os = "linux")]
pub(crate) const RWF_NOSIGNAL: c_int = 0x100;

/// How writes are made quiet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rung {
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
pub(super) fn rung() -> Rung {
    match FOUND.load(Ordering::Relaxed) {
        FLAG => Rung::Flag,
        MESSAGE => Rung::Message,
        GUARD => Rung::Guard,
        _ => find(),
    }
}

/// For tests: takes this rung from now on, or looks again.
#[doc(hidden)]
pub fn force(rung: Option<Rung>) {
    let value = match rung {
        None => UNKNOWN,
        Some(Rung::Flag) => FLAG,
        Some(Rung::Message) => MESSAGE,
        Some(Rung::Guard) => GUARD,
    };
    FOUND.store(value, Ordering::Relaxed);
}

/// Writes to a pipe without readers: a kernel that knows the flag says EPIPE and raises nothing,
/// one that does not says EOPNOTSUPP before it looks at the pipe, and a seccomp filter says what it
/// likes.
#[cold]
fn find() -> Rung {
    #[cfg(target_os = "linux")]
    {
        // Two descriptors are open meanwhile.
        let _whole = crate::sys::cancel::Uncancelled::enter();
        let mut ends = [-1; 2];
        // SAFETY: room for two numbers.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
            // No descriptors left: the answer for now, to be asked again.
            return Rung::Message;
        }
        let [reader, writer] = ends;
        // SAFETY: ours.
        unsafe { libc::close(reader) };
        let byte = libc::iovec { iov_base: c"x".as_ptr().cast_mut().cast(), iov_len: 1 };
        // SAFETY: one whole iovec. Between the close and this nobody can write to the pipe's
        // reader.
        let status = unsafe { super::raw::pwritev2(writer, &raw const byte, 1) };
        // SAFETY: ours.
        unsafe { libc::close(writer) };
        let found = if status == -(libc::EPIPE as isize) { Rung::Flag } else { Rung::Message };
        force(Some(found));
        found
    }
    #[cfg(not(target_os = "linux"))]
    {
        // Where there is MSG_NOSIGNAL it works; where there is not (macOS), the guard does.
        let found = if super::raw::MSG_NOSIGNAL == 0 { Rung::Guard } else { Rung::Message };
        force(Some(found));
        found
    }
}

//! The descriptor that a map keeps, and the one place where it is decided whether it is still ours.
//!
//! Daemons close every descriptor that they know nothing of, and the numbers become other files'.
//! Reading there would pass another file's bytes for the map's, and closing would close somebody's
//! file. So nobody uses `Facts::descriptor` without having asked here. What cannot be told: that
//! somebody has opened the same file anew, close-on-exec as ours, under the same number.

use super::identity::Identity;
use super::registry::Facts;
use crate::observe::in_handler::status;
use std::ffi::c_int;

/// What a map's descriptor names now, and that it is still ours: of the same file, and
/// close-on-exec as ours always is. None if it is not, or if none is kept. Signal-safe.
pub(crate) fn current(facts: &Facts) -> Option<Identity> {
    let descriptor = Some(facts.descriptor).filter(|descriptor| *descriptor >= 0)?;
    let now = Identity::of(&status(descriptor)?);
    (now.is_same_file(&facts.identity) && is_close_on_exec(descriptor)).then_some(now)
}

/// Closes it, if it is still ours.
pub(crate) fn close(facts: &Facts) {
    if current(facts).is_some() {
        // SAFETY: the map's own descriptor, used no more.
        unsafe { libc::close(facts.descriptor) };
    }
}

#[cfg(target_os = "linux")]
fn is_close_on_exec(descriptor: c_int) -> bool {
    // SAFETY: numbers only; a bare system call, no cancellation point.
    let flags = unsafe { libc::syscall(libc::SYS_fcntl, descriptor, libc::F_GETFD) };
    flags >= 0 && flags & libc::c_long::from(libc::FD_CLOEXEC) != 0
}

#[cfg(not(target_os = "linux"))]
fn is_close_on_exec(descriptor: c_int) -> bool {
    // SAFETY: numbers only.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC != 0
}

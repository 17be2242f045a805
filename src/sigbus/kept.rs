//! The descriptor that a map keeps, and the one place where it is decided whether it is still ours.
//!
//! Daemons close every descriptor that they know nothing of, and the numbers become other files'.
//! Reading there would pass another file's bytes for the map's, and closing would close somebody's
//! file. So nobody uses `Facts::descriptor` without having asked here. What cannot be told: that
//! somebody has opened the same file anew, close-on-exec as ours, under the same number.

use super::identity::{self, Identity};
use super::registry::Facts;
use crate::mapping::Error;
use crate::observe::in_handler::status;
use std::ffi::c_int;
use std::os::fd::{FromRawFd, OwnedFd};

/// What a map's descriptor names now, and that it is still ours: of the same file, and
/// close-on-exec as ours always is. None if it is not, or if none is kept. Signal-safe.
pub(crate) fn look(facts: &Facts) -> Option<Identity> {
    let descriptor = Some(facts.descriptor).filter(|descriptor| *descriptor >= 0)?;
    let now = Identity::of(&status(descriptor)?);
    (now.is_same_file(&facts.identity) && is_close_on_exec(descriptor)).then_some(now)
}

/// As [`look`], with what to say otherwise.
pub(crate) fn identity_of(facts: &Facts) -> Result<Identity, Error> {
    if facts.descriptor < 0 {
        return Err(Error::Invalid("the map keeps no descriptor to ask"));
    }
    look(facts).ok_or(identity::NOT_OURS)
}

/// A duplicate of its own, of which it is certain that it is the map's file.
pub(crate) fn duplicate(facts: &Facts) -> Result<(OwnedFd, Identity), Error> {
    identity_of(facts)?;
    // SAFETY: numbers only.
    let copy = unsafe { libc::fcntl(facts.descriptor, libc::F_DUPFD_CLOEXEC, 0) };
    if copy < 0 {
        return Err(Error::system("fcntl"));
    }
    // SAFETY: just made, and nobody else's.
    let copy = unsafe { OwnedFd::from_raw_fd(copy) };
    // Somebody may have closed the map's in between.
    let now = identity::of_mappable(std::os::fd::AsRawFd::as_raw_fd(&copy))?;
    if now.is_same_file(&facts.identity) { Ok((copy, now)) } else { Err(identity::NOT_OURS) }
}

/// Closes it, if it is still ours.
pub(crate) fn close(facts: &Facts) {
    if look(facts).is_some() {
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

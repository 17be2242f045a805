//! What a map's own descriptor says of its file, for callers; `sigbus/kept.rs` decides whether it
//! is still the map's.

use super::error::Error;
use crate::sigbus::identity::{self, Identity};
use crate::sigbus::kept::current;
use crate::sigbus::registry::Facts;
use std::os::fd::{FromRawFd, OwnedFd};

/// What the descriptor names now, if it is still ours.
pub(super) fn identity_of(facts: &Facts) -> Result<Identity, Error> {
    if facts.descriptor < 0 {
        return Err(Error::Invalid("the map keeps no descriptor to ask"));
    }
    current(facts).ok_or(identity::NOT_OURS.into())
}

/// A duplicate of its own, of which it is certain that it is the map's file.
pub(super) fn duplicate(facts: &Facts) -> Result<(OwnedFd, Identity), Error> {
    identity_of(facts)?;
    // SAFETY: numbers only.
    let copy = unsafe { libc::fcntl(facts.descriptor, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(Error::system("fcntl"));
    }
    // SAFETY: just made, and nobody else's.
    let copy = unsafe { OwnedFd::from_raw_fd(copy) };
    // Somebody may have closed the map's in between.
    let now = identity::of_mappable(std::os::fd::AsRawFd::as_raw_fd(&copy))?;
    if now.is_same_file(&facts.identity) { Ok((copy, now)) } else { Err(identity::NOT_OURS.into()) }
}

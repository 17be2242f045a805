//! Seats for further signals that end a process, taken only on request, to say what it dies of.
//!
//! Every delivery goes on to the predecessor. SIGSEGV is not here: its seat is the checked copy's
//! (`sigbus/copy`).

mod handler;

use crate::chain::{self, Disposition, Kind, Lock, Owner};
use crate::error::Error;
use std::ffi::c_int;

const fn owner(signal: c_int) -> Owner {
    Owner::new(signal, handler::decide, handler::farewell, false)
}

static OWNERS: [Owner; 5] = [
    owner(libc::SIGABRT),
    owner(libc::SIGFPE),
    owner(libc::SIGILL),
    owner(libc::SIGXFSZ),
    owner(libc::SIGSYS),
];

/// Takes the seat on top for each of `signals` that is one of these, and leaves those of the
/// others. A signal that is ignored stays so, and so does one whose row an interposer keeps.
pub(crate) fn explain(held: &Lock, signals: &[c_int]) -> Result<(), Error> {
    for owner in &OWNERS {
        if !signals.contains(&owner.signal) {
            chain::vacate(held, owner)?;
        } else if is_free(owner.signal)? {
            chain::take(held, owner)?;
        }
    }
    Ok(())
}

/// Whether a seat may be taken for last words: a child inherits SIG_IGN, and would not inherit our
/// handler.
pub(crate) fn is_free(signal: c_int) -> Result<bool, Error> {
    let top = Disposition::read(signal)?;
    Ok(top.kind() != Kind::Ignore && !chain::interposed(signal))
}

/// Takes the seats on top again that were asked for.
pub(crate) fn ensure_on_top() -> Result<(), Error> {
    let seated = |owner: &&'static Owner| chain::seats_of(owner).next().is_some();
    if !OWNERS.iter().any(|owner| seated(&owner)) {
        return Ok(());
    }
    let held = chain::lock()?;
    for owner in OWNERS.iter().filter(seated) {
        if is_free(owner.signal)? {
            chain::take(&held, owner)?;
        }
    }
    Ok(())
}

//! Adds the SA_ONSTACK that somebody's handler lacks: nothing else about it changes.
//!
//! Go runs goroutines on stacks of a few KiB. A handler without SA_ONSTACK runs there: one that
//! passes the signal on to Go ends in `non-Go code set up signal handler without SA_ONSTACK flag`,
//! one that does not writes over the stack. signal-hook, tokio::signal and ctrlc install theirs so.

use super::disposition::{Disposition, Kind};
use super::entry::{Entry, entry};
use super::handler::trampolines::index_of;
use super::lock;
use super::seat::{mend, put};
use crate::error::Error;
use std::ffi::c_int;

/// What [`repair`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repair {
    /// No handler stands there: SIG_DFL or SIG_IGN.
    NoHandler,
    /// The handler has SA_ONSTACK.
    Sound,
    /// The handler had no SA_ONSTACK, or a row of ours had been written by somebody else; now it is
    /// right.
    Repaired,
}

/// Gives the handler of `signal` SA_ONSTACK if it lacks it. The handler, its mask and its other
/// flags stay, and so does what it remembers as its predecessor.
///
/// Between the other library's installation and this call the handler stands there as it was:
/// register and repair before goroutines run, or as early as can be. A library that installs its
/// handler anew needs it anew.
///
/// Thread-safe, works in a forked child; not for signal handlers.
///
/// # Errors
/// [`Error::System`] for a number that is no signal, or if the kernel refuses; [`Error::Contended`]
/// if others keep changing the disposition; [`Error::Reentered`].
///
/// # Safety
/// The handler that stands there may run on an alternate signal stack: it needs no more room than
/// the threads' alternate stacks have, and does not switch to another stack or context before it
/// returns.
///
/// # References
/// sigaltstack(2); os/signal, "Go programs that use cgo or SWIG".
///
/// ```
/// use sigward::chain::{Repair, repair};
/// // SAFETY: no handler stands there.
/// assert_eq!(unsafe { repair(libc::SIGUSR1)? }, Repair::NoHandler);
/// # Ok::<(), sigward::Error>(())
/// ```
#[doc(alias = "SA_ONSTACK")]
#[doc(alias = "sigaction")]
#[doc(alias = "sigward_repair")]
pub unsafe fn repair(signal: c_int) -> Result<Repair, Error> {
    let _held = lock()?;
    for _ in 0..super::seat::ATTEMPTS {
        let top = Disposition::read(signal)?;
        if let Some(index) = index_of(top.handler)
            && let Some(predecessor) = entry(index).and_then(Entry::predecessor)
        {
            // Ours: then flags and mask are to be what we had given it.
            let mended = mend(signal, index, predecessor, &top)?;
            return Ok(if mended { Repair::Repaired } else { Repair::Sound });
        }
        if !matches!(top.kind(), Kind::Handler { .. }) {
            return Ok(Repair::NoHandler);
        }
        if top.flags & libc::SA_ONSTACK != 0 {
            return Ok(Repair::Sound);
        }
        let sound = Disposition { flags: top.flags | libc::SA_ONSTACK, ..top };
        if put(signal, &top, &sound)? {
            return Ok(Repair::Repaired);
        }
    }
    Err(Error::Contended)
}

/// [`repair`] for every signal: how many handlers had no SA_ONSTACK and have it now. After a
/// library has been loaded or started that installs handlers of its own.
///
/// Thread-safe, works in a forked child; not for signal handlers.
///
/// # Errors
/// As [`repair`], for signals that exist; handlers of lower signals have been repaired then.
///
/// # Safety
/// As [`repair`], for each handler of this process that lacks SA_ONSTACK.
///
/// ```
/// // SAFETY: Rust's own handlers have SA_ONSTACK, and there are no others.
/// assert_eq!(unsafe { sigward::chain::repair_all()? }, 0);
/// # Ok::<(), sigward::Error>(())
/// ```
#[doc(alias = "sigward_repair_all")]
pub unsafe fn repair_all() -> Result<usize, Error> {
    let mut repaired = 0;
    for signal in 1..=super::rows::SIGNALS as c_int {
        // SAFETY: by this function's contract.
        match unsafe { repair(signal) } {
            Ok(found) => repaired += usize::from(found == Repair::Repaired),
            // The C library keeps it for itself, or this system has fewer.
            Err(Error::System(libc::EINVAL)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(repaired)
}

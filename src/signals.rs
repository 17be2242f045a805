//! signal-hook inside a Go process (feature `signal-hook`): its registrations, each repaired at
//! once.
//!
//! signal-hook chains whatever handler was there, so Go's `signal.Notify` goes on to hear of the
//! signal. What its handler lacks is SA_ONSTACK, without which Go ends the process: see
//! [`crate::chain::repair`], which also mends what `tokio::signal` and others have registered.
//!
//! Not for signal handlers. The instant between registration and repair is described at
//! [`crate::chain::repair`].

use crate::chain::repair;
use std::ffi::c_int;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// [`signal_hook::iterator::Signals::new`], repaired.
///
/// # Errors
/// As signal-hook's, and those of [`repair`].
///
/// ```
/// let mut signals = sigward::signals::iterator(&[libc::SIGUSR1])?;
/// signal_hook::low_level::raise(libc::SIGUSR1)?;
/// assert_eq!(signals.wait().next(), Some(libc::SIGUSR1));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn iterator(signals: &[c_int]) -> io::Result<signal_hook::iterator::Signals> {
    let iterator = signal_hook::iterator::Signals::new(signals)?;
    for signal in signals {
        // SAFETY: what was just registered needs little stack, and stays on it.
        unsafe { repair(*signal) }?;
    }
    Ok(iterator)
}

/// [`signal_hook::flag::register`], repaired.
///
/// # Errors
/// As signal-hook's, and those of [`repair`].
pub fn flag(signal: c_int, flag: Arc<AtomicBool>) -> io::Result<signal_hook::SigId> {
    let id = signal_hook::flag::register(signal, flag)?;
    // SAFETY: as in `iterator`.
    unsafe { repair(signal) }?;
    Ok(id)
}

/// [`signal_hook::low_level::register`], repaired.
///
/// # Safety
/// As signal-hook's: `action` runs inside the handler, and in Go on a signal stack of 32 KiB.
///
/// # Errors
/// As signal-hook's, and those of [`repair`].
pub unsafe fn register(
    signal: c_int,
    action: impl Fn() + Sync + Send + 'static,
) -> io::Result<signal_hook::SigId> {
    // SAFETY: by this function's contract.
    let id = unsafe { signal_hook::low_level::register(signal, action) }?;
    // SAFETY: as above.
    unsafe { repair(signal) }?;
    Ok(id)
}

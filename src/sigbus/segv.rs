//! The seat for SIGSEGV: for the checked copy, or for last words alone; taken only if somebody asks
//! for one of them.

use super::copy;
use super::handler::{self, COPY_ENDS_SEGV};
use crate::chain::{self, Owner};
use crate::error::Error;
use std::sync::atomic::Ordering;

static OWNER: Owner = Owner::new(libc::SIGSEGV, handler::decide_segv, handler::farewell, true);

/// Takes the seat for SIGSEGV on top again, if it was asked for.
pub(crate) fn ensure_on_top(held: &chain::Lock) -> Result<(), Error> {
    if chain::seats_of(&OWNER).next().is_some() {
        chain::take(held, &OWNER)?;
    }
    Ok(())
}

/// Lets [`crate::mapping::try_copy`] return at a SIGSEGV of its own as well: addresses where
/// nothing is mapped, or nothing that may be read or written. Takes the seat on top for SIGSEGV;
/// every other SIGSEGV goes to what stood there before, which sees it as without us.
/// [`crate::ensure_on_top`] takes the top again after another runtime has installed its handler.
/// There is no way back.
///
/// Idempotent, thread-safe, works in a forked child; not for signal handlers.
///
/// # Errors
/// [`Error::NoEntryPoint`], [`Error::Contended`] or [`Error::System`] if the seat cannot be taken;
/// [`Error::Unsupported`] where there is no checked copy. Then nothing has changed.
///
/// ```
/// sigward::mapping::try_copy_segv()?;
/// let mut byte = 1;
/// // SAFETY: nothing is mapped there, and that may be found out.
/// let count = unsafe { sigward::mapping::try_copy(&raw mut byte, 8 as *const u8, 1)? };
/// assert_eq!((count, byte), (0, 1));
/// # Ok::<(), sigward::Error>(())
/// ```
#[doc(alias = "SIGSEGV")]
#[doc(alias = "sigward_try_copy_segv")]
pub fn try_copy_segv() -> Result<(), Error> {
    if !copy::is_there() {
        return Err(Error::Unsupported);
    }
    let held = chain::lock()?;
    chain::take(&held, &OWNER)?;
    COPY_ENDS_SEGV.store(true, Ordering::Release);
    Ok(())
}

/// Takes the seat for SIGSEGV for last words, or leaves it if it was taken for them alone.
#[cfg(target_os = "linux")]
pub(crate) fn explain(held: &chain::Lock, wanted: bool) -> Result<(), Error> {
    if wanted {
        chain::take(held, &OWNER).map(drop)
    } else if COPY_ENDS_SEGV.load(Ordering::Acquire) {
        Ok(())
    } else {
        chain::vacate(held, &OWNER)
    }
}

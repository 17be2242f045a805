//! The dispositions of all signals, saved and put back around something that changes them.
//!
//! A library's start and stop (a profiler, an embedded interpreter), or the loading of a plug-in,
//! may install handlers and leave them, or put SIG_DFL where a runtime's handler was. What stood
//! before is put back afterwards. Our own seats are exempt: one that was taken meanwhile is kept.

use super::disposition::{Disposition, same_set};
use super::entry::{Entry, entry};
use super::handler::trampolines::index_of;
use super::lock;
use super::seat::put;
use crate::error::Error;
#[cfg(feature = "capi")]
use std::ffi::c_int;

/// How many signals there are: the kernel's `_NSIG`.
pub(crate) const SIGNALS: usize = 64;

/// The dispositions of all signals at one moment. Made by [`Rows::save`].
///
/// A `Rows` does not know what happened since: a handler that it puts back must still be code.
#[derive(Clone)]
pub struct Rows([Option<Disposition>; SIGNALS]);

impl Rows {
    /// Reads the disposition of every signal and changes nothing. Signals that the C library keeps
    /// for itself (32 and 33 with glibc) are left out.
    ///
    /// Signal-safe, thread-safe, and the same in a forked child.
    ///
    /// ```
    /// let rows = sigward::chain::Rows::save();
    /// // … a library is started, and stopped again …
    /// // SAFETY: no handler that stood there before has been unloaded.
    /// let changed = unsafe { rows.restore()? };
    /// assert_eq!(changed, 0);
    /// # Ok::<(), sigward::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "sigaction")]
    #[doc(alias = "sigward_rows_save")]
    pub fn save() -> Self {
        let mut rows = [None; SIGNALS];
        for (row, signal) in rows.iter_mut().zip(1..) {
            *row = Disposition::read(signal).ok();
        }
        Self(rows)
    }

    /// Puts back every row that has changed since, handler, flags and mask, and says how many. One
    /// that somebody else changes at this moment is left to them. A seat of ours stays where it was
    /// taken since.
    ///
    /// Thread-safe, works in a forked child; not for signal handlers.
    ///
    /// # Errors
    /// [`Error::Reentered`]; [`Error::System`] if the kernel refuses (seccomp). Rows before that
    /// one have been put back.
    ///
    /// # Safety
    /// The handlers that stood there are still loaded, and their owners do not rely on having left.
    #[doc(alias = "sigward_rows_restore")]
    pub unsafe fn restore(&self) -> Result<usize, Error> {
        let _held = lock()?;
        let mut changed = 0;
        for (saved, signal) in self.0.iter().zip(1..) {
            let Some(saved) = saved else { continue };
            let now = Disposition::read(signal)?;
            if !is_changed(&now, saved) || is_seat(&now) && !is_seat(saved) {
                continue;
            }
            changed += usize::from(put(signal, &now, saved)?);
        }
        Ok(changed)
    }

    /// The rows as C keeps them: handler, flags, and the signals of the mask as bits.
    #[cfg(feature = "capi")]
    pub(crate) fn to_words(&self) -> [[u64; 3]; SIGNALS] {
        self.0.map(|row| row.map_or([u64::MAX; 3], Disposition::to_words))
    }

    #[cfg(feature = "capi")]
    pub(crate) fn of_words(words: &[[u64; 3]; SIGNALS]) -> Self {
        Self(words.map(|row| (row != [u64::MAX; 3]).then(|| Disposition::of_words(row))))
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.0.iter().flatten()).finish()
    }
}

fn is_changed(now: &Disposition, saved: &Disposition) -> bool {
    now.handler != saved.handler || now.flags != saved.flags || !same_set(&now.mask, &saved.mask)
}

fn is_seat(row: &Disposition) -> bool {
    index_of(row.handler).and_then(entry).is_some_and(Entry::is_active)
}

#[cfg(feature = "capi")]
impl Disposition {
    fn to_words(self) -> [u64; 3] {
        let holds = |signal: c_int| {
            // SAFETY: an initialised set; a number that is no signal gives -1.
            unsafe { libc::sigismember(&raw const self.mask, signal) == 1 }
        };
        let mask = (1..=64)
            .filter(|signal| holds(*signal))
            .fold(0_u64, |set, signal| set | 1 << (signal - 1));
        [self.handler as u64, u64::from(self.flags as u32), mask]
    }

    fn of_words([handler, flags, set]: [u64; 3]) -> Self {
        let mut mask = super::disposition::empty_set();
        for signal in (1..=64).filter(|signal| set >> (signal - 1) & 1 == 1) {
            // SAFETY: an initialised set; a number that is no signal changes nothing.
            unsafe { libc::sigaddset(&raw mut mask, signal) };
        }
        Self { handler: handler as usize, flags: flags as u32 as c_int, mask }
    }
}

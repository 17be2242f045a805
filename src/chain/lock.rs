//! One lock around every change of seats. Handlers of ours never take it.
//!
//! It is taken by constructors, by foreign threads, perhaps inside somebody's signal handler and
//! perhaps in a forked child whose parent held it; so it is a word that names its holder, in memory
//! that fork wipes ([`crate::sys::wiped`]), and no std lock. In a child it is free: each step under
//! it leaves the seats whole.
//!
//! No signal of others interrupts the holder: its handler could jump out or end the thread, and
//! everybody else would wait for ever. A holder that was killed (a child that shares memory) loses
//! its place.

use crate::error::Error;
use crate::sys::mask::Mask;
use crate::sys::process::{is_dead, thread_id};
use crate::sys::wiped;
use std::sync::atomic::{AtomicU32, Ordering};

/// Held while seats change.
pub(crate) struct Lock {
    word: &'static AtomicU32,
    me: u32,
    signals: Mask,
}

/// Waits for the lock.
///
/// # Errors
/// [`Error::Reentered`] if this very thread holds it: we are in the handler of a fault inside the
/// holder.
/// [`Error::System`] (ENOMEM) if the kernel has no memory for the word.
#[cold]
pub(crate) fn lock() -> Result<Lock, Error> {
    /// Some hundredths of a second.
    const PATIENCE: u32 = 500;
    // Who changes seats may take one. Before the lock: this may wait for the loader's.
    crate::sys::pin::object();
    let word = &wiped::words().ok_or(Error::System(libc::ENOMEM))?.seats;
    let me = thread_id();
    let mut waited = 0_u32;
    loop {
        let signals = Mask::block_sent();
        // Acquire pairs with the Release of `drop`: what the last holder wrote is seen.
        let Err(holder) = word.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed) else {
            return Ok(Lock { word, me, signals });
        };
        signals.restore();
        if holder == me {
            return Err(Error::Reentered);
        }
        std::thread::sleep(std::time::Duration::from_micros(20));
        waited = waited.wrapping_add(1);
        if waited.is_multiple_of(PATIENCE) && is_dead(holder) {
            // Nobody's, unless another who waited was quicker.
            let _ = word.compare_exchange(holder, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

impl Drop for Lock {
    #[cold]
    fn drop(&mut self) {
        // In a child that was forked in between, the word is 0, or somebody else's by now.
        let _ = self.word.compare_exchange(self.me, 0, Ordering::Release, Ordering::Relaxed);
        self.signals.restore();
    }
}

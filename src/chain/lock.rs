//! One lock around every change of seats. Handlers of ours never take it.
//!
//! It is taken by constructors, by foreign threads, perhaps inside somebody's signal handler and perhaps in
//! a forked child whose parent held it; so it is a word that names its holder, in memory that fork wipes
//! ([`crate::sys::wiped`]), and no std lock. In a child it is free: each step under it leaves the seats whole.

use crate::error::Error;
use crate::sys::process::thread_id;
use crate::sys::wiped;
use std::sync::atomic::{AtomicU32, Ordering};

/// Held while seats change.
pub(crate) struct Lock {
    word: &'static AtomicU32,
    me: u32,
}

/// Waits for the lock.
///
/// # Errors
/// [`Error::Reentered`] if this very thread holds it: we are in a handler that interrupted the holder.
/// [`Error::System`] (ENOMEM) if the kernel has no memory for the word.
pub(crate) fn lock() -> Result<Lock, Error> {
    // Who changes seats may take one. Before the lock: this may wait for the loader's.
    crate::sys::pin::object();
    let word = &wiped::words().ok_or(Error::System(libc::ENOMEM))?.seats;
    let me = thread_id();
    loop {
        // Acquire pairs with the Release of `drop`: what the last holder wrote is seen.
        match word.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return Ok(Lock { word, me }),
            Err(holder) if holder == me => return Err(Error::Reentered),
            Err(_) => std::thread::sleep(std::time::Duration::from_micros(20)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // In a child that was forked in between, the word is 0, or somebody else's by now.
        let _ = self.word.compare_exchange(self.me, 0, Ordering::Release, Ordering::Relaxed);
    }
}

//! One lock around every change of seats. Handlers never take it.
//!
//! It is taken by constructors, by foreign threads, perhaps inside a signal handler and perhaps in a
//! forked child whose parent held it; so it is a word that names its holder, and no std lock.

use crate::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

/// 0, or the process id of the holder above its thread id.
static HOLDER: AtomicU64 = AtomicU64::new(0);

/// Held while seats change.
pub(crate) struct Lock(());

/// Waits for the lock.
///
/// # Errors
/// [`Error::Reentered`] if this very thread holds it: we are in a handler that interrupted the holder.
pub(crate) fn lock() -> Result<Lock, Error> {
    let process = u64::from(std::process::id());
    let me = process << 32 | u64::from(thread_id());
    let mut seen = 0;
    loop {
        // Acquire pairs with the Release of `drop`: what the last holder wrote is seen.
        match HOLDER.compare_exchange(seen, me, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return Ok(Lock(())),
            Err(holder) if holder == me => return Err(Error::Reentered),
            // The holder was a thread of the process that forked us: it is not here to let go. Each
            // step under the lock leaves the seats whole, so taking it over is safe.
            Err(holder) if holder >> 32 != process => seen = holder,
            Err(_) => {
                seen = 0;
                std::thread::sleep(std::time::Duration::from_micros(20));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        HOLDER.store(0, Ordering::Release);
    }
}

#[cfg(target_os = "linux")]
fn thread_id() -> u32 {
    nix::unistd::gettid().as_raw() as u32
}

#[cfg(not(target_os = "linux"))]
fn thread_id() -> u32 {
    // SAFETY: no arguments, cannot fail.
    let thread = unsafe { libc::pthread_self() } as usize;
    // Thread structs are far more than 16 bytes apart.
    (thread >> 4) as u32
}

//! What callers do to a map while no handler is at work on it.

use super::registry::Slot;
use crate::sys::mask::Mask;
use crate::sys::process::thread_id;
use std::time::{Duration, Instant};

/// Runs `work` on a slot while no handler is at work on it. None if one still is after a second:
/// its file system does not answer, or its thread was stopped. Meanwhile signals are let in. Not
/// for handlers.
pub(crate) fn without_handlers<T>(slot: &Slot, work: impl FnOnce() -> T) -> Option<T> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let (me, since) = (thread_id(), Instant::now());
    loop {
        let signals = Mask::block_all();
        if let Some(lock) = slot.wiped().wait_to_patch(me) {
            let done = work();
            drop(lock);
            signals.restore();
            return Some(done);
        }
        signals.restore();
        if since.elapsed() > PATIENCE {
            return None;
        }
    }
}

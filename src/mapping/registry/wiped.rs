//! Words that a forked child finds at zero: pins and locks of threads that only the parent has.
//!
//! They lie in pages that the kernel clears in a child (`MADV_WIPEONFORK`, madvise(2)), so nobody there waits for a handler
//! or a lock holder that does not exist. Nothing has to be done at the fork itself, and none of it costs a system call.

use super::super::sync::{AtomicU32, Ordering};

/// The changing words of one slot.
#[repr(C)]
pub(crate) struct Wiped {
    /// Handlers that are at work on the slot's map.
    pub(super) pins: AtomicU32,
    /// 1 while a handler is patching.
    patching: AtomicU32,
    /// 1 while a thread makes the map longer. No handler takes it.
    growing: AtomicU32,
}

impl Wiped {
    #[cfg(all(test, sigward_loom))]
    pub(super) fn new() -> Self {
        Self { pins: AtomicU32::new(0), patching: AtomicU32::new(0), growing: AtomicU32::new(0) }
    }

    /// Takes the patch lock, if nobody has it. Signal-safe; the caller has blocked all signals, so the holder is never a
    /// frame further down on this thread.
    pub(crate) fn try_lock(&self) -> Option<PatchLock<'_>> {
        // Acquire pairs with the Release of `drop`: what the last holder recorded is seen.
        let free = self.patching.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok();
        // (Not `then_some`: a lock that is made and dropped unlocks.)
        free.then(|| PatchLock(self))
    }
}

/// Held while the pages of one map are replaced.
pub(crate) struct PatchLock<'a>(&'a Wiped);

impl Drop for PatchLock<'_> {
    fn drop(&mut self) {
        self.0.patching.store(0, Ordering::Release);
    }
}

impl Wiped {
    /// Waits until nobody else makes the map longer. Not for handlers. In a forked child it is free, whoever had it.
    pub(crate) fn wait_to_grow(&self) -> GrowLock<'_> {
        let mut spins = 0_u32;
        // Acquire pairs with the Release of `drop`: what the last one has reserved is seen.
        while self.growing.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            spins += 1;
            if spins < 100 {
                std::hint::spin_loop();
            } else {
                std::thread::sleep(std::time::Duration::from_micros(50));
            }
        }
        GrowLock(self)
    }
}

/// Held while one map is made longer.
pub(crate) struct GrowLock<'a>(&'a Wiped);

impl Drop for GrowLock<'_> {
    fn drop(&mut self) {
        self.0.growing.store(0, Ordering::Release);
    }
}

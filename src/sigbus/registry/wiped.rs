//! Words that a forked child finds at zero: pins and locks of threads that only the parent has.
//!
//! They lie in pages that the kernel clears in a child (`MADV_WIPEONFORK`, madvise(2)), so nobody
//! there waits for a handler or a lock holder that does not exist. Nothing has to be done at the
//! fork itself, and none of it costs a system call.

use super::super::sync::AtomicU32;
use super::lock::{Held, Lock, Locked};
#[cfg(feature = "capi")]
use crate::sys::process::thread_id;

/// The changing words of one slot.
#[repr(C)]
pub(crate) struct Wiped {
    /// Handlers that are at work on the slot's map.
    pub(super) pins: AtomicU32,
    patching: Lock,
    growing: Lock,
    flushing: Lock,
}

/// Held while the pages of one map are replaced.
pub(crate) struct PatchLock<'a>(#[allow(dead_code, reason = "held, not looked at")] Locked<'a>);

/// Held while one map is made longer. No handler takes it, and none of others runs in the thread
/// that has it.
pub(crate) struct GrowLock<'a> {
    lock: &'a Lock,
    held: Option<Held<'a>>,
}

impl GrowLock<'_> {
    /// Lets go of it for a moment, in which the thread's signals and other growers get their turn.
    pub(crate) fn pause(&mut self) {
        self.held = None;
        // (Not refused: this thread has let go of it.)
        self.held = self.lock.hold(|| false).ok();
    }
}

/// Held while one map, or all maps of one shared file, are written out. No handler takes it.
pub(crate) struct FlushLock<'a>(#[allow(dead_code, reason = "held, not looked at")] Locked<'a>);

impl Wiped {
    #[cfg(all(test, sigward_loom))]
    pub(super) fn new() -> Self {
        let [patching, growing, flushing] = std::array::from_fn(|_| Lock::new());
        Self { pins: AtomicU32::new(0), patching, growing, flushing }
    }

    #[cfg(all(test, sigward_loom))]
    /// Takes the patch lock for thread `me`, if nobody has it. Signal-safe; the caller has blocked
    /// all signals, so the holder is never a frame further down on this thread.
    pub(crate) fn try_lock(&self, me: u32) -> Option<PatchLock<'_>> {
        self.patching.try_lock(me).map(PatchLock)
    }

    /// Waits for the patch lock for a while. Signal-safe; the caller has blocked all signals.
    pub(crate) fn wait_to_patch(&self, me: u32) -> Option<PatchLock<'_>> {
        self.patching.wait(me).map(PatchLock)
    }

    /// Waits until nobody else makes the map longer. Not for handlers. In a forked child it is
    /// free, whoever had it. None if this very thread has it: it was interrupted by a fault whose
    /// handler calls this.
    pub(crate) fn lock_to_grow(&self) -> Option<GrowLock<'_>> {
        let held = self.growing.hold(|| false).ok()?;
        Some(GrowLock { lock: &self.growing, held: Some(held) })
    }

    /// Waits until nobody else writes the map out, as [`FlushLock::of`].
    pub(crate) fn lock_to_flush(&self) -> FlushLock<'_> {
        FlushLock(self.flushing.lock_again())
    }

    /// As [`Wiped::lock_to_flush`], but for some hundredths of a second.
    #[cfg(feature = "capi")]
    pub(crate) fn wait_to_flush(&self) -> Option<FlushLock<'_>> {
        self.flushing.wait(thread_id()).map(FlushLock)
    }
}

impl FlushLock<'static> {
    /// Waits until nobody else writes out what has this lock. Not for handlers. In a forked child
    /// it is free, whoever had it. This thread may have it already, and has it again: a handler
    /// that comes with the end of msync(2) and jumps out of it has left it locked, and others wait
    /// until this thread flushes once more. Two who flush at once take at worst each other's error.
    #[cfg(not(sigward_loom))]
    pub(crate) fn of(word: &'static AtomicU32) -> Self {
        Self(Lock::of(word).lock_again())
    }

    /// As [`FlushLock::of`], but for some hundredths of a second.
    #[cfg(all(feature = "capi", not(sigward_loom)))]
    pub(crate) fn wait_for(word: &'static AtomicU32) -> Option<Self> {
        Lock::of(word).wait(thread_id()).map(Self)
    }
}

//! The word that tells what is lost, and the order in which it is written and read.
//!
//! | handler | reader |
//! |---|---|
//! | stores the lowest lost offset | reads the bytes |
//! | *then* replaces the pages | *then* reads the word |
//!
//! So whoever has seen a replaced page sees the word as well. With either pair the other way round
//! zeros would pass for the file's bytes.

use super::super::sync::{AtomicU64, Ordering, fence};

/// The poison word of a map that has lost nothing.
const INTACT: u64 = u64::MAX;

/// Lowest lost offset of a map, or `u64::MAX`. C and Go read it without asking us.
#[repr(transparent)]
pub(crate) struct Poison(AtomicU64);

impl Poison {
    #[cfg(all(test, sigward_loom))]
    pub(super) fn intact() -> Self {
        Self(AtomicU64::new(INTACT))
    }

    /// Nothing is lost.
    pub(super) fn clear(&self) {
        self.0.store(INTACT, Ordering::Release);
    }

    /// Everything from `offset` on may be lost: before any page changes. Signal-safe.
    pub(crate) fn publish(&self, offset: u64) {
        self.0.fetch_min(offset, Ordering::AcqRel);
    }

    /// The lowest lost offset, `u64::MAX` if there is none. Signal-safe.
    pub(crate) fn lowest(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// As [`Poison::lowest`], for callers that have just read the bytes. On x86-64 it costs one
    /// load.
    #[inline]
    pub(crate) fn after_reading(&self) -> u64 {
        // The bytes were read before the word is: pairs with the change of pages, which comes after
        // `publish`.
        fence(Ordering::Acquire);
        self.0.load(Ordering::Relaxed)
    }

    /// As [`Poison::lowest`], for callers that have just written: a store may still be on its way
    /// when a later load is done.
    #[inline]
    pub(crate) fn after_writing(&self) -> u64 {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed)
    }

    /// Where the word is.
    pub(crate) fn word(&self) -> *const u64 {
        std::ptr::from_ref(self).cast()
    }
}

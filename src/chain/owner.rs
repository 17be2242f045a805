//! Who owns seats, and decides.

use super::disposition::Disposition;
use super::handler::delivery::{Delivery, Verdict};
use crate::observe::counters;
use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An owner that says nothing.
#[cfg(not(target_os = "linux"))]
pub(crate) fn no_farewell(_delivery: &Delivery<'_>, _handler: Option<usize>) {}

/// Who owns seats for one signal, and what it says of each delivery.
pub struct Owner {
    /// The signal.
    pub signal: c_int,
    /// Looks at one delivery. Runs inside the handler: under the discipline of `handler/`.
    pub decide: fn(&Delivery<'_>) -> Verdict,
    /// Says what has happened before a delivery goes on to what may end the process: the default
    /// action, or the handler at this address. Runs inside the handler as well.
    pub farewell: fn(&Delivery<'_>, Option<usize>),
    /// Whether the seat on top is kept when a predecessor answers a delivery by writing SIG_DFL and
    /// returning, as Rust's std and crash reporters do for the instruction to fault again: then
    /// what comes next is the default action.
    pub stays: bool,
    /// The row that was counted last as one that somebody else has written; 0 once it is ours.
    noticed: AtomicUsize,
}

impl Owner {
    pub(crate) const fn new(
        signal: c_int,
        decide: fn(&Delivery<'_>) -> Verdict,
        farewell: fn(&Delivery<'_>, Option<usize>),
        stays: bool,
    ) -> Self {
        Self { signal, decide, farewell, stays, noticed: AtomicUsize::new(0) }
    }

    /// Counts that somebody else has written our row, once until it is ours again, whoever sees it
    /// first. Relaxed: nothing else is read because of it.
    pub(super) fn count(&self, row: &Disposition) {
        let key = row.handler.wrapping_add(2);
        if self.noticed.swap(key, Ordering::Relaxed) != key {
            counters::OVERWRITTEN.add();
        }
    }

    /// Our row is what we had written.
    pub(super) fn is_ours_again(&self) {
        self.noticed.store(0, Ordering::Relaxed);
    }
}

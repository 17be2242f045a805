//! Whether faults are looked after at all.

use std::sync::atomic::{AtomicBool, Ordering};

/// The seat was asked for and not left.
pub(super) static GUARDING: AtomicBool = AtomicBool::new(false);

/// Whether the seat was asked for and not left. Signal-safe.
pub(crate) fn is_guarding() -> bool {
    GUARDING.load(Ordering::Acquire)
}

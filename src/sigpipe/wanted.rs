//! What the program wants done with SIGPIPE: read in the handler, set by the policy.

use std::sync::atomic::{AtomicU8, Ordering};

/// One of these.
pub(super) static POLICY: AtomicU8 = AtomicU8::new(NOTHING);
pub(super) const NOTHING: u8 = 0;
pub(super) const FILTER: u8 = 1;
pub(super) const IGNORE: u8 = 2;
/// A seat that lets everything pass, for last words.
pub(super) const EXPLAIN: u8 = 3;

/// Whether the seat is there for last words alone. Signal-safe.
pub(super) fn only_explains() -> bool {
    POLICY.load(Ordering::Relaxed) == EXPLAIN
}

//! The protocol between handlers at work and a map that is being taken away.
//!
//! | handler | closing |
//! |---|---|
//! | looks the slot up | takes the slot out of the table |
//! | pins it | |
//! | *fence* | *fence* |
//! | looks it up again: still there? | waits until nobody pins it |
//! | works, unpins | unmaps, uses the slot again |
//!
//! The fences make it impossible that both look too early: either the handler finds the slot gone,
//! or closing sees the pin. Without the wait a patch would land in memory that belongs to somebody
//! else by then. `model.rs` walks through the orders.

use super::super::sync::{Ordering, fence};
use super::wiped::Wiped;

/// A slot that cannot be taken away while this lives.
pub(crate) struct Pinned<'a, S> {
    pub(crate) slot: &'a S,
    wiped: &'a Wiped,
}

/// How often a look-up that another registration overtakes is done again.
const ATTEMPTS: usize = 4;

/// Pins what `find` finds. Signal-safe, bounded.
pub(crate) fn pin<'a, S>(
    find: impl Fn() -> Option<&'a S>,
    wiped: impl Fn(&'a S) -> &'a Wiped,
) -> Option<Pinned<'a, S>> {
    for _ in 0..ATTEMPTS {
        let slot = find()?;
        let wiped = wiped(slot);
        wiped.pins.fetch_add(1, Ordering::Relaxed);
        let pinned = Pinned { slot, wiped };
        // Pairs with the fence in `is_unpinned`.
        fence(Ordering::SeqCst);
        if find().is_some_and(|again| std::ptr::eq(again, slot)) {
            return Some(pinned);
        }
    }
    None
}

impl<S> Drop for Pinned<'_, S> {
    fn drop(&mut self) {
        // Release: what this handler did comes before the unmapping.
        self.wiped.pins.fetch_sub(1, Ordering::Release);
    }
}

/// Whether no handler is at work on a slot that has been taken out of the table. Once it says so it
/// stays so.
pub(crate) fn is_unpinned(wiped: &Wiped) -> bool {
    // Pairs with the fence in `pin`.
    fence(Ordering::SeqCst);
    wiped.pins.load(Ordering::Acquire) == 0
}

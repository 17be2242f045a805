//! Ends circles that go through raise(3): a predecessor that answers a signal by putting another
//! handler back and raising the signal again (CPython's faulthandler does) may come to us again, in
//! a new delivery on top of the unfinished one, with a siginfo that carries no marks.
//!
//! For signals of that kind (`SI_TKILL` from our own process), and for those where marks have no
//! place, as without a siginfo, each thread's unfinished visits to an entry point are counted. A
//! visit that was left by longjmp is none: the code that is interrupted now has its stack pointer
//! above that visit's frame, or on another stack. Where neither shows (a handler that jumps, from
//! deeper and deeper calls with frames larger than a signal's) nobody can tell it from a circle,
//! and no number of visits does. But a circle never ends by itself: it is cut where the stack would
//! not hold another level, which is where a host that goes ever deeper ends as well.

use super::delivery::{Delivery, SI_TKILL};
use super::trace;
use crate::sys::process::thread_id;
use crate::sys::wiped::{self, Visits};
use std::sync::atomic::Ordering;

/// At this many unfinished visits a circle is cut on any stack, however large: each takes 2 to 5
/// KiB.
const LIMIT: u32 = 1 << 14;
/// The same where marks have no place: one delivery that comes by again cannot be told from frames
/// that were left.
const LIMIT_WITHOUT_MARKS: u32 = 64;

/// An unfinished visit; finished when dropped.
pub(super) struct Level(Option<Unfinished>);

struct Unfinished {
    visits: &'static Visits,
    key: u64,
    before: (usize, u32),
}

impl Drop for Level {
    fn drop(&mut self) {
        let Some(Unfinished { visits, key, before: (newest, count) }) = self.0 else { return };
        // A thread too many may have taken the place.
        if visits.key.load(Ordering::Relaxed) == key {
            visits.newest.store(newest, Ordering::Relaxed);
            visits.count.store(count, Ordering::Relaxed);
            if count == 0 {
                visits.key.store(0, Ordering::Release);
            }
        }
    }
}

/// Whether going on to the predecessor of entry `index` would close a circle, where the visit
/// cannot be noted: there is no stack for what comes after it.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn is_circle(delivery: &Delivery<'_>, index: usize) -> bool {
    let Some(all) = followed(delivery) else { return false };
    let visits = place_of(all, key_of(index));
    visits.count.load(Ordering::Relaxed) > 0
        && is_unfinished(delivery, visits.newest.load(Ordering::Relaxed), delivery.stack)
}

/// Whether a delivery can be one of such a circle.
pub(super) fn is_unmarked(delivery: &Delivery<'_>) -> bool {
    let raised = || {
        delivery.code() == Some(SI_TKILL) && delivery.sender().is_some_and(wiped::is_own_process)
    };
    delivery.is_unsigned() || !trace::has_room(delivery.info) || raised()
}

fn followed(delivery: &Delivery<'_>) -> Option<&'static [Visits]> {
    wiped::existing().filter(|_| is_unmarked(delivery)).map(|words| &words.visits[..])
}

fn key_of(index: usize) -> u64 {
    u64::from(thread_id()) << 5 | index as u64 | 1 << 4
}

/// Notes that this thread goes on to the predecessor of entry `index`. None: it is a circle.
pub(super) fn enter(delivery: &Delivery<'_>, index: usize) -> Option<Level> {
    let Some(all) = followed(delivery) else { return Some(Level(None)) };
    let key = key_of(index);
    let visits = place_of(all, key);
    let here = std::ptr::from_ref(&key).addr();
    let before = (visits.newest.load(Ordering::Relaxed), visits.count.load(Ordering::Relaxed));
    let before = if is_unfinished(delivery, before.0, here) { before } else { (0, 0) };
    let (newest, count) = before;
    let limit = if trace::has_room(delivery.info) { LIMIT } else { LIMIT_WITHOUT_MARKS };
    if count >= limit || count > 0 && !has_room(delivery, here, newest.saturating_sub(here)) {
        return None;
    }
    visits.newest.store(here, Ordering::Relaxed);
    visits.count.store(count + 1, Ordering::Relaxed);
    Some(Level(Some(Unfinished { visits, key, before })))
}

/// Whether a visit with its frame there lies beneath the code that this delivery has interrupted.
fn is_unfinished(delivery: &Delivery<'_>, frame: usize, here: usize) -> bool {
    // Without marks it is passed on by a handler above, perhaps for the second time: one delivery
    // comes by again.
    let again = !trace::has_room(delivery.info);
    let interrupted = delivery.interrupted_stack().filter(|_| !again).unwrap_or(here);
    let on_signal_stack =
        |address| delivery.signal_stack().is_some_and(|stack| stack.contains(&address));
    frame > interrupted && on_signal_stack(frame) == on_signal_stack(interrupted)
}

/// Whether another level that takes as much as the last one fits on the stack.
fn has_room(delivery: &Delivery<'_>, here: usize, level: usize) -> bool {
    const REST: usize = 2048;
    match delivery.signal_stack().filter(|stack| stack.contains(&here)) {
        Some(stack) => here - stack.start >= level + REST,
        None => super::arrival::goes_on_below(here, level + 4 * REST),
    }
}

/// This thread's place for the entry: its own, a free one, or one that it takes from somebody else:
/// a thread that jumped out of a handler and ended never gives its own back.
fn place_of(all: &'static [Visits], key: u64) -> &'static Visits {
    if let Some(mine) = all.iter().find(|visits| visits.key.load(Ordering::Acquire) == key) {
        return mine;
    }
    let free = all.iter().find(|visits| {
        visits.key.compare_exchange(0, key, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    });
    let place = free.unwrap_or(&all[key as usize / 32 % all.len()]);
    place.key.store(key, Ordering::Release);
    place.newest.store(0, Ordering::Relaxed);
    place.count.store(0, Ordering::Relaxed);
    place
}

//! The same thread at the same instruction with the same registers, again and again: running it
//! once more will not help.
//!
//! What the kernel answers when it is asked for a page, and what it does when an instruction wants
//! the page, can differ: the access is of a kind that nobody knows, or a file system promises what
//! it does not keep. Then every look says that all is well, and every run of the instruction is
//! another signal. A reader that makes progress between two faults has other registers, or takes
//! longer.

use super::Met;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many times in a row are no accident.
const TIMES: u64 = 64;
/// A fault that comes later than this after the one before is another story, in nanoseconds.
const SOON: u64 = 10_000_000;

/// What one thread, or those that share its place, met last. Two that come in between each other
/// begin anew, each time.
struct Last {
    met: AtomicU64,
    time: AtomicU64,
    times: AtomicU64,
}

static LAST: [Last; 64] =
    [const { Last { met: AtomicU64::new(0), time: AtomicU64::new(0), times: AtomicU64::new(0) } };
        64];

/// Whether this fault has been answered by "all is well" too often. Signal-safe.
#[inline(never)]
pub(crate) fn is_stuck(met: &Met<'_>) -> bool {
    let Some(last) = LAST.get(met.thread as usize % LAST.len()) else { return false };
    let (this, now) =
        (sum(met) ^ (met.fault.address as u64).rotate_left(32) ^ u64::from(met.thread), now());
    let soon = now.wrapping_sub(last.time.swap(now, Ordering::Relaxed)) < SOON;
    if last.met.swap(this, Ordering::Relaxed) != this || !soon {
        last.times.store(0, Ordering::Relaxed);
        return false;
    }
    last.times.fetch_add(1, Ordering::Relaxed) >= TIMES
}

/// Of the interrupted code's registers.
fn sum(met: &Met<'_>) -> u64 {
    let registers = met.delivery.general();
    let add = |sum: u64, register: &usize| sum.rotate_left(7).wrapping_mul(31) ^ *register as u64;
    registers.iter().flatten().fold(met.fault.pc as u64, add)
}

fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: room for one struct; clock_gettime(2) is signal-safe.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

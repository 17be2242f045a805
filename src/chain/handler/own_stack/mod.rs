//! Where a handler runs that may have no stack left: on a stack of our own.
//!
//! The kernel asks an alternate stack only for room for its own frame. What lies below belongs to
//! somebody else, and other handlers of the host may have to fit there as well. So an entry point
//! looks at how much is left, in registers alone, before it makes any frame. Where that is little,
//! it blocks all signals, takes one of a few stacks that are kept for this, and decides there. So
//! nothing of ours is on the host's stack while anything else can run.
//!
//! ```text
//!   entry ─▶ enough left? ──yes──▶ deliver, on the stack that is there
//!               no ▼
//!            block all signals ─▶ take a stack ─▶ decide ─▶ give it back ─▶ return
//!                                                               └─▶ mask opened ─▶ the predecessor
//! ```
//!
//! The predecessor is jumped to, with the stack pointer that the kernel gave us: it has all the
//! stack that it would have had without us. The mask that it runs with is passed to the kernel in
//! the context's `uc_link`, which the kernel clears and never reads. Where something is to be done
//! after it has returned (`stays`, `nesting`), it is called instead, if there is room for that.
//!
//! A thread's own stack ends where it ends, and nobody says where. Whether the next pages below are
//! there is asked of the kernel.

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
mod processor;

use super::predecessor::{base_action, next, stays};
use super::trace::{self, Visit};
use super::{Arrival, Delivery, decide, deliver, nesting, pass_on};
use crate::chain::disposition::{Disposition, Kind};
use crate::chain::entry::entry;
use crate::observe::{counters, without_events};
use crate::sys::mask::Mask;
use crate::sys::wiped::{STACKS, WORDS, Words};
use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::mem::offset_of;

pub(in crate::chain) use processor::arrive;

/// With less than this left of an alternate stack a handler of ours runs on a stack of its own. It
/// is far more than ours takes: the rest is for handlers that interrupt it.
const LEAST: usize = 24 << 10;
/// Without events the handler makes no system call where it can: there only what it needs itself
/// counts.
const LEAST_WITHOUT_EVENTS: usize = if cfg!(debug_assertions) { 4096 } else { 1536 };
/// What ours takes at most. Where all stacks of its own are in use, it runs on what is left if that
/// is as much.
const ENOUGH: usize = if cfg!(debug_assertions) { 12 << 10 } else { 6 << 10 };
/// What it takes to call a predecessor rather than jump to it.
const CALL: usize = if cfg!(debug_assertions) { 4096 } else { 1536 };

/// As much as ours takes, twice.
const SIZE: usize = 16 << 10;

/// Half of the stacks are for SIGPIPE, half for faults, whose handlers may wait for a file system.
const HALF: usize = STACKS / 2;

/// How often a handler waits a millisecond for a stack. Then a fault runs again; a SIGPIPE ends
/// there.
const TRIES: usize = 1000;

#[repr(C, align(64))]
struct Memory(UnsafeCell<[u8; STACKS * SIZE]>);

// SAFETY: each part is used by the one thread that has taken its word.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([0; STACKS * SIZE]));

/// All signals, for rt_sigprocmask(2).
static ALL: u64 = u64::MAX;

/// What the decision on a stack of its own comes to. On the way in: what the processor's part knows
/// besides.
#[repr(C)]
struct Onward {
    /// Where to go on; 0: nowhere, the delivery ends.
    to: usize,
    /// The mask to go on with. In: the mask at entry, if a handler above has called.
    mask: u64,
    /// The fifth argument.
    index: usize,
    /// The second argument. In: where the entry point returns to.
    info: *mut libc::siginfo_t,
    /// The third argument. In: the frame record's address.
    context: *mut c_void,
}

/// The fifth argument of [`carry_on`]: the siginfo is not filled.
const UNFILLED: usize = 1 << 8;

/// Decides one delivery on a stack of its own.
///
/// # Safety
/// `onward` is room that only this call uses, with what came in. The others are as for
/// [`Arrival::of`].
unsafe extern "C" fn on_own_stack(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
    stack: usize,
    index: usize,
    onward: *mut Onward,
) {
    // SAFETY: by this function's contract.
    let onward = unsafe { &mut *onward };
    let mut arrival = processor::arrival(signal, info, context, stack, onward);
    if !arrival.by_kernel {
        arrival.called_with = Some(Mask::of_bits(onward.mask));
    }
    onward.to = 0;
    // SAFETY: the kernel's frame, or pointers of which no more is left than can be read.
    unsafe { decide(index, arrival, |delivery| go_on(index, delivery, onward)) }
    if onward.to == 0 {
        trace::end(arrival.info, arrival.by_kernel);
    } else if arrival.by_kernel {
        trace::hand_on(arrival.info);
    }
}

/// Says where a delivery goes on that belongs to the predecessor.
#[inline(never)]
fn go_on(index: usize, delivery: &Delivery<'_>, onward: &mut Onward) {
    (onward.info, onward.context, onward.index) = (delivery.info, delivery.context, index);
    let calls = matches!(delivery.predecessor.kind(), Kind::Handler { .. });
    let followed = nesting::is_unmarked(delivery) || entry(index).is_some_and(stays);
    if calls && followed && left(delivery) >= CALL {
        onward.to = carry_on as *const () as usize;
        onward.mask = delivery.called_with.map_or(u64::MAX, Mask::bits);
        onward.index |= if delivery.filled { 0 } else { UNFILLED };
        return;
    }
    let circle = nesting::is_circle(delivery, index);
    let next = match trace::visit(delivery.info, index) {
        Visit::First if !circle => {
            counters::CHAINED.add();
            next(index, delivery.predecessor, delivery)
        }
        Visit::Spent => return counters::CYCLES_CUT.add(),
        Visit::First | Visit::Second => {
            counters::CYCLES_CUT.add();
            let last = Disposition::default_action();
            base_action(delivery.signal, index).and_then(|(owner, base)| {
                let again = circle && matches!(base.kind(), Kind::Handler { .. });
                super::predecessor::next(owner, if again { &last } else { base }, delivery)
            })
        }
    };
    if let Some(next) = next {
        (onward.to, onward.mask) = (next.address, next.mask.bits());
    }
}

/// How much of the alternate stack is left at the entry; nothing is known to be of another one.
fn left(delivery: &Delivery<'_>) -> usize {
    let stack = delivery.stack;
    delivery.signal_stack().filter(|all| all.contains(&stack)).map_or(0, |all| stack - all.start)
}

/// Calls the predecessor, and does what is to be done when it has returned. Back on the stack of
/// the entry.
///
/// # Safety
/// As a handler of the chain, with what [`go_on`] has said.
unsafe extern "C" fn carry_on(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
    stack: usize,
    index: usize,
) {
    let filled = index & UNFILLED == 0;
    let index = index & !UNFILLED;
    let Some(seat) = entry(index) else { return };
    let Some(predecessor) = seat.predecessor() else { return };
    let arrival =
        Arrival { signal, info, context, by_kernel: false, filled, called_with: None, stack };
    let errno = super::Errno::save();
    pass_on(index, &Delivery::new(index, seat.is_active(), predecessor, &arrival));
    errno.restore();
}

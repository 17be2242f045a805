//! Calling a predecessor as the kernel would have called it.

use super::Delivery;
use super::default_action::default_action;
use super::farewell::farewell;
use crate::chain::disposition::{Disposition, Kind};
use crate::chain::entry::{Entry, entries_for, entry};
use crate::chain::row::disposition_of;
use crate::sys::mask::{self, Mask};
use crate::sys::wiped::is_guest;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;

/// A handler that comes next, and what is blocked while it runs.
pub(super) struct Next {
    pub(super) address: usize,
    siginfo: bool,
    pub(super) mask: Mask,
}

/// Does what the kernel would do with `disposition`, the predecessor of entry `owner`.
pub(super) fn run(owner: usize, disposition: &Disposition, delivery: &Delivery<'_>) {
    let Some(next) = next(owner, disposition, delivery) else { return };
    let before = next.mask.exchange();
    // SAFETY: the address came out of the kernel's table, as the handler of this signal.
    unsafe { call(next.address, next.siginfo, delivery) };
    before.restore();
    if let Some(seat) = entry(owner).filter(|seat| stays(seat)) {
        stay(owner, seat, delivery);
    }
}

/// Does what the kernel would do with `disposition`, the predecessor of entry `owner`, but for
/// calling a handler.
pub(super) fn next(
    owner: usize,
    disposition: &Disposition,
    delivery: &Delivery<'_>,
) -> Option<Next> {
    match disposition.kind() {
        Kind::Default => default_action(delivery),
        // The kernel ends a process that ignores a fault (`force_sig_info_to_task`,
        // kernel/signal.c): returning would only run the instruction again.
        Kind::Ignore if delivery.is_fault() => default_action(delivery),
        Kind::Ignore => {}
        Kind::Handler { address, siginfo } => {
            let given_up = entry(owner).is_some_and(Entry::has_given_up_predecessor);
            let once = disposition.flags & libc::SA_RESETHAND != 0;
            // With SA_RESETHAND it had its one call: the kernel would have put SIG_DFL back before
            // that call.
            if !given_up && (!once || has_its_call(owner, delivery.signal)) {
                // Whoever aborts seldom goes on from a handler.
                if delivery.is_fault() || delivery.signal == libc::SIGABRT {
                    farewell(delivery, Some(address));
                }
                return Some(Next { address, siginfo, mask: mask_during(disposition, delivery) });
            }
            default_action(delivery);
        }
    }
    None
}

/// Whether a predecessor with `SA_RESETHAND` has its one call still. A child that shares memory
/// marks nothing there, which is its parent's: the kernel's row in the child says it.
#[cold]
fn has_its_call(owner: usize, signal: c_int) -> bool {
    if is_guest() {
        return Disposition::default_action().write(signal).is_ok();
    }
    entry(owner).is_some_and(Entry::spend)
}

/// Whether a predecessor is looked after when it has returned: it may have written SIG_DFL.
pub(super) fn stays(seat: &Entry) -> bool {
    seat.is_active() && seat.owner().is_some_and(|owner| owner.stays)
}

/// Takes the seat back where the predecessor has written SIG_DFL and its owner stays: that
/// predecessor is done, the default action comes next.
#[inline(never)]
fn stay(owner: usize, seat: &Entry, delivery: &Delivery<'_>) {
    let default = Disposition::read(delivery.signal).is_ok_and(|top| top.kind() == Kind::Default);
    // The seat of a child that shares memory is its parent's as well: there SIG_DFL may stand.
    if !default || is_guest() {
        return;
    }
    if let Some(predecessor) = seat.predecessor() {
        seat.give_up_predecessor();
        let ours = disposition_of(delivery.signal, owner, predecessor);
        // Refused or overtaken: then things are as they would be without us.
        let _ = ours.write(delivery.signal);
    }
}

/// Where a circle that closed through entry `index` ends: the predecessor that was recorded before
/// that entry was taken, the oldest one of the signal for the oldest entry. The entry that it
/// belongs to as well.
pub(super) fn base_action(signal: c_int, index: usize) -> Option<(usize, &'static Disposition)> {
    let recorded = |(index, entry): (usize, &'static Entry)| Some((index, entry.predecessor()?));
    let before =
        entries_for(signal).take_while(|(other, _)| *other < index).filter_map(recorded).last();
    before.or_else(|| entries_for(signal).find_map(recorded))
}

/// # Safety
/// `address` is that of a handler with three arguments if `siginfo`, else with one.
unsafe fn call(address: usize, siginfo: bool, delivery: &Delivery<'_>) {
    type Plain = unsafe extern "C" fn(c_int);
    type Full = unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
    if siginfo {
        // SAFETY: by this function's contract.
        let handler = unsafe { std::mem::transmute::<usize, Full>(address) };
        // It was given a siginfo by the kernel always: one that says nothing is better than none.
        let mut nothing = MaybeUninit::<libc::siginfo_t>::zeroed();
        let info = if delivery.info.is_null() {
            // SAFETY: all fields are numbers: zero is a value of each.
            unsafe { nothing.assume_init_mut() }.si_signo = delivery.signal;
            nothing.as_mut_ptr()
        } else {
            delivery.info
        };
        // SAFETY: the arguments that we were called with, as far as there were any.
        unsafe { handler(delivery.signal, info, delivery.context) }
    } else {
        // SAFETY: by this function's contract.
        let handler = unsafe { std::mem::transmute::<usize, Plain>(address) };
        // SAFETY: as above.
        unsafe { handler(delivery.signal) }
    }
}

/// What the kernel would have blocked for this predecessor: its `sa_mask` and, without
/// `SA_NODEFER`, the signal itself; with it, the signal stays open.
fn mask_during(predecessor: &Disposition, delivery: &Delivery<'_>) -> Mask {
    let block = Mask::of(&predecessor.mask);
    let deferred = predecessor.flags & libc::SA_NODEFER == 0;
    let block = if deferred { block.with(delivery.signal) } else { block.without(delivery.signal) };
    // What was blocked before the signal came: our own entry point may have blocked more than the
    // predecessor wants.
    if !delivery.context.is_null() {
        // SAFETY: the context of this delivery.
        let saved = unsafe { mask::in_context(delivery.context) };
        // With SA_NODEFER as well: it was delivered, so it was open. SAFETY: a field of it.
        return block.and(Mask::of(unsafe { &*saved }));
    }
    let mask = block.and(delivery.called_with.unwrap_or_else(Mask::now));
    if deferred { mask } else { mask.without(delivery.signal) }
}

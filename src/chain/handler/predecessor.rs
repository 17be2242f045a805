//! Calling a predecessor as the kernel would have called it.

use super::Delivery;
use super::default_action::default_action;
use crate::chain::disposition::{Disposition, Kind};
use crate::chain::entry::{Entry, entries_for, entry};
use crate::chain::seat::disposition_of;
use crate::sys::mask::Mask;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;

/// Does what the kernel would do with `disposition`, the predecessor of entry `owner`.
pub(super) fn run(owner: usize, disposition: &Disposition, delivery: &Delivery<'_>) {
    match disposition.kind() {
        Kind::Default => default_action(delivery.signal, delivery.info, delivery.context),
        // The kernel ends a process that ignores a fault (`force_sig_info_to_task`, kernel/signal.c): returning would only
        // run the instruction again.
        Kind::Ignore if delivery.is_fault() => {
            default_action(delivery.signal, delivery.info, delivery.context);
        }
        Kind::Ignore => {}
        Kind::Handler { address, siginfo } => {
            if entry(owner).is_some_and(Entry::has_given_up_predecessor) {
                return default_action(delivery.signal, delivery.info, delivery.context);
            }
            let once = disposition.flags & libc::SA_RESETHAND != 0;
            if once && !entry(owner).is_some_and(Entry::spend) {
                // It had its one call: the kernel would have put SIG_DFL back before that call.
                return default_action(delivery.signal, delivery.info, delivery.context);
            }
            let mask = mask_during(disposition, delivery);
            // SAFETY: the address came out of the kernel's table, as the handler of this signal.
            unsafe { call(address, siginfo, delivery) };
            mask.restore();
            let watched = entry(owner).filter(|seat| seat.watch().is_some_and(|watch| watch.stays));
            if let Some(seat) = watched.filter(|seat| seat.is_active()) {
                stay(owner, seat, delivery);
            }
        }
    }
}

/// Takes the seat back where the predecessor has written SIG_DFL and its watch stays: that predecessor is done, the
/// default action comes next.
#[inline(never)]
fn stay(owner: usize, seat: &Entry, delivery: &Delivery<'_>) {
    let default = Disposition::read(delivery.signal).is_ok_and(|top| top.kind() == Kind::Default);
    if !default {
        return;
    }
    if let Some(predecessor) = seat.predecessor() {
        seat.give_up_predecessor();
        let ours = disposition_of(delivery.signal, owner, predecessor);
        // Refused or overtaken: then things are as they would be without us.
        let _ = ours.write(delivery.signal);
    }
}

/// Where a circle that closed through entry `index` ends: the predecessor that was recorded before that
/// entry was taken, the oldest one of the signal for the oldest entry. The entry that it belongs to as well.
pub(super) fn base_action(signal: c_int, index: usize) -> Option<(usize, &'static Disposition)> {
    let recorded = |(index, entry): (usize, &'static Entry)| Some((index, entry.predecessor()?));
    let before = entries_for(signal).take_while(|(other, _)| *other < index).filter_map(recorded).last();
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

/// Blocks what the kernel would have blocked for this predecessor: its `sa_mask` and, without `SA_NODEFER`, the signal
/// itself; with it, the signal stays open. Returns the mask before.
fn mask_during(predecessor: &Disposition, delivery: &Delivery<'_>) -> Mask {
    let block = Mask::of(&predecessor.mask);
    let deferred = predecessor.flags & libc::SA_NODEFER == 0;
    let block = if deferred { block.with(delivery.signal) } else { block.without(delivery.signal) };
    // What was blocked before the signal came: our own entry point may have blocked more than the predecessor wants.
    // SAFETY: null, or the context of this delivery.
    let context = unsafe { delivery.context.cast::<libc::ucontext_t>().as_ref() };
    let before = match context {
        // With SA_NODEFER as well: it was delivered, so it was open.
        Some(context) => block.and(Mask::of(&context.uc_sigmask)).exchange(),
        None => block.block_these(),
    };
    if context.is_none() && !deferred {
        Mask::unblock(delivery.signal);
    }
    before
}

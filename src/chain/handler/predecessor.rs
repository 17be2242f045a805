//! Calling a predecessor as the kernel would have called it.

use super::Delivery;
use super::default_action::default_action;
use crate::chain::disposition::{Disposition, Kind};
use crate::chain::entry::{Entry, entries_for, entry};
use crate::chain::seat::disposition_of;
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
            let mask = Mask::during(disposition, delivery);
            // SAFETY: the address came out of the kernel's table, as the handler of this signal.
            unsafe { call(address, siginfo, delivery) };
            mask.restore();
            stay(owner, delivery);
        }
    }
}

/// Takes the seat back where the predecessor has written SIG_DFL and its watch stays: that predecessor is done, the
/// default action comes next.
fn stay(owner: usize, delivery: &Delivery<'_>) {
    let Some(seat) =
        entry(owner).filter(|seat| seat.is_active() && seat.watch().is_some_and(|watch| watch.stays))
    else {
        return;
    };
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

/// The signal mask as it was before the predecessor ran.
struct Mask(libc::sigset_t);

impl Mask {
    /// Blocks what the kernel would have blocked for this predecessor: its `sa_mask` and, without
    /// `SA_NODEFER`, the signal itself; with it, the signal stays open.
    fn during(predecessor: &Disposition, delivery: &Delivery<'_>) -> Self {
        let mut block = predecessor.mask;
        let deferred = predecessor.flags & libc::SA_NODEFER == 0;
        if deferred {
            // SAFETY: `block` is an initialised set and the signal a valid number.
            unsafe { libc::sigaddset(&raw mut block, delivery.signal) };
        }
        let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
        // What was blocked before the signal came: our own entry point may have blocked more than the predecessor wants.
        // SAFETY: null, or the context of this delivery.
        let context = unsafe { delivery.context.cast::<libc::ucontext_t>().as_ref() };
        let how = if let Some(context) = context {
            for signal in 1..=64 {
                // SAFETY: an initialised set and a valid number.
                if unsafe { libc::sigismember(&raw const context.uc_sigmask, signal) } == 1 {
                    // SAFETY: as above.
                    unsafe { libc::sigaddset(&raw mut block, signal) };
                }
            }
            libc::SIG_SETMASK
        } else {
            libc::SIG_BLOCK
        };
        // SAFETY: both point to sets; the call cannot fail with a valid `how`.
        unsafe { libc::pthread_sigmask(how, &raw const block, before.as_mut_ptr()) };
        // SAFETY: zeroed, then filled by the call.
        let before = unsafe { before.assume_init() };
        if !deferred {
            // It was delivered, so it was open.
            let mut open = crate::chain::disposition::empty_set();
            // SAFETY: an initialised set and a valid number.
            unsafe { libc::sigaddset(&raw mut open, delivery.signal) };
            // SAFETY: `open` is a set; no old mask is asked for.
            unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const open, std::ptr::null_mut()) };
        }
        Self(before)
    }

    fn restore(self) {
        // SAFETY: the set came from `pthread_sigmask`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

//! One SIGBUS inside the handler: a fault in a checked copy, in a guarded map, or somebody else's.
//!
//! ```text
//!   fault? ─▶ checked copy? ─▶ look up ─▶ pin ─▶ look up again ─▶ cause ─▶ poison ─▶ patch once ─▶ unpin ─▶ run again
//!     no ▼                no ▼                                      no progress ▼
//!     └────────────────────── the predecessor gets it as the kernel would have given it ──────┘
//! ```

pub(super) mod area;
pub(super) mod backing;
mod cause;
mod describe;
mod patch;
pub(super) mod present;

use super::registry::pin::pin;
use super::registry::{Slot, find};
use super::{copy, spare};
use crate::chain::{Delivery, Fault, Verdict};
use crate::observe::counters;
use std::ffi::c_int;
use std::mem::MaybeUninit;

/// `BUS_ADRERR`: no such address, the file ends before it. Others are for alignment and for news that can wait.
const ADDRESS: c_int = 2;
/// `BUS_OBJERR`: an object's own error.
const OBJECT: c_int = 3;
/// `BUS_MCEERR_AR`: the memory is damaged, action required.
const MEMORY: c_int = 4;

/// The decision for one delivery.
pub(super) fn decide(delivery: &Delivery<'_>) -> Verdict {
    let Some(fault) = delivery.fault().filter(|_| delivery.active) else {
        return Verdict::PassOn;
    };
    let ours = copy::fixup(delivery, &fault) || settle(&fault);
    if !ours {
        return Verdict::PassOn;
    }
    counters::FAULTS.add();
    Verdict::Swallow
}

/// Makes the faulting instruction go on, if a guarded map lost what it wants.
fn settle(fault: &Fault) -> bool {
    if !matches!(fault.code, ADDRESS | OBJECT | MEMORY) {
        return false;
    }
    let Some(pinned) = pin(|| find(fault.address), Slot::wiped) else {
        return false;
    };
    let slot = pinned.slot;
    if slot.facts().retired {
        // Since this fault zeros have come there.
        return true;
    }
    let signals = AllSignals::block();
    let settled = match slot.wiped().try_lock() {
        Some(lock) => patch::settle(slot, fault, &lock),
        // Another thread is at it. Running the instruction again either finds its patch or comes back here.
        None => give_way(),
    };
    signals.restore();
    settled
}

/// Runs `work` on a slot while no handler is at work on it. Not for handlers.
pub(super) fn quietly<T>(slot: &Slot, work: impl FnOnce() -> T) -> T {
    let signals = AllSignals::block();
    let lock = loop {
        match slot.wiped().try_lock() {
            Some(lock) => break lock,
            None => std::thread::yield_now(),
        }
    };
    let done = work();
    drop(lock);
    signals.restore();
    done
}

#[cfg(target_os = "linux")]
fn give_way() -> bool {
    // SAFETY: no arguments.
    unsafe { libc::syscall(libc::SYS_sched_yield) };
    true
}

#[cfg(not(target_os = "linux"))]
fn give_way() -> bool {
    true
}

/// All signals blocked: a handler that interrupted this one and met the same map would wait for its lock for ever.
struct AllSignals(libc::sigset_t);

impl AllSignals {
    fn block() -> Self {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: room for a set.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        // SAFETY: a filled set, and room for the old one.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
        // SAFETY: zeroed, then filled by the call.
        Self(unsafe { before.assume_init() })
    }

    fn restore(self) {
        // SAFETY: the set came from `pthread_sigmask`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

//! One SIGBUS inside the handler: a fault in a checked copy, in a guarded map, or somebody else's.
//!
//! ```text
//!   fault? ─▶ checked copy? ─▶ look up ─▶ pin ─▶ look up again ─▶ cause ─▶ poison ─▶ patch
//!     no ▼                       no ▼                           no progress ▼             ▼
//!     └──────── the predecessor gets it as the kernel would have given it ──┘    unpin, run again
//! ```

#[cfg(target_os = "linux")]
mod access;
pub(crate) mod cause;
pub(crate) mod describe;
mod patch;
pub(crate) mod present;
pub(crate) mod progress;
#[cfg(target_os = "linux")]
mod words;
pub(crate) mod zeros;

use super::registry::pin::pin;
use super::registry::{Slot, find};
use super::{adopted, copy, spare};
#[cfg(not(target_os = "linux"))]
pub(super) use crate::chain::no_farewell as farewell;
use crate::chain::{Delivery, Fault, Verdict};
use crate::observe::counters;
use crate::sys::mask::Mask;
use crate::sys::process::thread_id;
use progress::is_stuck;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(target_os = "linux")]
pub(super) use words::farewell;

/// `BUS_ADRERR`: no such address, the file ends before it. Others are for alignment and for news
/// that can wait.
const ADDRESS: c_int = 2;
/// `BUS_OBJERR`: an object's own error.
const OBJECT: c_int = 3;
/// `BUS_MCEERR_AR`: the memory is damaged, action required.
pub(crate) const MEMORY: c_int = 4;

/// Whether a SIGSEGV of the checked copy ends it. Without this the seat for SIGSEGV is there for
/// last words alone.
pub(super) static COPY_ENDS_SEGV: AtomicBool = AtomicBool::new(false);

/// The decision for a SIGSEGV: what is not the copy's is none of ours.
pub(super) fn decide_segv(delivery: &Delivery<'_>) -> Verdict {
    let asked = delivery.active && COPY_ENDS_SEGV.load(Ordering::Acquire);
    let ours = asked && delivery.fault().is_some_and(|fault| copy::fixup(delivery, &fault));
    if ours { Verdict::Swallow } else { Verdict::PassOn }
}

/// The decision for one delivery.
pub(crate) fn decide(delivery: &Delivery<'_>) -> Verdict {
    let Some(fault) = delivery.fault().filter(|_| delivery.active) else {
        return Verdict::PassOn;
    };
    let ours = copy::fixup(delivery, &fault) || settle(delivery, &fault);
    if !ours {
        return Verdict::PassOn;
    }
    counters::FAULTS.add();
    Verdict::Swallow
}

/// Makes the faulting instruction go on, if a guarded map lost what it wants.
///
/// All signals are blocked before the map is pinned and let in after the pin is given back. So no
/// handler that stands above ours, or interrupts it, can end this thread, jump out of it, fork or
/// meet the same map while there is something to give back.
fn settle(delivery: &Delivery<'_>, fault: &Fault) -> bool {
    let known = || find(fault.address).is_some() || adopted::is_any();
    if !matches!(fault.code, ADDRESS | OBJECT | MEMORY) || !known() {
        return false;
    }
    let signals = Mask::block_all();
    let met = Met::new(delivery, fault);
    let settled = match pin(|| find(fault.address), Slot::wiped) {
        Some(pinned) => settle_pinned(pinned.slot, &met),
        None => adopted::settle(&met),
    };
    signals.restore();
    settled
}

#[inline(never)]
fn settle_pinned(slot: &Slot, met: &Met<'_>) -> bool {
    if slot.facts().retired {
        // Since this fault zeros have come there.
        return !is_stuck(met);
    }
    match slot.wiped().wait_to_patch(met.thread) {
        Some(lock) => patch::settle(slot, met, &lock),
        // Another thread has been at it for long: its file system does not answer. Running the
        // instruction again either finds its patch or comes back here.
        None => true,
    }
}

/// A fault, and who met it.
pub(crate) struct Met<'a> {
    delivery: &'a Delivery<'a>,
    pub(crate) fault: &'a Fault,
    /// The thread's id.
    pub(crate) thread: u32,
}

impl<'a> Met<'a> {
    fn new(delivery: &'a Delivery<'a>, fault: &'a Fault) -> Self {
        Self { delivery, fault, thread: thread_id() }
    }
}

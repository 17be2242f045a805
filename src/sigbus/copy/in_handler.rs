//! What a fault in the copy comes to: going on behind it, byte by byte.
//!
//! Everything here runs inside a signal handler and decides from the registers alone.
//!
//! The copy is wide, so a fault does not say how many bytes are good: there may be some between
//! where the last round ended and the byte that faulted. The table says what the registers mean at
//! each instruction that may fault. From there the copy goes on byte by byte up to the byte that
//! faulted, and returns. If one of those bytes faults as well (the other side is cut earlier;
//! si_addr told less than that), the copy returns at once: the count is exact then. So one call
//! takes at most two signals, whatever the addresses do.

use super::processor;
use crate::chain::{Delivery, Fault, General};

/// What the registers are in a range of the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct State(pub(super) u32);

#[allow(dead_code, reason = "each processor has its own, and elsewhere there are none")]
impl State {
    /// Nothing counts as done.
    pub(super) const UNTOUCHED: Self = Self(0);
    /// One register is where the round begins.
    pub(super) const ROUNDS: Self = Self(1);
    /// The processor counts by itself.
    pub(super) const STRING: Self = Self(2);
    /// One register is the byte's number.
    pub(super) const BYTES: Self = Self(3);
}

/// Instructions of the copy that may fault, as offsets from its beginning. A row of the table
/// beside the code.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Range {
    pub(super) from: u32,
    pub(super) before: u32,
    pub(super) state: State,
    pub(super) go_on: u32,
}

impl Range {
    fn holds(&self, offset: usize) -> bool {
        offset >= self.from as usize && offset < self.before as usize
    }
}

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Going {
    pub(super) dst: usize,
    pub(super) src: usize,
    pub(super) len: usize,
    /// So many bytes came over for certain.
    pub(super) done: usize,
}

impl Going {
    /// Up to where bytes may still be good when the one at `address` is not. An address of neither
    /// side tells nothing: a machine check names a page, a tag takes part of the address, a general
    /// protection fault names nothing.
    fn stop(&self, address: usize) -> usize {
        let into = |start: usize| {
            let offset = address.wrapping_sub(start);
            if offset >= self.done && offset < self.len { offset } else { self.len }
        };
        into(self.src).min(into(self.dst))
    }
}

/// Lets the interrupted copy finish if the fault is one of the copy's; false if it is somebody
/// else's.
#[inline(never)]
pub(crate) fn fixup(delivery: &Delivery<'_>, fault: &Fault) -> bool {
    let Some((pc, general)) =
        delivery.general().and_then(|general| go_on(fault.pc, fault.address, &general))
    else {
        return false;
    };
    // SAFETY: `go_on` answers with a place in the copy and the registers that are right there.
    unsafe { delivery.resume_at(pc, &general) }
}

/// Where to go on, and with which registers, after a fault at `address` of the instruction at `pc`.
/// None: it is not the copy's.
pub(super) fn go_on(pc: usize, address: usize, general: &General) -> Option<(usize, General)> {
    let offset = pc.wrapping_sub(processor::copy as *const () as usize);
    let range = processor::ranges().iter().find(|range| range.holds(offset))?;
    let going = processor::interrupted(range.state, general)?;
    let go_on = pc.wrapping_sub(offset).wrapping_add(range.go_on as usize);
    Some((go_on, processor::go_on(general, &going, going.stop(address))))
}

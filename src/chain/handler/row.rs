//! The kernel's row while it calls us: found without the flags that we gave it, and written anew.
//!
//! `old = signal(S, SIG_IGN); …; signal(S, old)` leaves our address in the row without `SA_SIGINFO` and
//! `SA_ONSTACK`, and with another mask. The kernel goes on calling us, with a siginfo that nobody has filled.

use super::arrival::Arrival;
use super::trace;
use super::trampolines::address_of;
use crate::chain::disposition::Disposition;
use crate::chain::seat::mend;
use std::ffi::c_int;

/// Whether the siginfo cannot be that of this delivery: it names another signal, or we are done with it already, so
/// that it is left from an earlier delivery at the same place of the stack.
pub(super) fn is_suspect(arrival: &Arrival) -> bool {
    if !arrival.filled || arrival.info.is_null() {
        return true;
    }
    // SAFETY: the kernel's frame has room for a siginfo there, filled or not.
    let signal = unsafe { arrival.info.cast::<c_int>().read_volatile() };
    signal != arrival.signal || trace::is_done(arrival.info)
}

/// Looks at the row of entry `index`, which the kernel has just called, and writes it anew if it is
/// no more what we had written. If it had no `SA_SIGINFO`, or the siginfo is `suspect`, that is not
/// believed: the row may be another one by now than it was when the kernel looked.
#[cold]
#[inline(never)]
pub(super) fn check(index: usize, predecessor: &Disposition, arrival: &mut Arrival, suspect: bool) {
    let row = Disposition::read(arrival.signal).ok().filter(|row| row.handler == address_of(index));
    if let Some(row) = &row {
        // Refused or overtaken: then the next delivery comes here as well.
        let _ = mend(arrival.signal, index, predecessor, row);
    }
    if suspect || row.is_some_and(|row| row.flags & libc::SA_SIGINFO == 0) {
        *arrival = arrival.unfilled();
    }
}

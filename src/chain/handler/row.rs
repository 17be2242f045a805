//! The kernel's row while it calls us: found without the flags that we gave it, and written anew.
//!
//! `old = signal(S, SIG_IGN); …; signal(S, old)` leaves our address in the row without `SA_SIGINFO`
//! and `SA_ONSTACK`, and with another mask. The kernel goes on calling us, with a siginfo that
//! nobody has filled.

use super::arrival::Arrival;
use super::trace;
use super::trampolines::address_of;
use crate::chain::disposition::{Disposition, Kind};
use crate::chain::entry::{Entry, entry};
use crate::chain::seat::mend;
use std::ffi::c_int;

/// Whether the siginfo cannot be that of this delivery: it names another signal, or we are done
/// with it already, so that it is left from an earlier delivery at the same place of the stack.
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
    let row = Disposition::read(arrival.signal).ok().filter(|row| is_called_by(index, row));
    if let Some(row) = &row {
        // Refused or overtaken: then the next delivery comes here as well.
        let _ = mend(arrival.signal, index, predecessor, row);
    }
    if suspect || row.is_some_and(|row| row.flags & libc::SA_SIGINFO == 0) {
        *arrival = arrival.unfilled();
    }
}

/// Whether the kernel has called entry `index` by this row: it shows it; or the default action, if
/// it was put back for one call, as signal(3) does in programs that ask for no more than POSIX. The
/// kernel leaves the flags then (`get_signal`, kernel/signal.c).
fn is_called_by(index: usize, row: &Disposition) -> bool {
    let once = || row.kind() == Kind::Default && row.flags & libc::SA_RESETHAND != 0;
    row.handler == address_of(index) || once() && entry(index).is_some_and(Entry::is_active)
}

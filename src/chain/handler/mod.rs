//! Everything that runs inside a signal handler of the chain.
//!
//! What is called here: libc functions that signal-safety(7) names, raw system calls, and plain
//! arithmetic. No allocation, lock, thread_local, panic, unwinding or longjmp. errno is as it was
//! on the way out. Stack of our own: at most 2 KiB for a SIGPIPE and 2.5 KiB for a fault, 1 KiB
//! more on aarch64 (`tests/chain/discipline.rs` measures it; the kernel is asked for 4 and 8 KiB).
//! Each function here is bounded: see `trace` for circles of handlers.

mod arrival;
mod default_action;
pub(super) mod delivery;
mod farewell;
mod fault;
#[cfg(all(target_os = "linux", any(target_arch = "aarch64", test)))]
mod first_argument;
#[cfg(target_os = "linux")]
mod frame;
mod nesting;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod own_stack;
mod predecessor;
mod registers;
mod row;
mod trace;
pub(super) mod trampolines;

use super::disposition::{Disposition, Kind};
use super::entry::{Entry, entry};
use crate::observe::counters;
use arrival::Arrival;
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub(super) use arrival::arrive;
pub use delivery::{Delivery, Verdict};
pub use fault::Fault;
pub(crate) use fault::General;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) use own_stack::arrive;
use predecessor::{base_action, run};
pub use registers::{Gate, Registers};
use std::ffi::c_int;
use trace::Visit;

/// What every entry point does.
///
/// # Safety
/// What is not null in `arrival` is a siginfo of a delivery that is under way on this thread, or
/// room for one in the kernel's frame, and its context.
#[inline(never)]
unsafe fn deliver(index: usize, arrival: Arrival) {
    // SAFETY: by this function's contract.
    unsafe { decide(index, arrival, |delivery| pass_on(index, delivery)) }
    trace::end(arrival.info, arrival.by_kernel);
}

/// As [`deliver`] up to the end, with the way in which a delivery goes on to its predecessor.
///
/// # Safety
/// As for [`deliver`].
#[inline]
unsafe fn decide(index: usize, mut arrival: Arrival, pass_on: impl FnOnce(&Delivery<'_>)) {
    let errno = Errno::save();
    counters::DELIVERIES.add();
    if let Some((seat, predecessor)) =
        entry(index).and_then(|seat| Some((seat, seat.predecessor()?)))
    {
        let suspect = arrival.by_kernel && row::is_suspect(&arrival);
        if suspect {
            row::check(index, predecessor, &mut arrival, true);
        } else if arrival.by_kernel {
            trace::begin(arrival.info);
        }
        let mut delivery = Delivery::new(index, seat.is_active(), predecessor, &arrival);
        if seat.decide(&delivery) == Verdict::PassOn {
            // Before anybody else gets it: is that siginfo of now?
            let look = arrival.by_kernel && !suspect;
            if !(look && swallows_after_look(index, seat, &mut delivery, &mut arrival)
                || arrival.by_kernel
                    && matches!(arrival.signal, libc::SIGBUS | libc::SIGSEGV)
                    && decide_for_the_fault(seat, &delivery) == Verdict::Swallow)
            {
                delivery.tell_of_fault();
                pass_on(&delivery);
            }
        }
    }
    errno.restore();
}

/// Looks at the row. If the siginfo turns out to be none, the registers decide anew.
#[cold]
#[inline(never)]
fn swallows_after_look(
    index: usize,
    seat: &Entry,
    delivery: &mut Delivery<'_>,
    arrival: &mut Arrival,
) -> bool {
    row::check(index, delivery.predecessor, arrival, false);
    delivery.filled = arrival.filled;
    !arrival.filled && seat.decide(delivery) == Verdict::Swallow
}

/// What is to be done with a signal that a handler above has raised again, after it has put ours
/// back, for the fault that it was called for. Where that can be mended, the handler returns to an
/// instruction that goes on.
#[cold]
#[inline(never)]
fn decide_for_the_fault(seat: &Entry, delivery: &Delivery<'_>) -> Verdict {
    let Some(fault) = delivery.raised_for() else { return Verdict::PassOn };
    let (info, context, filled) = (fault.info, fault.context, fault.filled);
    seat.decide(&Delivery { info, context, filled, ..*delivery })
}

/// Gives the delivery to the predecessor; at a second visit in the middle of the first to what was
/// recorded before that; at a third to nobody.
#[inline(never)]
fn pass_on(index: usize, delivery: &Delivery<'_>) {
    let visit = trace::visit(delivery.info, index);
    let level = nesting::enter(delivery, index);
    match (visit, &level) {
        (Visit::First, Some(_)) => {
            counters::CHAINED.add();
            run(index, delivery.predecessor, delivery);
        }
        (Visit::Spent, _) => counters::CYCLES_CUT.add(),
        (Visit::First | Visit::Second, _) => cut(index, level.is_none(), delivery),
    }
    trace::end_visit(delivery.info, index, visit);
}

/// Ends a circle with what was recorded before it closed.
#[cold]
#[inline(never)]
fn cut(index: usize, raised: bool, delivery: &Delivery<'_>) {
    counters::CYCLES_CUT.add();
    if let Some((owner, base)) = base_action(delivery.signal, index) {
        // A base action that is a handler may itself be part of a circle of raised signals.
        let circle = raised && matches!(base.kind(), Kind::Handler { .. });
        let last = Disposition::default_action();
        run(owner, if circle { &last } else { base }, delivery);
    }
}

/// errno of the interrupted code, put back on the way out.
struct Errno(c_int);

impl Errno {
    fn save() -> Self {
        // SAFETY: the address is this thread's errno.
        Self(unsafe { *errno_location() })
    }

    fn restore(&self) {
        // SAFETY: the address is this thread's errno.
        unsafe { *errno_location() = self.0 };
    }
}

fn errno_location() -> *mut c_int {
    #[cfg(any(target_os = "linux", target_os = "dragonfly"))]
    // SAFETY: no arguments; the C library's own thread-local, which it allocates with the thread.
    let location = unsafe { libc::__errno_location() };
    #[cfg(any(target_os = "macos", target_os = "ios", target_os = "freebsd"))]
    // SAFETY: as above.
    let location = unsafe { libc::__error() };
    #[cfg(any(target_os = "netbsd", target_os = "openbsd", target_os = "android"))]
    // SAFETY: as above.
    let location = unsafe { libc::__errno() };
    location
}

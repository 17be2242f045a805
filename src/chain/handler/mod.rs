//! Everything that runs inside a signal handler of the chain.
//!
//! What is called here: libc functions that signal-safety(7) names, raw system calls, and plain
//! arithmetic. No allocation, lock, thread_local, panic, unwinding or longjmp. errno is as it was on the
//! way out. Stack of our own: at most 2 KiB (`tests/discipline.rs` measures it). Each function here is
//! bounded: see `trace` for circles of handlers.

mod arrival;
mod default_action;
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

use super::disposition::{Disposition, Kind};
use super::entry::{Entry, entry};
use crate::observe::counters;
use crate::sys::mask::Mask;
use arrival::Arrival;
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub(super) use arrival::arrive;
pub use fault::Fault;
pub(crate) use fault::General;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) use own_stack::arrive;
use predecessor::{base_action, run};
pub use registers::{Gate, Registers};
use std::ffi::{c_int, c_void};
use trace::Visit;

/// What a watch says of one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It ends here.
    Swallow,
    /// The predecessor gets it, as the kernel would have given it.
    PassOn,
}

/// One signal on its way through an entry point, as a watch sees it.
pub struct Delivery<'a> {
    /// The signal's number.
    pub signal: c_int,
    /// What comes after this entry point.
    pub predecessor: &'a Disposition,
    /// Off when the seat has been left: nothing of ours may be swallowed any more.
    pub active: bool,
    address: usize,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
    /// Off when the kernel has written nothing into `info`: our row has lost its `SA_SIGINFO`.
    filled: bool,
    called_with: Option<Mask>,
    stack: usize,
}

impl<'a> Delivery<'a> {
    fn new(index: usize, seat: &Entry, predecessor: &'a Disposition, arrival: &Arrival) -> Self {
        Self {
            signal: arrival.signal,
            predecessor,
            active: seat.is_active(),
            address: super::entry::address_of(index),
            info: arrival.info,
            context: arrival.context,
            filled: arrival.filled,
            called_with: arrival.called_with,
            stack: arrival.stack,
        }
    }

    /// `si_code`: above 0 the kernel made it because of a fault, `SI_USER` for kill(2) and for the kernel's
    /// SIGPIPE. None if a handler above us passed no siginfo. Signal-safe.
    #[must_use]
    pub fn code(&self) -> Option<c_int> {
        // SAFETY: null, or the siginfo of this delivery, which lives until the handler returns.
        unsafe { self.info.as_ref() }.filter(|_| self.filled).map(|info| info.si_code)
    }

    /// Whether the kernel made it for the instruction that was interrupted, which runs again on return. Signal-safe.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        let synchronous =
            matches!(self.signal, libc::SIGBUS | libc::SIGSEGV | libc::SIGILL | libc::SIGFPE | libc::SIGTRAP);
        let made_by_kernel = self.code().is_some_and(|code| code > 0);
        synchronous && (made_by_kernel || self.is_unsigned() && self.fault().is_some())
    }

    /// Whether the kernel called without telling who sent it: a library has put our row back without `SA_SIGINFO`, as
    /// signal(3) does with what it returned. The registers are as good as ever. Signal-safe.
    #[must_use]
    pub fn is_unsigned(&self) -> bool {
        !self.filled
    }

    /// `si_pid`: the sender, for codes that have one. Signal-safe.
    #[must_use]
    pub fn sender(&self) -> Option<libc::pid_t> {
        // SAFETY: as in `code`.
        let info = unsafe { self.info.as_ref() }.filter(|_| self.filled)?;
        // SAFETY: the field is a number at a fixed place whatever the code; the caller looks at the code.
        Some(unsafe { info.si_pid() })
    }

    /// The registers at the point that the signal interrupted, where this system shows them. Signal-safe.
    #[must_use]
    pub fn registers(&self) -> Option<Registers> {
        // SAFETY: null, or the context of this delivery.
        unsafe { Registers::of(self.context) }
    }

    /// The first argument of the system call that [`Self::registers`] shows, where the processor has overwritten it and it
    /// is certain that it still is in some other place; 32 bits of it. Signal-safe.
    #[must_use]
    pub fn first_argument(&self) -> Option<u32> {
        // SAFETY: null, or the context of this delivery.
        unsafe { Registers::first_argument(self.context) }
    }

    /// The fault that this delivery was raised for, by the handler of that fault: its frame lies under the code that was interrupted.
    /// Where the fault can be mended, that handler returns to an instruction that goes on. Signal-safe.
    fn raised_for(&self) -> Option<Arrival> {
        let raised = self.code() == Some(nesting::SI_TKILL)
            && self.sender().is_some_and(crate::sys::wiped::is_own_process);
        let stack = self.interrupted_stack().filter(|_| raised)?;
        arrival::fault_above(stack, self.interrupted_record(), self.signal)
    }

    /// Tells copies of this library further down the line that the delivery may be swallowed. Signal-safe.
    pub fn note_echo(&self) {
        trace::note_echo(self.info);
    }

    /// Whether a copy further up would have swallowed this delivery. Signal-safe.
    #[must_use]
    pub fn is_noted_echo(&self) -> bool {
        trace::is_noted_echo(self.info)
    }

    /// The stack pointer that our handler was entered with. Signal-safe.
    #[must_use]
    pub fn stack(&self) -> usize {
        self.stack
    }

    /// Whether a handler stands above this entry point and called it, rather than the kernel. Signal-safe.
    #[must_use]
    pub fn was_forwarded(&self) -> bool {
        Disposition::read(self.signal).is_ok_and(|top| top.handler != self.address)
    }
}

/// What every entry point does.
///
/// # Safety
/// What is not null in `arrival` is a siginfo of a delivery that is under way on this thread, or room for one in the
/// kernel's frame, and its context.
#[inline(never)]
unsafe fn deliver(index: usize, arrival: Arrival) {
    // SAFETY: by this function's contract.
    unsafe { decide(index, arrival, |delivery| pass_on(index, delivery)) }
}

/// As [`deliver`], with the way in which a delivery goes on to its predecessor.
///
/// # Safety
/// As for [`deliver`].
#[inline]
unsafe fn decide(index: usize, mut arrival: Arrival, pass_on: impl FnOnce(&Delivery<'_>)) {
    let errno = Errno::save();
    counters::DELIVERIES.add();
    if let Some((seat, predecessor)) = entry(index).and_then(|seat| Some((seat, seat.predecessor()?))) {
        let suspect = arrival.by_kernel && row::is_suspect(&arrival);
        if suspect {
            row::look(index, predecessor, &mut arrival);
        }
        let mut delivery = Delivery::new(index, seat, predecessor, &arrival);
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
        trace::end(arrival.info);
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
    row::look(index, delivery.predecessor, arrival);
    delivery.filled = arrival.filled;
    !arrival.filled && seat.decide(delivery) == Verdict::Swallow
}

/// What is to be done with a signal that a handler above has raised again, after it has put ours back, for the fault that it was called
/// for. Where that can be mended, the handler returns to an instruction that goes on.
#[cold]
#[inline(never)]
fn decide_for_the_fault(seat: &Entry, delivery: &Delivery<'_>) -> Verdict {
    let Some(fault) = delivery.raised_for() else { return Verdict::PassOn };
    let (info, context, filled) = (fault.info, fault.context, fault.filled);
    seat.decide(&Delivery { info, context, filled, ..*delivery })
}

/// Gives the delivery to the predecessor; at the second visit to what was recorded before that; at the third to
/// nobody.
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

//! One signal on its way through an entry point, as whoever owns the seat sees it.

use super::arrival::{self, Arrival};
use super::registers::Registers;
use super::trace;
use super::trampolines::address_of;
use crate::chain::disposition::Disposition;
use crate::sys::mask::Mask;
use std::ffi::{c_int, c_void};

#[cfg(target_os = "linux")]
pub(super) use libc::SI_TKILL;
#[cfg(not(target_os = "linux"))]
pub(super) const SI_TKILL: std::ffi::c_int = 0x1_0001;

/// What an owner says of one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It ends here.
    Swallow,
    /// The predecessor gets it, as the kernel would have given it.
    PassOn,
}

/// One signal on its way through an entry point, as an owner sees it.
pub struct Delivery<'a> {
    /// The signal's number.
    pub signal: c_int,
    /// What comes after this entry point.
    pub predecessor: &'a Disposition,
    /// Off when the seat has been left: nothing of ours may be swallowed any more.
    pub active: bool,
    pub(super) address: usize,
    pub(super) info: *mut libc::siginfo_t,
    pub(super) context: *mut c_void,
    /// Off when the kernel has written nothing into `info`: our row has lost its `SA_SIGINFO`.
    pub(super) filled: bool,
    pub(super) called_with: Option<Mask>,
    pub(super) stack: usize,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(
        index: usize,
        active: bool,
        predecessor: &'a Disposition,
        arrival: &Arrival,
    ) -> Self {
        Self {
            signal: arrival.signal,
            predecessor,
            active,
            address: address_of(index),
            info: arrival.info,
            context: arrival.context,
            filled: arrival.filled,
            called_with: arrival.called_with,
            stack: arrival.stack,
        }
    }

    /// `si_code`: above 0 the kernel made it because of a fault, `SI_USER` for kill(2) and for the
    /// kernel's SIGPIPE. None if a handler above us passed no siginfo. Signal-safe.
    #[must_use]
    pub fn code(&self) -> Option<c_int> {
        // SAFETY: null, or the siginfo of this delivery, which lives until the handler returns.
        unsafe { self.info.as_ref() }.filter(|_| self.filled).map(|info| info.si_code)
    }

    /// Whether the kernel made it for the instruction that was interrupted, which runs again on
    /// return. Signal-safe.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        let synchronous = matches!(
            self.signal,
            libc::SIGBUS | libc::SIGSEGV | libc::SIGILL | libc::SIGFPE | libc::SIGTRAP
        );
        let made_by_kernel = self.code().is_some_and(|code| code > 0);
        synchronous && (made_by_kernel || self.is_unsigned() && self.fault().is_some())
    }

    /// Whether the kernel called without telling who sent it: a library has put our row back
    /// without `SA_SIGINFO`, as signal(3) does with what it returned. The registers are as good as
    /// ever. Signal-safe.
    #[must_use]
    pub fn is_unsigned(&self) -> bool {
        !self.filled
    }

    /// `si_pid`: the sender, for codes that have one. Signal-safe.
    #[must_use]
    pub fn sender(&self) -> Option<libc::pid_t> {
        // SAFETY: as in `code`.
        let info = unsafe { self.info.as_ref() }.filter(|_| self.filled)?;
        // SAFETY: the field is a number at a fixed place whatever the code; the caller looks at the
        // code.
        Some(unsafe { info.si_pid() })
    }

    /// The registers at the point that the signal interrupted, where this system shows them.
    /// Signal-safe.
    #[must_use]
    pub fn registers(&self) -> Option<Registers> {
        // SAFETY: null, or the context of this delivery.
        unsafe { Registers::of(self.context) }
    }

    /// The first argument of the system call that [`Self::registers`] shows, where the processor
    /// has overwritten it and it is certain that it still is in some other place; 32 bits of it.
    /// Signal-safe.
    #[must_use]
    pub fn first_argument(&self) -> Option<u32> {
        // SAFETY: null, or the context of this delivery.
        unsafe { Registers::first_argument(self.context) }
    }

    /// The fault that this delivery was raised for, by the handler of that fault: its frame lies
    /// under the code that was interrupted. Where the fault can be mended, that handler returns to
    /// an instruction that goes on. Signal-safe.
    pub(super) fn raised_for(&self) -> Option<Arrival> {
        let raised = self.code() == Some(SI_TKILL)
            && self.sender().is_some_and(crate::sys::wiped::is_own_process);
        let stack = self.interrupted_stack().filter(|_| raised)?;
        arrival::fault_above(stack, self.interrupted_record(), self.signal)
    }

    /// Tells copies of this library further down the line that the delivery may be swallowed.
    /// Signal-safe.
    pub fn note_echo(&self) {
        trace::note_echo(self.info);
        self.tell_of_sender();
    }

    /// Writes into a siginfo that the kernel has left empty, so that its code is `SI_USER` already,
    /// who has sent this echo, for whoever comes next: this process. Its user is not asked for,
    /// which would be one more system call. Signal-safe.
    pub fn tell_of_sender(&self) {
        /// `si_pid` (`__sifields._kill` in include/uapi/asm-generic/siginfo.h).
        const SENDER: usize = if cfg!(target_pointer_width = "64") { 16 } else { 12 };
        if !self.is_unsigned() || self.info.is_null() {
            return;
        }
        let sender = self.info.cast::<u32>().wrapping_byte_add(SENDER);
        // SAFETY: inside the siginfo of this delivery, which only this thread uses.
        unsafe { sender.write(std::process::id()) };
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

    /// Whether a handler stands above this entry point and called it, rather than the kernel.
    /// Signal-safe.
    #[must_use]
    pub fn was_forwarded(&self) -> bool {
        Disposition::read(self.signal).is_ok_and(|top| top.handler != self.address)
    }
}

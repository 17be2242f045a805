//! What the kernel says of a fault, and going on somewhere else than at the instruction that
//! faulted.
//!
//! A fault is a signal that the kernel makes for the very instruction that was interrupted: it runs
//! again when the handler returns. So the context of the delivery is that instruction's, and what a
//! handler writes there is what the thread goes on with. All of it here is signal-safe.

use super::Delivery;
use std::ffi::c_int;

/// si_code of a machine check that the interrupted instruction ran into, and of one found elsewhere
/// (include/uapi/asm-generic/siginfo.h).
const BUS_MCEERR_AR: c_int = 4;
const BUS_MCEERR_AO: c_int = 5;
/// si_code of a tag check that failed some instructions ago.
const SEGV_MTEAERR: c_int = 8;

/// A fault that the kernel made for the instruction that was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// si_addr: the byte that faulted, as exactly as the processor says it.
    pub address: usize,
    /// si_code: why.
    pub code: c_int,
    /// The instruction; 0 where it is unknown.
    pub pc: usize,
    /// Whether it wrote; none where that is unknown.
    pub write: Option<bool>,
    /// The stack pointer; 0 where it is unknown.
    pub stack: usize,
    /// The link register, where a function returns to that has not called another; 0 where there is
    /// none.
    pub link: usize,
    /// si_addr_lsb: how many low bits of `address` mean nothing, for a machine check; else 0.
    pub shift: u32,
}

/// Where interrupted code was.
#[cfg(target_os = "linux")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site {
    /// The instruction.
    pub(crate) pc: usize,
    /// The stack pointer; 0 where it is unknown.
    pub(crate) stack: usize,
    /// The link register; 0 where there is none.
    pub(crate) link: usize,
}

impl Delivery<'_> {
    /// The fault that this delivery of SIGBUS or SIGSEGV is; none for what a process sent, for what
    /// was found without being the interrupted instruction's doing, and where a handler above
    /// passed no siginfo.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        let asynchronous = match self.signal {
            libc::SIGBUS => BUS_MCEERR_AO,
            libc::SIGSEGV => SEGV_MTEAERR,
            _ => return None,
        };
        if self.is_unsigned() {
            return self.page_fault();
        }
        let code = self.code().filter(|code| *code > 0 && *code != asynchronous)?;
        // SAFETY: the siginfo of this delivery: `code` was in it.
        let info = unsafe { self.info.as_ref() }?;
        // SAFETY: the kernel made it for a fault, so the field is an address.
        let address = unsafe { info.si_addr() } as usize;
        let mut fault = Fault { address, code, pc: 0, write: None, stack: 0, link: 0, shift: 0 };
        if self.signal == libc::SIGBUS && code == BUS_MCEERR_AR {
            fault.shift = machine::least_bit(info);
        }
        // SAFETY: null, or the context of this delivery.
        if let Some(context) = unsafe { self.context.cast::<machine::Context>().as_ref() } {
            fault.pc = machine::pc(context);
            (fault.stack, fault.link) = machine::stack_and_link(context);
            fault.write = machine::write(context).filter(|_| fault.shift == 0);
        }
        Some(fault)
    }

    /// Where the interrupted code was; none where the context does not show it. Signal-safe.
    #[cfg(target_os = "linux")]
    pub(crate) fn site(&self) -> Option<Site> {
        // SAFETY: null, or the context of this delivery.
        let context = unsafe { self.context.cast::<machine::Context>().as_ref() }?;
        let (stack, link) = machine::stack_and_link(context);
        Some(Site { pc: machine::pc(context), stack, link }).filter(|site| site.pc != 0)
    }

    /// `si_addr`, of a signal that the kernel has made for an instruction. Signal-safe.
    #[cfg(target_os = "linux")]
    pub(crate) fn address(&self) -> Option<usize> {
        self.code().filter(|code| *code > 0)?;
        // SAFETY: the siginfo of this delivery: the code was in it.
        let info = unsafe { self.info.as_ref() }?;
        // SAFETY: the kernel made it for an instruction, so the field is an address.
        Some(unsafe { info.si_addr() } as usize)
    }

    /// `si_syscall`, of a SIGSYS that the kernel has made. Signal-safe.
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    pub(crate) fn system_call(&self) -> Option<c_int> {
        /// It follows `si_call_addr` (`__sifields._sigsys` in include/uapi/asm-generic/siginfo.h).
        const PLACE: usize = 24;
        const { assert!(PLACE + 4 <= size_of::<libc::siginfo_t>()) };
        self.code().filter(|code| *code > 0 && self.signal == libc::SIGSYS)?;
        let place = self.info.cast::<c_int>().wrapping_add(PLACE / size_of::<c_int>());
        // SAFETY: inside the siginfo of this delivery.
        Some(unsafe { place.read() })
    }

    /// Elsewhere nobody has looked where it is.
    #[cfg(all(target_os = "linux", not(target_pointer_width = "64")))]
    pub(crate) fn system_call(&self) -> Option<c_int> {
        None
    }

    /// The stack pointer of the code that was interrupted; none where the context does not show it.
    /// Signal-safe.
    pub(super) fn interrupted_stack(&self) -> Option<usize> {
        // SAFETY: null, or the context of this delivery.
        let context = unsafe { self.context.cast::<machine::Context>().as_ref() }?;
        Some(machine::stack_and_link(context).0).filter(|stack| *stack != 0)
    }

    /// Where its line of frame records begins; 0 where it is not known to have one. Signal-safe.
    pub(super) fn interrupted_record(&self) -> usize {
        // SAFETY: null, or the context of this delivery.
        let context = unsafe { self.context.cast::<machine::Context>().as_ref() };
        context.map_or(0, machine::record)
    }

    /// The thread's alternate signal stack, as the kernel notes it with each delivery. Signal-safe.
    #[cfg(target_os = "linux")]
    pub(super) fn signal_stack(&self) -> Option<std::ops::Range<usize>> {
        // SAFETY: null, or the context of this delivery.
        let stack = unsafe { &self.context.cast::<libc::ucontext_t>().as_ref()?.uc_stack };
        let start = stack.ss_sp.addr();
        (start != 0 && stack.ss_size != 0).then(|| start..start.saturating_add(stack.ss_size))
    }

    /// Elsewhere nobody asks.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn signal_stack(&self) -> Option<std::ops::Range<usize>> {
        None
    }

    /// Writes into a siginfo that the kernel has left empty what the registers tell, for whoever
    /// comes next.
    pub(super) fn tell_of_fault(&self) {
        /// `si_addr` (`__sifields._sigfault` in include/uapi/asm-generic/siginfo.h).
        const ADDRESS: usize = 16;
        let Some(fault) = self.fault().filter(|_| self.is_unsigned() && !self.info.is_null())
        else {
            return;
        };
        // SAFETY: room for a siginfo in the frame of this delivery.
        unsafe { (*self.info).si_code = fault.code };
        let place = self.info.cast::<usize>().wrapping_add(ADDRESS / size_of::<usize>());
        // SAFETY: inside that room, and aligned as a siginfo is.
        unsafe { place.write(fault.address) };
    }

    /// The fault as far as the registers tell of it: where, and that nothing, or nothing of a file,
    /// is there.
    fn page_fault(&self) -> Option<Fault> {
        /// si_code where nothing is mapped.
        const SEGV_MAPERR: c_int = 1;
        // SAFETY: null, or the context of this delivery.
        let context = unsafe { self.context.cast::<machine::Context>().as_ref() }?;
        let address = machine::fault_address(context)?;
        let code = if self.signal == libc::SIGBUS { libc::BUS_ADRERR } else { SEGV_MAPERR };
        let (stack, link) = machine::stack_and_link(context);
        let (pc, write) = (machine::pc(context), machine::write(context));
        Some(Fault { address, code, pc, write, stack, link, shift: 0 })
    }

    /// The general registers of the interrupted code; none without a context, and where they are
    /// not known.
    pub(crate) fn general(&self) -> Option<General> {
        // SAFETY: null, or the context of this delivery.
        let context = unsafe { self.context.cast::<machine::Context>().as_ref() }?;
        machine::general(context)
    }

    /// Makes the interrupted code go on at `pc` with these general registers; flags, stack and the
    /// rest stay. False if there is no context to write to.
    ///
    /// # Safety
    /// The code at `pc` must be one that the interrupted code could have jumped to with these
    /// registers.
    pub(crate) unsafe fn resume_at(&self, pc: usize, general: &General) -> bool {
        // SAFETY: null, or the context of this delivery, which only this thread uses.
        let context = unsafe { self.context.cast::<machine::Context>().as_mut() };
        context.is_some_and(|context| machine::resume(context, pc, general))
    }
}

pub(crate) use machine::General;

/// x86-64: the page fault's error code is kept beside the registers.
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64"))]
mod machine {
    use libc::{REG_CR2, REG_ERR, REG_RIP, REG_RSP, REG_TRAPNO};

    pub(super) type Context = libc::ucontext_t;

    /// By the numbers of the kernel's context: `libc::REG_RAX` and so on.
    pub(crate) type General = [usize; REG_RSP as usize + 1];

    /// Number of a page fault's exception, and the bit of its error code that means a write
    /// (arch/x86/include/asm/trap_pf.h).
    const PAGE_FAULT: i64 = 14;
    const WRITE: i64 = 1 << 1;

    fn register(context: &Context, number: std::ffi::c_int) -> i64 {
        context.uc_mcontext.gregs.get(number as usize).copied().unwrap_or_default()
    }

    pub(super) fn pc(context: &Context) -> usize {
        register(context, REG_RIP) as usize
    }

    pub(super) fn stack_and_link(context: &Context) -> (usize, usize) {
        (register(context, REG_RSP) as usize, 0)
    }

    /// Compilers leave the records out.
    pub(super) fn record(_context: &Context) -> usize {
        0
    }

    /// Where the last page fault of the thread was, if that was its last exception.
    pub(super) fn fault_address(context: &Context) -> Option<usize> {
        (register(context, REG_TRAPNO) == PAGE_FAULT).then(|| register(context, REG_CR2) as usize)
    }

    pub(super) fn write(context: &Context) -> Option<bool> {
        let known = register(context, REG_TRAPNO) == PAGE_FAULT;
        known.then(|| register(context, REG_ERR) & WRITE != 0)
    }

    #[expect(clippy::unnecessary_wraps, reason = "elsewhere there are none")]
    pub(super) fn general(context: &Context) -> Option<General> {
        let mut general = General::default();
        for (ours, theirs) in general.iter_mut().zip(&context.uc_mcontext.gregs) {
            *ours = *theirs as usize;
        }
        Some(general)
    }

    pub(super) fn resume(context: &mut Context, pc: usize, general: &General) -> bool {
        let registers = &mut context.uc_mcontext.gregs;
        for (theirs, ours) in registers.iter_mut().zip(general) {
            *theirs = *ours as i64;
        }
        registers[REG_RIP as usize] = pc as i64;
        true
    }

    pub(super) use super::least_bit;
}

/// aarch64: the syndrome is a record in the context's extension.
#[cfg(all(target_os = "linux", target_arch = "aarch64", target_pointer_width = "64"))]
mod machine {
    use std::mem::offset_of;

    pub(super) type Context = libc::ucontext_t;

    /// x0 to x30.
    pub(crate) type General = [usize; 31];

    pub(super) fn pc(context: &Context) -> usize {
        context.uc_mcontext.pc as usize
    }

    pub(super) fn stack_and_link(context: &Context) -> (usize, usize) {
        (context.uc_mcontext.sp as usize, context.uc_mcontext.regs[30] as usize)
    }

    pub(super) fn record(context: &Context) -> usize {
        context.uc_mcontext.regs[29] as usize
    }

    /// Exception class, bits 26 and up: `ESR_ELx_EC_DABT_LOW`.
    const DATA_ABORT: u64 = 0x24;

    /// Where the last data abort of the thread was, if that was its last exception: without the tag
    /// in the upper byte.
    pub(super) fn fault_address(context: &Context) -> Option<usize> {
        let aborted = syndrome(context)? >> 26 == DATA_ABORT;
        aborted.then_some(context.uc_mcontext.fault_address as usize & (usize::MAX >> 8))
    }

    /// `WnR` of the syndrome, if it is that of a data abort from user space.
    pub(super) fn write(context: &Context) -> Option<bool> {
        /// `ESR_ELx_WNR`, and `ESR_ELx_CM`: cache maintenance passes for a write and is none.
        const WRITE: u64 = 1 << 6;
        const MAINTENANCE: u64 = 1 << 8;
        let syndrome = syndrome(context)?;
        (syndrome >> 26 == DATA_ABORT).then_some(syndrome & (WRITE | MAINTENANCE) == WRITE)
    }

    /// The record `esr_context` (arch/arm64/include/uapi/asm/sigcontext.h).
    fn syndrome(context: &Context) -> Option<u64> {
        const MAGIC: u32 = 0x4553_5201;
        const ROOM: usize = 4096;
        const HEAD: usize = 8;
        // `__reserved` comes after `pstate`, at the next multiple of 16.
        const AFTER: usize = offset_of!(Context, uc_mcontext)
            + offset_of!(libc::mcontext_t, pstate)
            + size_of::<u64>();
        const RECORDS: usize = AFTER.next_multiple_of(16);
        const { assert!(RECORDS + ROOM <= size_of::<Context>()) };
        let records = std::ptr::from_ref(context).cast::<[u32; 2]>().wrapping_add(RECORDS / HEAD);
        let mut at = 0;
        while at + HEAD + 8 <= ROOM {
            let head = records.wrapping_add(at / HEAD);
            // SAFETY: within the context's extension, aligned to 16 as all records are.
            let [magic, size] = unsafe { head.read() };
            if magic == MAGIC {
                // SAFETY: as above: the record's one number follows its head.
                return Some(unsafe { head.cast::<u64>().add(1).read() });
            }
            if magic == 0 || size < HEAD as u32 || size % 16 != 0 {
                return None;
            }
            at += size as usize;
        }
        None
    }

    #[expect(clippy::unnecessary_wraps, reason = "elsewhere there are none")]
    pub(super) fn general(context: &Context) -> Option<General> {
        Some(context.uc_mcontext.regs.map(|register| register as usize))
    }

    pub(super) fn resume(context: &mut Context, pc: usize, general: &General) -> bool {
        context.uc_mcontext.regs = general.map(|register| register as u64);
        context.uc_mcontext.pc = pc as u64;
        true
    }

    pub(super) use super::least_bit;
}

/// Elsewhere a context's registers are not looked at.
#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    target_pointer_width = "64"
)))]
mod machine {
    pub(super) type Context = std::ffi::c_void;

    /// None are known.
    pub(crate) type General = [usize; 0];

    pub(super) fn pc(_context: &Context) -> usize {
        0
    }

    pub(super) fn stack_and_link(_context: &Context) -> (usize, usize) {
        (0, 0)
    }

    pub(super) fn record(_context: &Context) -> usize {
        0
    }

    pub(super) fn write(_context: &Context) -> Option<bool> {
        None
    }

    pub(super) fn fault_address(_context: &Context) -> Option<usize> {
        None
    }

    pub(super) fn general(_context: &Context) -> Option<General> {
        None
    }

    pub(super) fn resume(_context: &mut Context, _pc: usize, _general: &General) -> bool {
        false
    }

    pub(super) fn least_bit(_info: &libc::siginfo_t) -> u32 {
        0
    }
}

/// `si_addr_lsb`, which follows `si_addr` (`__sifields._sigfault` in
/// include/uapi/asm-generic/siginfo.h).
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    target_pointer_width = "64"
))]
fn least_bit(info: &libc::siginfo_t) -> u32 {
    const PLACE: usize = 24;
    const { assert!(PLACE + 2 <= size_of::<libc::siginfo_t>()) };
    let place = std::ptr::from_ref(info).cast::<i16>().wrapping_add(PLACE / 2);
    // SAFETY: inside the siginfo, which is aligned to 8 and whose codes of machine checks have the
    // field.
    let bits = unsafe { place.read() };
    u32::try_from(bits).unwrap_or_default().min(usize::BITS - 1)
}

#[cfg(test)]
#[path = "../tests.rs"]
mod tests;

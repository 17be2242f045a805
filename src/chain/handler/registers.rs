//! The registers that a system call leaves behind, from the context of a delivery.
//!
//! The kernel makes SIGPIPE inside the system call and delivers it on the way out, so the saved registers
//! are those of the return: the result is there, and on x86-64 the arguments are too.
//!
//! When a signal with a lower number is pending as well, the kernel stacks its frame first and ours on top
//! of it: the saved registers are then those of the other handler's entry, and the frame that they point to
//! holds the context of the system call. [`Registers::of`] follows such frames down.

use std::ffi::c_void;

/// What a system call that has just returned left in the registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registers {
    /// Address of the instruction after the system call.
    pub pc: usize,
    /// What the system call returned: a count, or a negative errno.
    pub result: i64,
    /// The first three arguments, where the processor keeps them through the call (x86-64).
    pub arguments: Option<[u64; 3]>,
    /// The second to the sixth argument.
    pub rest: [u64; 5],
    /// The number of the system call: in a register through the call (aarch64), or in the instruction before it
    /// that loaded it (x86-64: nearly always).
    pub number: Option<u64>,
    /// The stack pointer.
    pub stack: usize,
    /// The link register, where a function returns to that has not called another (aarch64).
    pub link: Option<usize>,
}

/// At most as many frames as there are signal numbers below SIGPIPE can lie in between.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
const FRAMES: usize = 13;

impl Registers {
    /// The registers of the system call that the delivery with this context interrupted on its way out;
    /// none if the context does not look like the return of one.
    ///
    /// # Safety
    /// `context` is null or points to the context of a delivery that is under way on this thread.
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub(super) unsafe fn of(context: *const c_void) -> Option<Self> {
        // SAFETY: by this function's contract.
        processor::after_system_call(unsafe { innermost(context) }?)
    }

    /// The first argument of that system call, 32 bits of it, where [`Self::arguments`] are not known and the code before
    /// the call shows that it still is in some other place (aarch64).
    ///
    /// # Safety
    /// As for [`Self::of`], which must have found something.
    #[cfg(all(target_os = "linux", target_arch = "aarch64"))]
    pub(super) unsafe fn first_argument(context: *const c_void) -> Option<u32> {
        // SAFETY: by this function's contract.
        processor::first_argument(unsafe { innermost(context) }?)
    }

    /// Elsewhere it is known or unknown for good.
    ///
    /// # Safety
    /// None needed here.
    #[cfg(not(all(target_os = "linux", target_arch = "aarch64")))]
    pub(super) unsafe fn first_argument(_context: *const c_void) -> Option<u32> {
        None
    }

    /// Elsewhere the registers of a system call are not looked at.
    ///
    /// # Safety
    /// None needed here.
    #[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
    pub(super) unsafe fn of(_context: *const c_void) -> Option<Self> {
        None
    }
}

/// The registers of the code that was interrupted first, beneath the frames of handlers that have not run yet.
///
/// # Safety
/// As for [`Registers::of`].
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn innermost<'a>(context: *const c_void) -> Option<&'a libc::mcontext_t> {
    let mut context = context.cast::<libc::ucontext_t>();
    for _ in 0..FRAMES {
        // SAFETY: by this function's contract, or a frame that the kernel has just stacked.
        let machine = unsafe { &context.as_ref()?.uc_mcontext };
        match processor::stacked_frame(machine) {
            Some(outer) => context = outer,
            None => return Some(machine),
        }
    }
    None
}

/// x86-64: `syscall` leaves the return address in RCX and the flags in R11, the result in RAX.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod processor {
    use super::Registers;
    use libc::{
        REG_EFL, REG_R8, REG_R9, REG_R10, REG_R11, REG_RAX, REG_RCX, REG_RDI, REG_RDX, REG_RIP, REG_RSI,
        REG_RSP,
    };

    fn register(machine: &libc::mcontext_t, number: libc::c_int) -> u64 {
        machine.gregs.get(number as usize).map_or(0, |value| *value as u64)
    }

    /// `struct rt_sigframe`: return address (8), ucontext (304), siginfo (arch/x86/include/asm/sigframe.h).
    /// At the entry of a handler RSP points to it, RSI to its siginfo and RDX to its ucontext.
    pub(super) fn stacked_frame(machine: &libc::mcontext_t) -> Option<*const libc::ucontext_t> {
        let [stack, signal, info, context] =
            [REG_RSP, REG_RDI, REG_RSI, REG_RDX].map(|number| register(machine, number));
        let entry = context == stack.wrapping_add(8)
            && info == context.wrapping_add(304)
            && (1..=64).contains(&signal)
            && register(machine, REG_RAX) == 0;
        entry.then_some(context as *const libc::ucontext_t)
    }

    pub(super) fn after_system_call(machine: &libc::mcontext_t) -> Option<Registers> {
        // Single-stepping (bit 8) and resuming (bit 16) come and go without the program's doing.
        const VOLATILE: u64 = 0x1_0100;
        let [pc, came_back_to, flags, saved_flags] =
            [REG_RIP, REG_RCX, REG_EFL, REG_R11].map(|number| register(machine, number));
        let returned = pc == came_back_to && (flags ^ saved_flags) & !VOLATILE == 0;
        returned.then(|| Registers {
            pc: pc as usize,
            result: register(machine, REG_RAX) as i64,
            arguments: Some([REG_RDI, REG_RSI, REG_RDX].map(|number| register(machine, number))),
            rest: [REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9].map(|number| register(machine, number)),
            number: loaded_number(pc as usize),
            stack: register(machine, REG_RSP) as usize,
            link: None,
        })
    }

    /// The number in `mov $number, %eax; syscall`, the two instructions before `pc`.
    fn loaded_number(pc: usize) -> Option<u64> {
        const LENGTH: usize = 7;
        // The page of `pc` is mapped; the page before it need not be.
        if pc % 4096 < LENGTH {
            return None;
        }
        // SAFETY: the bytes before `pc` lie in the page that is being executed.
        let code = unsafe { ((pc - LENGTH) as *const [u8; LENGTH]).read_volatile() };
        match code {
            [0xb8, a, b, c, d, 0x0f, 0x05] => Some(u64::from(u32::from_le_bytes([a, b, c, d]))),
            _ => None,
        }
    }
}

/// aarch64: `svc` leaves its number in x8; the result takes the place of the first argument in x0.
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod processor {
    use super::super::first_argument::{self, Place};
    use super::super::frame::{CONTEXT, Entered, Own};
    use super::Registers;
    use crate::observe::in_handler::read_own_memory;

    /// The context that a handler has been entered with, whatever the flags of its disposition.
    pub(super) fn stacked_frame(machine: &libc::mcontext_t) -> Option<*const libc::ucontext_t> {
        let [signal, info, context, record, back_to] = [0, 1, 2, 29, 30].map(|number| machine.regs[number]);
        let entered = Entered {
            signal,
            info: info as usize,
            context: context as usize,
            stack: machine.sp as usize,
            record: record as usize,
            back_to: back_to as usize,
        };
        entered.frame(&Own).map(|_| (entered.stack + CONTEXT) as *const libc::ucontext_t)
    }

    pub(super) fn after_system_call(machine: &libc::mcontext_t) -> Option<Registers> {
        /// `svc #0`
        const SVC: u32 = 0xd400_0001;
        (instruction_before(machine.pc as usize)? == SVC).then(|| Registers {
            pc: machine.pc as usize,
            result: machine.regs[0] as i64,
            arguments: None,
            rest: [1, 2, 3, 4, 5].map(|number| machine.regs[number]),
            number: Some(machine.regs[8]),
            stack: machine.sp as usize,
            link: Some(machine.regs[30] as usize),
        })
    }

    /// One `svc` in 1,024 is the last word of its page. That page is mapped if `svc` was there, and the kernel is asked: code
    /// that was jumped to at the beginning of its page may have nothing before it.
    fn instruction_before(pc: usize) -> Option<u32> {
        let before = pc.checked_sub(4)?;
        if pc % 4096 != 0 {
            // SAFETY: the four bytes before `pc` lie in the page that is being executed.
            return Some(unsafe { (before as *const u32).read_volatile() });
        }
        let mut instruction = 0_u32;
        let to = libc::iovec { iov_base: (&raw mut instruction).cast(), iov_len: 4 };
        let from = libc::iovec { iov_base: before as *mut _, iov_len: 4 };
        // SAFETY: room for as many bytes.
        (unsafe { read_own_memory(&to, &[from]) } == 4).then_some(instruction)
    }

    /// The lower half of the first argument of the system call that ended before `pc`, if it is certain where it still is.
    pub(super) fn first_argument(machine: &libc::mcontext_t) -> Option<u32> {
        let svc = (machine.pc as usize).checked_sub(4)?;
        match first_argument::place(svc)? {
            Place::Register(number) => machine.regs.get(number).map(|register| *register as u32),
            Place::Constant(value) => Some(u32::from(value)),
            Place::Stack(offset) => {
                let slot = (machine.sp as usize).checked_add(offset)?;
                // SAFETY: the interrupted code has just read the same slot of its stack.
                Some(unsafe { (slot as *const u32).read_volatile() })
            }
        }
    }
}

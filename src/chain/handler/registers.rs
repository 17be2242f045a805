//! The registers that a system call leaves behind, from the context of a delivery.
//!
//! The kernel makes SIGPIPE inside the system call and delivers it on the way out, so the saved
//! registers are those of the return: the result is there, and on x86-64 the arguments are too.
//!
//! When a signal with a lower number is pending as well, the kernel stacks its frame first and ours
//! on top of it: the saved registers are then those of the other handler's entry, and the frame
//! that they point to holds the context of the system call. [`Registers::of`] follows such frames
//! down.

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
use crate::sys::memory;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
use crate::sys::pages::LEAST_PAGE;
use std::ffi::c_void;

/// By which door the kernel was entered: system calls have other numbers behind each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// The processor's own instruction: `syscall`, `svc #0`.
    Native,
    /// `int 0x80` from 64-bit code: numbers and registers are those of i386.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "others have one gate"))]
    I386,
}

/// What a system call that has just returned left in the registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registers {
    /// Address of the instruction after the system call.
    pub pc: usize,
    /// What the system call returned: a count, or a negative errno.
    pub result: i64,
    /// How the kernel was entered.
    pub gate: Gate,
    /// The first three arguments, where the processor keeps them through the call (x86-64).
    pub arguments: Option<[u64; 3]>,
    /// The second to the sixth argument.
    pub rest: [u64; 5],
    /// The number of the system call: in a register through the call (aarch64), or in the
    /// instruction before it that loaded it (x86-64: nearly always).
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
    /// The registers of the system call that the delivery with this context interrupted on its way
    /// out; none if the context does not look like the return of one.
    ///
    /// # Safety
    /// `context` is null or points to the context of a delivery that is under way on this thread.
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub(super) unsafe fn of(context: *const c_void) -> Option<Self> {
        // SAFETY: by this function's contract.
        processor::after_system_call(unsafe { innermost(context) }?)
    }

    /// The first argument of that system call, 32 bits of it, where [`Self::arguments`] are not
    /// known and the code before the call shows that it still is in some other place (aarch64).
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

/// The registers of the code that was interrupted first, beneath the frames of handlers that have
/// not run yet.
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

/// x86-64: the result is in RAX, the arguments are where they were. RCX and R11 tell nothing:
/// processors with FRED leave them alone, so what proves a system call is the instruction before
/// pc.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod processor {
    use super::{Gate, Registers, code_before};
    use libc::{
        REG_R8, REG_R9, REG_R10, REG_RAX, REG_RBP, REG_RBX, REG_RCX, REG_RDI, REG_RDX, REG_RIP,
        REG_RSI, REG_RSP,
    };

    fn register(machine: &libc::mcontext_t, number: libc::c_int) -> u64 {
        machine.gregs.get(number as usize).map_or(0, |value| *value as u64)
    }

    /// `struct rt_sigframe`: return address (8), ucontext (304), siginfo
    /// (arch/x86/include/asm/sigframe.h). At the entry of a handler RSP points to it, RSI to its
    /// siginfo and RDX to its ucontext.
    pub(super) fn stacked_frame(machine: &libc::mcontext_t) -> Option<*const libc::ucontext_t> {
        let [stack, signal, info, context] =
            [REG_RSP, REG_RDI, REG_RSI, REG_RDX].map(|number| register(machine, number));
        let entry = context == stack.wrapping_add(8)
            && info == context.wrapping_add(304)
            && (1..=64).contains(&signal)
            && register(machine, REG_RAX) == 0;
        entry.then_some(context as *const libc::ucontext_t)
    }

    #[rustfmt::skip]
    const NATIVE: [libc::c_int; 6] = [REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9];
    #[rustfmt::skip]
    const I386: [libc::c_int; 6] = [REG_RBX, REG_RCX, REG_RDX, REG_RSI, REG_RDI, REG_RBP];

    pub(super) fn after_system_call(machine: &libc::mcontext_t) -> Option<Registers> {
        let pc = register(machine, REG_RIP) as usize;
        // Where a processor without FRED says so, the system call before pc was just executed.
        let fell_through = register(machine, REG_RCX) as usize == pc;
        let code = code_before::<CODE>(pc, 2, fell_through)?;
        let (gate, places) = match code {
            [.., 0x0f, 0x05] => (Gate::Native, &NATIVE),
            [.., 0xcd, 0x80] => (Gate::I386, &I386),
            _ => return None,
        };
        let [first, second, third, rest @ ..] = places.map(|number| register(machine, number));
        let [fourth, fifth, sixth] = rest;
        let result = register(machine, REG_RAX) as i64;
        Some(Registers {
            pc,
            // A 32-bit result counts as such, however the kernel has widened it.
            result: if gate == Gate::I386 { i64::from(result as i32) } else { result },
            gate,
            arguments: Some([first, second, third]),
            rest: [second, third, fourth, fifth, sixth],
            number: loaded_number(&code),
            stack: register(machine, REG_RSP) as usize,
            link: None,
        })
    }

    /// The system call, the instruction before it, and the byte before that, which may be its
    /// prefix.
    const CODE: usize = 10;

    /// The number that the instruction before the system call put into EAX. `code` holds zeros
    /// where nothing could be read: no prefix and no instruction that is looked for here.
    pub(super) fn loaded_number(code: &[u8; CODE]) -> Option<u64> {
        // The same bytes behind a REX prefix with R or B load another register.
        let other = |prefix: u8| prefix & 0xf0 == 0x40 && prefix & 0b101 != 0;
        match *code {
            // mov $number, %eax
            [.., prefix, 0xb8, a, b, c, d, _, _] if !other(prefix) => {
                Some(u64::from(u32::from_le_bytes([a, b, c, d])))
            }
            // mov $number, %rax
            [_, 0x48, 0xc7, 0xc0, a, b, c, d, _, _] => {
                Some(u64::from(u32::from_le_bytes([a, b, c, d])))
            }
            // xor %eax, %eax
            [.., prefix, 0x31 | 0x33, 0xc0, _, _] if !other(prefix) => Some(0),
            _ => None,
        }
        // x32 has numbers of its own.
        .filter(|number| *number < 0x4000_0000)
    }

    #[cfg(test)]
    mod tests {
        use super::{CODE, loaded_number};

        fn number(end: &[u8]) -> Option<u64> {
            let mut code = [0; CODE];
            code[CODE - 2 - end.len()..CODE - 2].copy_from_slice(end);
            code[CODE - 2..].copy_from_slice(&[0x0f, 0x05]);
            loaded_number(&code)
        }

        #[test]
        fn only_what_is_loaded_into_the_register_of_the_number_is_one() {
            assert_eq!(number(&[0xb8, 20, 0, 0, 0]), Some(20));
            assert_eq!(number(&[0x48, 0xc7, 0xc0, 20, 0, 0, 0]), Some(20));
            assert_eq!(number(&[0x31, 0xc0]), Some(0));
            assert_eq!(number(&[0x48, 0x33, 0xc0]), Some(0));
            assert_eq!(number(&[0x41, 0xb8, 20, 0, 0, 0]), None, "mov $20, %r8d");
            assert_eq!(number(&[0x45, 0x31, 0xc0]), None, "xor %r8d, %r8d");
            assert_eq!(number(&[0x90]), None);
            assert_eq!(number(&[0xb8, 1, 0, 0, 0x40]), None, "write of x32");
        }
    }
}

/// aarch64: `svc` leaves its number in x8; the result takes the place of the first argument in x0.
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod processor {
    use super::super::first_argument::{self, Place};
    use super::super::frame::{CONTEXT, Entered, Own};
    use super::{Gate, Registers, code_before};

    /// The context that a handler has been entered with, whatever the flags of its disposition.
    pub(super) fn stacked_frame(machine: &libc::mcontext_t) -> Option<*const libc::ucontext_t> {
        let [signal, info, context, record, back_to] =
            [0, 1, 2, 29, 30].map(|number| machine.regs[number]);
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
        // One `svc` in 1,024 is the last word of its page.
        let instruction = u32::from_le_bytes(code_before::<4>(machine.pc as usize, 4, false)?);
        (instruction == SVC).then(|| Registers {
            pc: machine.pc as usize,
            result: machine.regs[0] as i64,
            gate: Gate::Native,
            arguments: None,
            rest: [1, 2, 3, 4, 5].map(|number| machine.regs[number]),
            number: Some(machine.regs[8]),
            stack: machine.sp as usize,
            link: Some(machine.regs[30] as usize),
        })
    }

    /// The lower half of the first argument of the system call that ended before `pc`, if it is
    /// certain where it still is.
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

/// The `N` bytes of code before `pc`, the last `least` of them at least; zeros stand for those that
/// cannot be read.
///
/// The page of `pc` is mapped, as it is being executed. The page before it need not be: a jump may
/// have led to the start of a page. So the kernel copies from there, and nothing faults.
/// `fell_through` says that the instruction before `pc` is the one that was executed before: then
/// that page is mapped as well, should the kernel not copy.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn code_before<const N: usize>(pc: usize, least: usize, fell_through: bool) -> Option<[u8; N]> {
    let in_page = pc % LEAST_PAGE;
    if in_page >= N {
        // SAFETY: the bytes before `pc` lie in the page that is being executed.
        return Some(unsafe { ((pc - N) as *const [u8; N]).read_volatile() });
    }
    let mut code = [0_u8; N];
    // Without events no system call is made but where nothing else could tell (FRED).
    let silent = crate::observe::without_events::is_on() && (fell_through || in_page >= least);
    if !silent && code_of_two_pages(pc, &mut code) {
        return Some(code);
    }
    let readable = if fell_through { in_page.max(least) } else { in_page };
    for (index, place) in code.iter_mut().rev().enumerate().take(readable) {
        // SAFETY: in the page of `pc`, or part of the instruction that was executed before.
        *place = unsafe { (pc.wrapping_sub(1 + index) as *const u8).read_volatile() };
    }
    (readable >= least).then_some(code)
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[cold]
#[inline(never)]
fn code_of_two_pages(pc: usize, code: &mut [u8]) -> bool {
    pc.checked_sub(code.len()).is_some_and(|from| memory::read(from, code) == code.len())
}

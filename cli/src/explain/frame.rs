//! A signal that a runtime has caught before it ended the process: its siginfo lies on the stack,
//! in the frame that the kernel has made for the handler.
//!
//! Such a frame has no mark. What is taken for one has a siginfo of SIGBUS or SIGSEGV from the
//! kernel, a ucontext before it at the kernel's distance, and in it the trap and the address that
//! belong to the siginfo. A JVM's handler runs on the thread's own stack, a little above where it
//! aborts.

use crate::registers::{Machine, Registers};
use crate::signals::Info;

/// What the kernel had written for the handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The signal.
    pub info: Info,
    /// The instruction that faulted.
    pub pc: u64,
}

/// How far above the stack pointer it is looked for.
const REACH: u64 = 64 << 10;
/// `struct ucontext` of x86-64: flags, link, stack, 32 registers, mask.
const CONTEXT: usize = 304;
/// In it: 40 bytes, then r8 to r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, …
const PC: usize = 40 + 16 * 8;
const TRAP: usize = 40 + 20 * 8;
const ADDRESS: usize = 40 + 22 * 8;
/// A page fault.
const PAGE_FAULT: u64 = 14;

/// Looks for a frame; `memory` reads the thread's memory.
pub fn find<'a>(
    registers: Registers,
    memory: impl Fn(u64, u64) -> Option<&'a [u8]>,
) -> Option<Frame> {
    if registers.machine != Machine::X86_64 {
        return None;
    }
    let stack = memory(registers.stack & !7, REACH)?;
    let word = |at: usize| Some(u64::from_le_bytes(stack.get(at..at + 8)?.try_into().ok()?));
    (CONTEXT..stack.len()).step_by(8).find_map(|at| {
        let info = Info::read(stack.get(at..)?)?;
        let fault =
            matches!(info.signal, libc::SIGBUS | libc::SIGSEGV) && (1..=5).contains(&info.code);
        let context = at - CONTEXT;
        let belongs = fault
            && word(context + TRAP)? == PAGE_FAULT
            && word(context + ADDRESS)? == info.address;
        belongs.then_some(Frame { info, pc: word(context + PC)? })
    })
}

#[cfg(test)]
mod tests {
    use super::{ADDRESS, CONTEXT, PAGE_FAULT, PC, REACH, TRAP, find};
    use crate::registers::{Machine, Registers};

    #[test]
    fn a_frame_is_known_by_what_belongs_together() {
        let registers = Registers {
            machine: Machine::X86_64,
            call: None,
            arguments: [0; 6],
            result: 0,
            pc: 0,
            stack: 0x1000,
        };
        let mut stack = vec![0_u8; 4096];
        let mut put =
            |at: usize, value: u64| stack[at..at + 8].copy_from_slice(&value.to_le_bytes());
        let at = 1584;
        put(at, libc::SIGBUS as u64);
        put(at + 8, 2);
        put(at + 16, 0xabc);
        put(at - CONTEXT + PC, 0x4711);
        put(at - CONTEXT + TRAP, PAGE_FAULT);
        put(at - CONTEXT + ADDRESS, 0xabc);
        let look = |stack: &[u8]| {
            // What is read lives as long as the test.
            let stack: &'static [u8] = stack.to_vec().leak();
            find(registers, |address, count| {
                assert_eq!((address, count), (0x1000, REACH));
                Some(stack)
            })
        };
        let found = look(&stack).unwrap();
        assert_eq!((found.info.signal, found.info.address, found.pc), (7, 0xabc, 0x4711));
        // Another address in the context: it is something else.
        stack[at - CONTEXT + ADDRESS] ^= 1;
        assert_eq!(look(&stack), None);
        assert_eq!(look(&stack[..40]), None);
    }
}

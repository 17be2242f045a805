//! What the kernel leaves on the stack for a signal handler on aarch64, and how to tell it from anything else.
//!
//! `struct rt_sigframe` is a siginfo, then the ucontext (arch/arm64/kernel/signal.c). At the first instruction of a
//! handler SP points to it, whatever the flags of the disposition; x30 returns to the trampoline (the vDSO's, or the C
//! library's), and x29 points to a frame record beyond the frame that holds x29 and x30 of the interrupted code. x1 and
//! x2 are siginfo and ucontext with `SA_SIGINFO` only: without it they are what the interrupted code had in them, of
//! write(2) the buffer and the count, and the siginfo is not filled.

#[cfg(target_arch = "aarch64")]
use super::arrival::Arrival;
#[cfg(target_arch = "aarch64")]
use std::ffi::{c_int, c_void};

/// Where the ucontext is: behind the siginfo.
pub(super) const CONTEXT: usize = 128;
const LEAST: usize = CONTEXT + 4560;
/// With the vectors and matrices of any processor so far a frame is a tenth of that.
const MOST: usize = 1 << 20;

/// x29 and x30 among the registers of the context.
const SAVED_RECORD: usize = CONTEXT + 176 + 8 + 29 * 8;
/// The head of the context's first extension, the vector registers (`FPSIMD_MAGIC`, and the size of that record).
const EXTENSIONS: usize = CONTEXT + 464;
const VECTORS: u64 = 528 << 32 | 0x4650_8001;

/// `mov x8, #139; svc #0`: rt_sigreturn(2).
const TRAMPOLINE: [u32; 2] = [0xd280_1168, 0xd400_0001];

/// The registers that say whether a handler has just been entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entered {
    /// x0.
    pub signal: u64,
    /// x1.
    pub info: usize,
    /// x2.
    pub context: usize,
    pub stack: usize,
    /// x29.
    pub record: usize,
    /// x30.
    pub back_to: usize,
}

/// A frame that the kernel has stacked, at the stack pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// Whether the kernel has written the siginfo: the disposition has `SA_SIGINFO`.
    pub filled: bool,
}

/// Memory that is known to be there once the checks before have passed.
pub(super) trait Memory {
    fn word(&self, address: usize) -> u64;
    fn instruction(&self, address: usize) -> u32;
}

impl Entered {
    /// The frame at the stack pointer, if these are the registers with which the kernel, or a handler whose last deed it
    /// is, enters a handler.
    ///
    /// The cheap checks come first, so that the others read nothing that is not there: a record that lies so far above the
    /// stack pointer says that the stack goes on to it.
    pub(super) fn frame(&self, memory: &impl Memory) -> Option<Frame> {
        let Self { signal, info, context, stack, record, back_to } = *self;
        if !(1..=64).contains(&signal) || stack % 16 != 0 {
            return None;
        }
        if info == stack && context == stack.wrapping_add(CONTEXT) {
            return Some(Frame { filled: true });
        }
        let shaped = record % 16 == 0
            && (LEAST..MOST).contains(&record.wrapping_sub(stack))
            && back_to % 4 == 0
            && back_to >= 0x1000;
        let known = shaped
            && memory.word(stack + EXTENSIONS) == VECTORS
            && memory.word(record) == memory.word(stack + SAVED_RECORD)
            && memory.word(record + 8) == memory.word(stack + SAVED_RECORD + 8)
            && memory.instruction(back_to) == TRAMPOLINE[0]
            && memory.instruction(back_to + 4) == TRAMPOLINE[1];
        known.then_some(Frame { filled: false })
    }
}

/// The memory of this process.
#[cfg(target_arch = "aarch64")]
pub(super) struct Own;

#[cfg(target_arch = "aarch64")]
impl Memory for Own {
    fn word(&self, address: usize) -> u64 {
        // SAFETY: asked for between a stack pointer and a frame record above it only.
        unsafe { (address as *const u64).read_volatile() }
    }

    fn instruction(&self, address: usize) -> u32 {
        // SAFETY: asked for where a frame, known for one by its shape, says that its handler returns to.
        unsafe { (address as *const u32).read_volatile() }
    }
}

#[cfg(target_arch = "aarch64")]
impl Arrival {
    /// The arguments that this delivery really has, from what an entry point was entered with: its three arguments, SP, x30, x29.
    ///
    /// The registers x1 and x2 are what a handler above passes on, or what the kernel's frame says; in a disposition without
    /// `SA_SIGINFO` they are the interrupted code's, and the frame is at the stack pointer all the same.
    pub(super) fn of(
        signal: c_int,
        info: *mut libc::siginfo_t,
        context: *mut c_void,
        stack: usize,
        back_to: usize,
        record: usize,
    ) -> Self {
        let entered = Entered {
            signal: u64::from(signal.unsigned_abs()),
            info: info as usize,
            context: context as usize,
            stack,
            record,
            back_to,
        };
        let frame = entered.frame(&Own);
        let by_kernel = frame.is_some();
        let arrival = Self { signal, info, context, by_kernel, filled: true, called_with: None, stack };
        match frame {
            Some(Frame { filled: true }) => arrival,
            Some(Frame { filled: false }) => {
                let (info, context) = (stack as *mut libc::siginfo_t, (stack + CONTEXT) as *mut c_void);
                Self { info, context, ..arrival }.unfilled()
            }
            None => arrival.passed_on(stack),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const STACK: usize = 0x7f00_0000_1230;
    const RECORD: usize = STACK + LEAST;
    const BACK_TO: usize = 0x7f55_0000_0ffc;

    #[derive(Clone)]
    struct Image(HashMap<usize, u64>);

    impl Memory for Image {
        fn word(&self, address: usize) -> u64 {
            *self.0.get(&address).expect("only what is there is read")
        }

        fn instruction(&self, address: usize) -> u32 {
            self.word(address) as u32
        }
    }

    fn frame() -> (Entered, Image) {
        let words = [
            (STACK + 592, VECTORS),
            (STACK + 544, 0x7f00_0000_8000),
            (STACK + 552, 0x55_0000_1000),
            (RECORD, 0x7f00_0000_8000),
            (RECORD + 8, 0x55_0000_1000),
            (BACK_TO, u64::from(TRAMPOLINE[0])),
            (BACK_TO + 4, u64::from(TRAMPOLINE[1])),
        ];
        let entered =
            Entered { signal: 13, info: 0x1000, context: 7, stack: STACK, record: RECORD, back_to: BACK_TO };
        (entered, Image(words.into_iter().collect()))
    }

    #[test]
    fn a_frame_is_known_by_its_trampoline_and_its_record() {
        let (entered, image) = frame();
        assert_eq!(entered.frame(&image), Some(Frame { filled: false }));
        for place in [STACK + 592, RECORD, RECORD + 8, BACK_TO, BACK_TO + 4] {
            let mut other = image.clone();
            other.0.insert(place, 1);
            assert_eq!(entered.frame(&other), None, "{place:#x}");
        }
    }

    /// A caller's frame is not looked into at all: the stack may end right above it.
    #[test]
    fn nothing_is_read_for_a_call_by_another_function() {
        let nothing = Image(HashMap::new());
        let (entered, _) = frame();
        for other in [
            Entered { signal: 0, ..entered },
            Entered { signal: 65, ..entered },
            Entered { stack: STACK + 8, ..entered },
            Entered { record: STACK + 64, ..entered },
            Entered { record: 0, ..entered },
            Entered { record: STACK + MOST, ..entered },
            Entered { back_to: 0, ..entered },
            Entered { back_to: BACK_TO + 2, ..entered },
        ] {
            assert_eq!(other.frame(&nothing), None, "{other:?}");
        }
        let full = Entered { info: STACK, context: STACK + CONTEXT, ..entered };
        assert_eq!(full.frame(&nothing), Some(Frame { filled: true }));
    }
}

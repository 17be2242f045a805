//! What the kernel leaves on the stack for a signal handler on aarch64, and how to tell it from
//! anything else.
//!
//! `struct rt_sigframe` is a siginfo, then the ucontext (arch/arm64/kernel/signal.c). At the first
//! instruction of a handler SP points to it, whatever the flags of the disposition; x30 returns to
//! the trampoline (the vDSO's, or the C library's), and x29 points to a frame record beyond the
//! frame that holds x29 and x30 of the interrupted code. x1 and x2 are siginfo and ucontext with
//! `SA_SIGINFO` only: without it they are what the interrupted code had in them, of write(2) the
//! buffer and the count, and the siginfo is not filled.

#[cfg(target_arch = "aarch64")]
use super::super::arrival::Arrival;
use super::REACH;
use crate::sys::pages::LEAST_PAGE as PAGE;
#[cfg(target_arch = "aarch64")]
use std::ffi::{c_int, c_void};

/// Where the ucontext is: behind the siginfo.
pub(in super::super) const CONTEXT: usize = 128;
const LEAST: usize = CONTEXT + 4560;
/// With the vectors and matrices of any processor so far a frame is a tenth of that.
const MOST: usize = 1 << 20;

/// x29 and x30 among the registers of the context.
const SAVED_RECORD: usize = CONTEXT + 176 + 8 + 29 * 8;
/// The head of the context's first extension, the vector registers (`FPSIMD_MAGIC`, and the size of
/// that record).
const EXTENSIONS: usize = CONTEXT + 464;
const VECTORS: u64 = 528 << 32 | 0x4650_8001;

/// `mov x8, #139; svc #0`: rt_sigreturn(2).
const TRAMPOLINE: [u32; 2] = [0xd280_1168, 0xd400_0001];

/// The registers that say whether a handler has just been entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Entered {
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
pub(in super::super) struct Frame {
    /// Whether the kernel has written the siginfo: the disposition has `SA_SIGINFO`.
    pub filled: bool,
}

/// Memory that is known to be there once the checks before have passed.
pub(in super::super) trait Memory {
    fn word(&self, address: usize) -> u64;
    fn instruction(&self, address: usize) -> u32;
    /// Whether the page of this address can be read.
    fn is_there(&self, address: usize) -> bool;
}

impl Entered {
    /// The frame at the stack pointer, if these are the registers with which the kernel, or a
    /// handler whose last deed it is, enters a handler.
    ///
    /// The cheap checks come first, so that the others read nothing that is not there: a record
    /// that lies so far above the stack pointer says that the stack goes on to it.
    pub(in super::super) fn frame(&self, memory: &impl Memory) -> Option<Frame> {
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

/// The innermost frame on the stack above `stack`, on which the line of frame records begins at
/// `record`.
///
/// Each function's record leads to that of its caller, and a handler's to the one that the kernel
/// has put right behind its frame: where a frame lies before a record, and both hold the same two
/// registers of the interrupted code, the kernel has just called the function below. Code that
/// makes no records of its own leaves x29 as it was, so that the line begins further up.
pub(super) fn innermost(stack: usize, mut record: usize, memory: &impl Memory) -> Option<usize> {
    let end = stack.checked_add(REACH)?;
    let mut known = stack & !(PAGE - 1);
    let mut low = stack;
    while low <= record && record < end && record.is_multiple_of(8) {
        while known < record + 16 {
            if !memory.is_there(known) {
                return None;
            }
            known += PAGE;
        }
        if let Some(frame) = ending_at(record, low, memory) {
            return Some(frame);
        }
        low = record + 16;
        record = memory.word(record) as usize;
    }
    None
}

/// The frame that lies right before this record, above `low`. All of it can be read.
fn ending_at(record: usize, low: usize, memory: &impl Memory) -> Option<usize> {
    let last =
        record.checked_sub(LEAST).filter(|last| record.is_multiple_of(16) && *last >= low)?;
    let registers = [memory.word(record), memory.word(record + 8)];
    (low.next_multiple_of(16)..=last).rev().step_by(16).find(|frame| {
        memory.word(frame + EXTENSIONS) == VECTORS
            && [0, 8].map(|other| memory.word(frame + SAVED_RECORD + other)) == registers
            && frame + size(*frame, memory) == record
    })
}

/// How large this frame is: what does not fit into the context follows it, and one of the context's
/// extensions says where (`struct extra_context`, arch/arm64/include/uapi/asm/sigcontext.h).
fn size(frame: usize, memory: &impl Memory) -> usize {
    const EXTRA: u64 = 0x4558_5401;
    let mut at = frame + EXTENSIONS;
    while at + 32 <= frame + LEAST {
        let head = memory.word(at);
        let (magic, length) = (head & 0xffff_ffff, (head >> 32) as usize);
        if magic == EXTRA {
            let [start, length] = [at + 8, at + 16].map(|place| memory.word(place) as usize);
            return start.wrapping_add(length & 0xffff_ffff).wrapping_sub(frame);
        }
        if magic == 0 || length < 16 || !length.is_multiple_of(16) {
            break;
        }
        at += length;
    }
    LEAST
}

/// The memory of this process.
#[cfg(target_arch = "aarch64")]
pub(in super::super) struct Own;

#[cfg(target_arch = "aarch64")]
impl Memory for Own {
    fn word(&self, address: usize) -> u64 {
        // SAFETY: asked for between a stack pointer and a frame record above it only.
        unsafe { (address as *const u64).read_volatile() }
    }

    fn instruction(&self, address: usize) -> u32 {
        // SAFETY: asked for where a frame, known by its shape, says that its handler returns to.
        unsafe { (address as *const u32).read_volatile() }
    }

    fn is_there(&self, address: usize) -> bool {
        crate::sys::memory::is_there(address & !7)
    }
}

#[cfg(target_arch = "aarch64")]
impl Arrival {
    /// The arguments that this delivery really has, from what an entry point was entered with: its
    /// three arguments, SP, x30, x29.
    ///
    /// The registers x1 and x2 are what a handler above passes on, or what the kernel's frame says;
    /// in a disposition without `SA_SIGINFO` they are the interrupted code's, and the frame is at
    /// the stack pointer all the same.
    pub(in super::super) fn of(
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
        let arrival =
            Self { signal, info, context, by_kernel, filled: true, called_with: None, stack };
        match frame {
            Some(Frame { filled: true }) => arrival,
            Some(Frame { filled: false }) => {
                let (info, context) =
                    (stack as *mut libc::siginfo_t, (stack + CONTEXT) as *mut c_void);
                Self { info, context, ..arrival }.unfilled()
            }
            None => arrival.passed_on(stack, record),
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

        fn is_there(&self, _address: usize) -> bool {
            true
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
        let entered = Entered {
            signal: 13,
            info: 0x1000,
            context: 7,
            stack: STACK,
            record: RECORD,
            back_to: BACK_TO,
        };
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

    /// A stack that ends somewhere, zero where nothing was written.
    struct Stack(HashMap<usize, u64>, std::ops::Range<usize>);

    impl Memory for Stack {
        fn word(&self, address: usize) -> u64 {
            assert!(self.1.contains(&address), "{address:#x}");
            self.0.get(&address).copied().unwrap_or_default()
        }

        fn instruction(&self, _address: usize) -> u32 {
            unreachable!()
        }

        fn is_there(&self, address: usize) -> bool {
            self.1.contains(&address)
        }
    }

    const INTERRUPTED: [u64; 2] = [STACK as u64 + 0x7000, 0x55_0000_1000];

    impl Stack {
        /// The kernel's frame at `frame`, of this size, with its record.
        fn with_frame(frame: usize, size: usize) -> Self {
            let mut words: HashMap<usize, u64> = [
                (frame + EXTENSIONS, VECTORS),
                (frame + SAVED_RECORD, INTERRUPTED[0]),
                (frame + SAVED_RECORD + 8, INTERRUPTED[1]),
                (frame + size, INTERRUPTED[0]),
                (frame + size + 8, INTERRUPTED[1]),
            ]
            .into();
            if size > LEAST {
                let extra = frame + EXTENSIONS + 528;
                words.insert(extra, 32 << 32 | 0x4558_5401);
                words.insert(extra + 8, (frame + LEAST) as u64);
                words.insert(extra + 16, (size - LEAST) as u64);
            }
            Self(words, STACK & !(PAGE - 1)..(STACK & !(PAGE - 1)) + 16 * PAGE)
        }

        /// A function's frame record that leads to its caller's.
        fn call(mut self, record: usize, callers: usize) -> Self {
            self.0.insert(record, callers as u64);
            self.0.insert(record + 8, 0x55_0000_2000);
            self
        }
    }

    #[test]
    fn the_line_of_frame_records_leads_to_the_frame_of_the_handler_at_work() {
        for size in [LEAST, LEAST + 16, LEAST + 9008] {
            let frame = STACK + 0x420;
            let record = frame + size;
            let stack = Stack::with_frame(frame, size);
            assert_eq!(innermost(STACK, record, &stack), Some(frame), "no records of its own");
            assert_eq!(innermost(frame, record, &stack), Some(frame), "right at the stack pointer");
            let stack = stack.call(STACK + 0x10, STACK + 0x98).call(STACK + 0x98, record);
            assert_eq!(innermost(STACK, STACK + 0x10, &stack), Some(frame));
            assert_eq!(innermost(frame + 16, record, &stack), None, "below the stack pointer");
        }
    }

    #[test]
    fn what_only_looks_like_a_frame_is_none() {
        let frame = STACK + 0x420;
        let record = frame + LEAST;
        for place in [EXTENSIONS, SAVED_RECORD, SAVED_RECORD + 8, LEAST, LEAST + 8] {
            let mut stack = Stack::with_frame(frame, LEAST);
            stack.0.insert(frame + place, 1);
            assert_eq!(innermost(STACK, record, &stack), None, "{place}");
        }
        // One that was left there, and is not right before the record that the line comes to.
        let left = Stack::with_frame(frame, LEAST).call(record + 0x100, record + 0x200);
        assert_eq!(innermost(STACK, record + 0x100, &left), None);
        // Of an outer handler, before which the line ends, or goes back.
        for caller in [0, STACK, record + 4, usize::MAX - 7] {
            let broken = Stack::with_frame(frame, LEAST).call(STACK + 0x10, caller);
            assert_eq!(innermost(STACK, STACK + 0x10, &broken), None, "{caller:#x}");
        }
    }

    #[test]
    fn a_stack_is_read_as_far_as_it_goes_and_no_further_than_handlers_take() {
        let frame = STACK + 0x420;
        let mut short = Stack::with_frame(frame, LEAST);
        short.1.end = (frame + LEAST) & !(PAGE - 1);
        assert_eq!(innermost(STACK, frame + LEAST, &short), None);
        let far = Stack::with_frame(STACK + REACH - LEAST, LEAST);
        assert_eq!(innermost(STACK, STACK + REACH, &far), None);
        assert_eq!(innermost(usize::MAX - 15, usize::MAX - 15, &far), None);
    }
}

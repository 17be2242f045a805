//! aarch64: from the registers at an entry point to the stack that it goes on with.

use super::{
    ALL, ENOUGH, HALF, LEAST, LEAST_WITHOUT_EVENTS, MEMORY, Memory, Onward, SIZE, TRIES, WORDS,
    Words, deliver, offset_of, on_own_stack, without_events,
};
use crate::chain::handler::Arrival;
use std::ffi::{c_int, c_void};

/// A millisecond, for ppoll(2).
static MOMENT: [u64; 2] = [0, 1_000_000];

pub(super) fn arrival(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
    stack: usize,
    onward: &Onward,
) -> Arrival {
    Arrival::of(signal, info, context, stack, onward.info.addr(), onward.context.addr())
}

/// # Safety
/// Called with what an entry point was entered with: its three arguments, SP, x30, x29, and its
/// number.
unsafe extern "C" fn on_this_stack(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
    stack: usize,
    back_to: usize,
    record: usize,
    index: usize,
) {
    // SAFETY: the kernel's frame, or pointers of which no more is left than can be read.
    unsafe { deliver(index, Arrival::of(signal, info, context, stack, back_to, record)) }
}

/// Takes one of the stacks that are for the signal in W19: its word in X26, its end in X10. Jumps
/// to 6 if none is free.
macro_rules! take {
    () => {
        "adrp x9, {words}
        ldr x9, [x9, :lo12:{words}]
        cbz x9, 6f
        add x9, x9, #{taken}
        adrp x10, {memory}
        add x10, x10, :lo12:{memory}
        mov x12, #{size}
        add x10, x10, x12
        cmp w19, #{pipe}
        b.eq 2f
        add x9, x9, #({half} * 4)
        mov x13, #({half} * {size})
        add x10, x10, x13
    2:
        mov w11, #{half}
        mov w13, #1
    3:
        ldaxr w14, [x9]
        cbnz w14, 4f
        stxr w14, w13, [x9]
        cbnz w14, 3b
        mov x26, x9
        b 5f
    4:
        clrex
        add x9, x9, #4
        add x10, x10, x12
        subs w11, w11, #1
        b.ne 3b
        b 6f
    5:"
    };
}

/// rt_sigprocmask(SIG_SETMASK, X1, X2).
macro_rules! set_mask {
    () => {
        "mov x0, #2
        mov x3, #8
        mov x8, #{sigprocmask}
        svc #0"
    };
}

/// What an entry point goes on with: its three arguments, SP in x3, x30 in x4, x29 in x5, and its
/// number in x6.
///
/// The kernel's frame lies at the stack pointer: the siginfo, then the ucontext, whose third word
/// says where the alternate stack is. Without `SA_SIGINFO` it is known by its shape (`frame`), as
/// far as can be seen without a stack; what is taken for one here and is none reads words below the
/// caller's frame record, and is looked at again.
#[unsafe(naked)]
pub(in crate::chain) unsafe extern "C" fn arrive() {
    std::arch::naked_asm!(
        "add x9, x3, #128",
        "cmp x1, x3",
        "ccmp x2, x9, #0, eq",
        "b.eq 2f",
        "tst x5, #15",
        "b.ne {called}",
        "sub x9, x5, x3",
        "mov x10, #4688",
        "cmp x9, x10",
        "b.lo {called}",
        "cmp x9, #256, lsl #12",
        "b.hs {called}",
        "ldr x10, [x3, #592]",
        "mov x11, #0x8001",
        "movk x11, #0x4650, lsl #16",
        "movk x11, #528, lsl #32",
        "cmp x10, x11",
        "b.ne {called}",
        "2:",
        "adrp x11, {quiet}",
        "ldrb w11, [x11, :lo12:{quiet}]",
        "ldr x9, [x3, #144]",
        "ldr x10, [x3, #160]",
        "sub x9, x3, x9",
        "cmp x9, x10",
        "b.hs 4f",
        "mov x10, #{least}",
        "mov x12, #{least_quiet}",
        "cmp w11, #0",
        "csel x10, x10, x12, eq",
        "cmp x9, x10",
        "b.lo {switch}",
        "b {here}",
        // A thread's own stack. rt_sigaction(2) reads the action before it refuses a signal of
        // number 0.
        "4:",
        "cbnz w11, {here}",
        "mov x9, x0",
        "mov x10, x1",
        "mov x11, x2",
        "mov x12, x3",
        "mov x0, #0",
        "sub x1, x12, #1, lsl #12",
        "mov x2, #0",
        "mov x3, #8",
        "mov x8, #{sigaction}",
        "svc #0",
        "cmn x0, #14",
        "b.eq 5f",
        "mov x0, #0",
        "sub x1, x12, #2, lsl #12",
        "svc #0",
        "5:",
        "cmn x0, #14",
        "mov x0, x9",
        "mov x1, x10",
        "mov x2, x11",
        "mov x3, x12",
        "b.eq {switch}",
        "b {here}",
        called = sym called,
        here = sym on_this_stack,
        switch = sym switch_stack,
        quiet = sym without_events::ON,
        least = const LEAST,
        least_quiet = const LEAST_WITHOUT_EVENTS,
        sigaction = const libc::SYS_rt_sigaction,
    )
}

/// The kernel has called, and there is little stack. Nothing is written to it: registers that a
/// function would have to keep are free, as the kernel puts them all back from its frame.
#[unsafe(naked)]
unsafe extern "C" fn switch_stack() {
    std::arch::naked_asm!(
        "mov x19, x0",
        "mov x20, x1",
        "mov x21, x2",
        "mov x22, x3",
        "mov x23, x4",
        "mov x24, x5",
        "mov x25, x6",
        "mov x28, #{tries}",
        "adrp x1, {all}",
        "add x1, x1, :lo12:{all}",
        "mov x2, #0",
        set_mask!(),
        "9:",
        take!(),
        "sub sp, x10, #64",
        "mov x0, x19",
        "mov x1, x20",
        "mov x2, x21",
        "mov x3, x22",
        "mov x4, x25",
        "mov x5, sp",
        "stp x23, x24, [sp, #24]",
        "bl {decide}",
        "ldp x27, x10, [sp]",
        "ldp x25, x20, [sp, #16]",
        "ldr x21, [sp, #32]",
        "mov sp, x22",
        "stlr wzr, [x26]",
        "mov x29, x24",
        "mov x30, x23",
        "cbz x27, 7f",
        "str x10, [sp, #136]",
        "add x1, sp, #136",
        "mov x2, #0",
        set_mask!(),
        "str xzr, [sp, #136]",
        "mov x0, x19",
        "mov x1, x20",
        "mov x2, x21",
        "mov x3, x22",
        "mov x4, x25",
        "mov x16, x27",
        "br x16",
        // All are in use, or there are none.
        "6:",
        "ldr x9, [x22, #144]",
        "ldr x10, [x22, #160]",
        "sub x9, x22, x9",
        "cmp x9, x10",
        "b.hs 8f",
        "mov x10, #{enough}",
        "cmp x9, x10",
        "b.lo 8f",
        "mov x0, x19",
        "mov x1, x20",
        "mov x2, x21",
        "mov x3, x22",
        "mov x4, x23",
        "mov x5, x24",
        "mov x6, x25",
        "b {here}",
        "8:",
        "subs x28, x28, #1",
        "b.eq 7f",
        "mov x0, #0",
        "mov x1, #0",
        "adrp x2, {moment}",
        "add x2, x2, :lo12:{moment}",
        "mov x3, #0",
        "mov x4, #0",
        "mov x8, #{ppoll}",
        "svc #0",
        "b 9b",
        "7:",
        "ret",
        tries = const TRIES,
        all = sym ALL,
        sigprocmask = const libc::SYS_rt_sigprocmask,
        ppoll = const libc::SYS_ppoll,
        moment = sym MOMENT,
        words = sym WORDS,
        taken = const offset_of!(Words, stacks),
        memory = sym MEMORY,
        size = const SIZE,
        pipe = const libc::SIGPIPE,
        half = const HALF,
        enough = const ENOUGH,
        decide = sym on_own_stack,
        here = sym on_this_stack,
    )
}

/// A handler above has called. It is a function with a stack of its own frames, so some words of it
/// are ours, as they are any function's; where the alternate stack is, the kernel says.
#[unsafe(naked)]
unsafe extern "C" fn called() {
    std::arch::naked_asm!(
        "adrp x11, {quiet}",
        "ldrb w11, [x11, :lo12:{quiet}]",
        "cbnz w11, {here}",
        "sub sp, sp, #32",
        "mov x9, x0",
        "mov x10, x1",
        "mov x0, #0",
        "mov x1, sp",
        "mov x8, #{sigaltstack}",
        "svc #0",
        "ldr x11, [sp]",
        "ldr x12, [sp, #16]",
        "add sp, sp, #32",
        "mov x13, x0",
        "mov x0, x9",
        "mov x1, x10",
        "cbnz x13, {here}",
        "sub x11, x3, x11",
        "cmp x11, x12",
        "b.hs {here}",
        "mov x12, #{least}",
        "cmp x11, x12",
        "b.hs {here}",
        "b {switch}",
        quiet = sym without_events::ON,
        here = sym on_this_stack,
        switch = sym switch_stack_called,
        sigaltstack = const libc::SYS_sigaltstack,
        least = const LEAST,
    )
}

/// The same with little stack: some words of it, and a call in place of the jump, as the caller's
/// mask comes back afterwards.
#[unsafe(naked)]
unsafe extern "C" fn switch_stack_called() {
    std::arch::naked_asm!(
        "stp x29, x30, [sp, #-112]!",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]",
        "stp x27, x28, [sp, #80]",
        "mov x29, sp",
        "mov x19, x0",
        "mov x20, x1",
        "mov x21, x2",
        "mov x22, x3",
        "mov x23, x4",
        "mov x24, x5",
        "mov x25, x6",
        "adrp x1, {all}",
        "add x1, x1, :lo12:{all}",
        "add x2, sp, #96",
        set_mask!(),
        "cbnz x0, 8f",
        take!(),
        "ldr x9, [x29, #96]",
        "sub sp, x10, #64",
        "mov x0, x19",
        "mov x1, x20",
        "mov x2, x21",
        "mov x3, x22",
        "mov x4, x25",
        "mov x5, sp",
        "str x9, [sp, #8]",
        "stp x23, x24, [sp, #24]",
        "bl {decide}",
        "ldp x27, x10, [sp]",
        "ldp x25, x20, [sp, #16]",
        "ldr x21, [sp, #32]",
        "mov sp, x29",
        "stlr wzr, [x26]",
        "cbz x27, 7f",
        "str x10, [sp, #104]",
        "add x1, sp, #104",
        "mov x2, #0",
        set_mask!(),
        "mov x0, x19",
        "mov x1, x20",
        "mov x2, x21",
        "mov x3, x22",
        "mov x4, x25",
        "blr x27",
        "7:",
        "add x1, sp, #96",
        "mov x2, #0",
        set_mask!(),
        "b 9f",
        // None is free: on what is left.
        "6:",
        "add x1, sp, #96",
        "mov x2, #0",
        set_mask!(),
        "8:",
        "mov x0, x19",
        "mov x1, x20",
        "mov x2, x21",
        "mov x3, x22",
        "mov x4, x23",
        "mov x5, x24",
        "mov x6, x25",
        "bl {here}",
        "9:",
        "ldp x19, x20, [sp, #16]",
        "ldp x21, x22, [sp, #32]",
        "ldp x23, x24, [sp, #48]",
        "ldp x25, x26, [sp, #64]",
        "ldp x27, x28, [sp, #80]",
        "ldp x29, x30, [sp], #112",
        "ret",
        all = sym ALL,
        sigprocmask = const libc::SYS_rt_sigprocmask,
        words = sym WORDS,
        taken = const offset_of!(Words, stacks),
        memory = sym MEMORY,
        size = const SIZE,
        pipe = const libc::SIGPIPE,
        half = const HALF,
        decide = sym on_own_stack,
        here = sym on_this_stack,
    )
}

const _: () = assert!(size_of::<Onward>() <= 64 && size_of::<Memory>().is_multiple_of(64));

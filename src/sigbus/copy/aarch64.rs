//! The copy for aarch64, and what its registers mean where it can fault.
//!
//! | bytes | how |
//! |---|---|
//! | up to 128 | all loads (they overlap in the middle), then all stores |
//! | more | rounds of 64 bytes to a destination aligned to 16 |
//!
//! Rounds go upwards and nothing is stored before it was loaded, so what came over is a prefix and
//! the rest of the destination is as it was. X0, X1 and X2 stay as they were passed.

use super::in_handler::{Going, Range, State};
use super::name;
use crate::chain::General;
use std::arch::global_asm;

unsafe extern "C" {
    /// Copies `len` bytes (at least 1) and returns how many came over. There is one way here.
    #[link_name = name!("copy")]
    pub(super) unsafe fn copy(dst: *mut u8, src: *const u8, len: usize, way: usize) -> usize;

    /// The ranges of `copy` in which it may fault.
    #[link_name = name!("copy_ranges")]
    static RANGES: [Range; 3];
}

/// Signal-safe.
pub(super) fn ranges() -> &'static [Range] {
    // SAFETY: beside the code, of that length; nobody writes there.
    unsafe { &RANGES }
}

// Numbers for labels, because two versions of this crate may end up in one module.
global_asm!(
    ".pushsection .text.sigward_copy, \"ax\", @progbits",
    concat!(".globl \"", name!("copy"), "\""),
    concat!(".hidden \"", name!("copy"), "\""),
    concat!(".type \"", name!("copy"), "\", @function"),
    ".p2align 6",
    // x0 to, x1 from, x2 length.
    concat!("\"", name!("copy"), "\":"),
    ".cfi_startproc",
    "2: hint #34", // bti c
    "add x6, x1, x2",
    "add x7, x0, x2",
    "cmp x2, #32",
    "b.hi 7f",
    "cmp x2, #16",
    "b.lo 3f",
    // 16 to 32 bytes.
    "ldr q0, [x1]",
    "ldr q1, [x6, #-16]",
    "str q0, [x0]",
    "str q1, [x7, #-16]",
    "mov x0, x2",
    "ret",
    // 8 to 15.
    "3: tbz x2, #3, 4f",
    "ldr x8, [x1]",
    "ldr x9, [x6, #-8]",
    "str x8, [x0]",
    "str x9, [x7, #-8]",
    "mov x0, x2",
    "ret",
    // 4 to 7.
    "4: tbz x2, #2, 5f",
    "ldr w8, [x1]",
    "ldr w9, [x6, #-4]",
    "str w8, [x0]",
    "str w9, [x7, #-4]",
    "mov x0, x2",
    "ret",
    // 2 and 3.
    "5: tbz x2, #1, 6f",
    "ldrh w8, [x1]",
    "ldrh w9, [x6, #-2]",
    "strh w8, [x0]",
    "strh w9, [x7, #-2]",
    "mov x0, x2",
    "ret",
    "6: ldrb w8, [x1]",
    "strb w8, [x0]",
    "mov x0, x2",
    "ret",
    "7: cmp x2, #128",
    "b.hi 20f",
    "cmp x2, #64",
    "b.hi 8f",
    // 33 to 64.
    "ldp q0, q1, [x1]",
    "ldp q2, q3, [x6, #-32]",
    "stp q0, q1, [x0]",
    "stp q2, q3, [x7, #-32]",
    "mov x0, x2",
    "ret",
    // 65 to 128.
    "8: ldp q0, q1, [x1]",
    "ldp q2, q3, [x1, #32]",
    "ldp q4, q5, [x6, #-64]",
    "ldp q6, q7, [x6, #-32]",
    "stp q0, q1, [x0]",
    "stp q2, q3, [x0, #32]",
    "stp q4, q5, [x7, #-64]",
    "stp q6, q7, [x7, #-32]",
    "mov x0, x2",
    "ret",
    // More. x4 is where the round begins, x8 where no whole one is left.
    "20: mov x4, #0",
    "sub x8, x2, #64",
    "orr x5, x0, #15",
    "sub x5, x5, x0",
    "30: ldr q0, [x1]",
    "str q0, [x0]",
    "add x4, x5, #1",
    ".p2align 4",
    "32: add x9, x1, x4",
    "add x10, x0, x4",
    "ldp q0, q1, [x9]",
    "ldp q2, q3, [x9, #32]",
    "stp q0, q1, [x10]",
    "stp q2, q3, [x10, #32]",
    "add x4, x4, #64",
    "cmp x4, x8",
    "b.lo 32b",
    // The last 64 bytes, of which some may be there already.
    "ldp q0, q1, [x6, #-64]",
    "ldp q2, q3, [x6, #-32]",
    "stp q0, q1, [x7, #-64]",
    "stp q2, q3, [x7, #-32]",
    "39: mov x0, x2",
    "ret",
    // After a fault: byte by byte from x4 to x5. A fault in here ends it: x4 is exact.
    "62: cmp x4, x5",
    "b.hs 69f",
    "63: ldrb w6, [x1, x4]",
    "strb w6, [x0, x4]",
    "64: add x4, x4, #1",
    "cmp x4, x5",
    "b.lo 63b",
    "69: mov x0, x4",
    "ret",
    ".cfi_endproc",
    concat!(".size \"", name!("copy"), "\", . - \"", name!("copy"), "\""),
    ".popsection",
    // From its first instruction to before its last, what the registers are in between, where to go
    // on; as offsets.
    ".pushsection .rodata.sigward_copy, \"a\", @progbits",
    concat!(".globl \"", name!("copy_ranges"), "\""),
    concat!(".hidden \"", name!("copy_ranges"), "\""),
    concat!(".type \"", name!("copy_ranges"), "\", @object"),
    ".p2align 2",
    concat!("\"", name!("copy_ranges"), "\":"),
    ".long 2b - 2b, 20b - 2b, {untouched}, 62b - 2b",
    ".long 30b - 2b, 39b - 2b, {rounds}, 62b - 2b",
    ".long 63b - 2b, 64b - 2b, {bytes}, 69b - 2b",
    concat!(".size \"", name!("copy_ranges"), "\", . - \"", name!("copy_ranges"), "\""),
    ".popsection",
    untouched = const State::UNTOUCHED.0,
    rounds = const State::ROUNDS.0,
    bytes = const State::BYTES.0,
);

/// How far the copy is, with the registers of `state`. Signal-safe.
pub(super) fn interrupted(state: State, general: &General) -> Option<Going> {
    let [dst, src, len, _, index, ..] = *general;
    let done = match state {
        State::UNTOUCHED => 0,
        State::ROUNDS | State::BYTES => index,
        _ => return None,
    };
    Some(Going { dst, src, len, done })
}

/// The registers for going on byte by byte up to `stop`. Signal-safe.
pub(super) fn go_on(general: &General, going: &Going, stop: usize) -> General {
    let mut general = *general;
    [general[0], general[1], general[2]] = [going.dst, going.src, going.len];
    general[4] = going.done;
    general[5] = stop;
    general
}

/// Up to where these registers go on.
#[cfg(test)]
pub(super) fn stop(general: &General) -> usize {
    general[5]
}

/// There is one.
pub(super) fn way() -> usize {
    64
}

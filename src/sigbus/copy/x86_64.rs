//! The copy for x86-64, and what its registers mean where it can fault.
//!
//! | bytes | how |
//! |---|---|
//! | up to 128 | all loads (they overlap in the middle), then all stores |
//! | more | rounds to an aligned destination: 128 bytes of AVX where the processor has it, else 64 of SSE2 |
//! | from `way` on | `rep movsb`, on processors where that is the quickest |
//!
//! Rounds go upwards and nothing is stored before it was loaded, so what came over is a prefix and
//! the rest of the destination is as it was. RDI, RSI and RDX stay as they were passed, except in
//! `rep movsb`, which counts in them.

use super::in_handler::{Going, Range, State};
use super::name;
use crate::chain::General;
use libc::{REG_RAX, REG_RCX, REG_RDI, REG_RDX, REG_RSI};
use std::arch::global_asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};

/// The bit of `way` that says that the processor has AVX.
const AVX: usize = 1;
/// `rep movsb` pays from here on: where short ones are quick (FSRM), and where only long ones are
/// (ERMS).
const FROM_WITH_FSRM: usize = 2112;
const FROM_WITH_ERMS: usize = 8192;

unsafe extern "C" {
    /// Copies `len` bytes (at least 1) and returns how many came over.
    #[link_name = name!("copy")]
    pub(super) unsafe fn copy(dst: *mut u8, src: *const u8, len: usize, way: usize) -> usize;

    /// The ranges of `copy` in which it may fault.
    #[link_name = name!("copy_ranges")]
    static RANGES: [Range; 5];
}

/// Signal-safe.
pub(super) fn ranges() -> &'static [Range] {
    // SAFETY: beside the code, of that length; nobody writes there.
    unsafe { &RANGES }
}

// Numbers for labels, because two versions of this crate may end up in one module. None of noughts
// and ones alone: 10b would be two.
global_asm!(
    ".pushsection .text.sigward_copy, \"ax\", @progbits",
    concat!(".globl \"", name!("copy"), "\""),
    concat!(".hidden \"", name!("copy"), "\""),
    concat!(".type \"", name!("copy"), "\", @function"),
    ".p2align 6",
    // RDI to, RSI from, RDX length, RCX way.
    concat!("\"", name!("copy"), "\":"),
    ".cfi_startproc",
    "2: cmp rdx, 32",
    "ja 7f",
    "cmp rdx, 16",
    "jb 3f",
    // 16 to 32 bytes.
    "movups xmm0, [rsi]",
    "movups xmm1, [rsi + rdx - 16]",
    "movups [rdi], xmm0",
    "movups [rdi + rdx - 16], xmm1",
    "mov rax, rdx",
    "ret",
    // 8 to 15.
    "3: cmp edx, 8",
    "jb 4f",
    "mov rax, [rsi]",
    "mov rcx, [rsi + rdx - 8]",
    "mov [rdi], rax",
    "mov [rdi + rdx - 8], rcx",
    "mov eax, edx",
    "ret",
    // 4 to 7.
    "4: cmp edx, 4",
    "jb 5f",
    "mov eax, [rsi]",
    "mov ecx, [rsi + rdx - 4]",
    "mov [rdi], eax",
    "mov [rdi + rdx - 4], ecx",
    "mov eax, edx",
    "ret",
    // 2 and 3.
    "5: cmp edx, 2",
    "jb 6f",
    "movzx eax, word ptr [rsi]",
    "movzx ecx, word ptr [rsi + rdx - 2]",
    "mov [rdi], ax",
    "mov [rdi + rdx - 2], cx",
    "mov eax, edx",
    "ret",
    "6: movzx eax, byte ptr [rsi]",
    "mov [rdi], al",
    "mov eax, edx",
    "ret",
    "7: cmp rdx, 128",
    "ja 20f",
    "cmp rdx, 64",
    "ja 8f",
    // 33 to 64.
    "movups xmm0, [rsi]",
    "movups xmm1, [rsi + 16]",
    "movups xmm2, [rsi + rdx - 32]",
    "movups xmm3, [rsi + rdx - 16]",
    "movups [rdi], xmm0",
    "movups [rdi + 16], xmm1",
    "movups [rdi + rdx - 32], xmm2",
    "movups [rdi + rdx - 16], xmm3",
    "mov rax, rdx",
    "ret",
    // 65 to 128.
    "8: movups xmm0, [rsi]",
    "movups xmm1, [rsi + 16]",
    "movups xmm2, [rsi + 32]",
    "movups xmm3, [rsi + 48]",
    "movups xmm4, [rsi + rdx - 64]",
    "movups xmm5, [rsi + rdx - 48]",
    "movups xmm6, [rsi + rdx - 32]",
    "movups xmm7, [rsi + rdx - 16]",
    "movups [rdi], xmm0",
    "movups [rdi + 16], xmm1",
    "movups [rdi + 32], xmm2",
    "movups [rdi + 48], xmm3",
    "movups [rdi + rdx - 64], xmm4",
    "movups [rdi + rdx - 48], xmm5",
    "movups [rdi + rdx - 32], xmm6",
    "movups [rdi + rdx - 16], xmm7",
    "mov rax, rdx",
    "ret",
    // More. In rounds RAX is where the round begins, R9 the first one that is aligned, R8 where no
    // whole one is left.
    "20: cmp rdx, rcx",
    "jae 50f",
    "mov r9, rdi",
    "xor eax, eax",
    "test cl, {avx}",
    "jz 40f",
    "or r9, 31",
    "lea r8, [rdx - 128]",
    "sub r9, rdi",
    "inc r9",
    "30: vmovdqu ymm0, [rsi]",
    "vmovdqu [rdi], ymm0",
    "mov rax, r9",
    "cmp rax, r8",
    "jae 34f",
    ".p2align 5",
    "32: vmovdqu ymm0, [rsi + rax]",
    "vmovdqu ymm1, [rsi + rax + 32]",
    "vmovdqu ymm2, [rsi + rax + 64]",
    "vmovdqu ymm3, [rsi + rax + 96]",
    "vmovdqa [rdi + rax], ymm0",
    "vmovdqa [rdi + rax + 32], ymm1",
    "vmovdqa [rdi + rax + 64], ymm2",
    "vmovdqa [rdi + rax + 96], ymm3",
    "sub rax, -128",
    "cmp rax, r8",
    "jb 32b",
    // The last 128 bytes, of which some may be there already.
    "34: vmovdqu ymm0, [rsi + rdx - 128]",
    "vmovdqu ymm1, [rsi + rdx - 96]",
    "vmovdqu ymm2, [rsi + rdx - 64]",
    "vmovdqu ymm3, [rsi + rdx - 32]",
    "vmovdqu [rdi + rdx - 128], ymm0",
    "vmovdqu [rdi + rdx - 96], ymm1",
    "vmovdqu [rdi + rdx - 64], ymm2",
    "vmovdqu [rdi + rdx - 32], ymm3",
    "39: mov rax, rdx",
    "vzeroupper",
    "ret",
    "40: or r9, 15",
    "lea r8, [rdx - 64]",
    "sub r9, rdi",
    "inc r9",
    "movups xmm0, [rsi]",
    "movups [rdi], xmm0",
    "mov rax, r9",
    ".p2align 5",
    "42: movups xmm0, [rsi + rax]",
    "movups xmm1, [rsi + rax + 16]",
    "movups xmm2, [rsi + rax + 32]",
    "movups xmm3, [rsi + rax + 48]",
    "movaps [rdi + rax], xmm0",
    "movaps [rdi + rax + 16], xmm1",
    "movaps [rdi + rax + 32], xmm2",
    "movaps [rdi + rax + 48], xmm3",
    "add rax, 64",
    "cmp rax, r8",
    "jb 42b",
    "movups xmm0, [rsi + rdx - 64]",
    "movups xmm1, [rsi + rdx - 48]",
    "movups xmm2, [rsi + rdx - 32]",
    "movups xmm3, [rsi + rdx - 16]",
    "movups [rdi + rdx - 64], xmm0",
    "movups [rdi + rdx - 48], xmm1",
    "movups [rdi + rdx - 32], xmm2",
    "movups [rdi + rdx - 16], xmm3",
    "49: mov rax, rdx",
    "ret",
    "50: mov rcx, rdx",
    "52: rep movsb",
    "59: mov rax, rdx",
    "ret",
    // After a fault: byte by byte from RAX to RCX. A fault in here ends it: RAX is exact.
    "60: vzeroupper",
    "62: cmp rax, rcx",
    "jae 69f",
    "63: movzx r8d, byte ptr [rsi + rax]",
    "mov [rdi + rax], r8b",
    "64: inc rax",
    "cmp rax, rcx",
    "jb 63b",
    "69: ret",
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
    ".long 30b - 2b, 39b - 2b, {rounds}, 60b - 2b",
    ".long 40b - 2b, 49b - 2b, {rounds}, 62b - 2b",
    ".long 52b - 2b, 59b - 2b, {string}, 62b - 2b",
    ".long 63b - 2b, 64b - 2b, {bytes}, 69b - 2b",
    concat!(".size \"", name!("copy_ranges"), "\", . - \"", name!("copy_ranges"), "\""),
    ".popsection",
    avx = const AVX,
    untouched = const State::UNTOUCHED.0,
    rounds = const State::ROUNDS.0,
    string = const State::STRING.0,
    bytes = const State::BYTES.0,
);

/// How far the copy is, with the registers of `state`. Signal-safe.
pub(super) fn interrupted(state: State, general: &General) -> Option<Going> {
    let [dst, src, len, rax, rcx] =
        [REG_RDI, REG_RSI, REG_RDX, REG_RAX, REG_RCX].map(|number| general[number as usize]);
    match state {
        State::UNTOUCHED => Some(Going { dst, src, len, done: 0 }),
        State::ROUNDS | State::BYTES => Some(Going { dst, src, len, done: rax }),
        // What is left is counted down in RCX, and the pointers have come as far.
        State::STRING => {
            let done = len.wrapping_sub(rcx);
            Some(Going { dst: dst.wrapping_sub(done), src: src.wrapping_sub(done), len, done })
        }
        _ => None,
    }
}

/// The registers for going on byte by byte up to `stop`. Signal-safe.
pub(super) fn go_on(general: &General, going: &Going, stop: usize) -> General {
    let mut general = *general;
    let values = [
        (REG_RDI, going.dst),
        (REG_RSI, going.src),
        (REG_RDX, going.len),
        (REG_RAX, going.done),
        (REG_RCX, stop),
    ];
    for (number, value) in values {
        general[number as usize] = value;
    }
    general
}

/// Up to where these registers go on.
#[cfg(test)]
pub(super) fn stop(general: &General) -> usize {
    general[REG_RCX as usize]
}

/// The best way on this processor: from how many bytes on `rep movsb`, and, in the lowest bit,
/// whether with AVX.
pub(super) fn way() -> usize {
    let avx = if std::arch::is_x86_feature_detected!("avx") { AVX } else { 0 };
    string_from() & !63 | avx
}

/// Only on Intel's: on AMD's Zen 3 and 4 `rep movsb` is up to 20 times slower for some alignments
/// (glibc's bug 30994).
#[allow(unused_unsafe, reason = "safe in newer compilers")]
pub(super) fn string_from() -> usize {
    const ERMS: u32 = 1 << 9; // leaf 7, EBX
    const FSRM: u32 = 1 << 4; // leaf 7, EDX
    const GENUINE_INTEL: [u32; 3] = [0x756e_6547, 0x4965_6e69, 0x6c65_746e];
    // SAFETY: every x86-64 processor has the instruction, and leaf 0.
    let zero = unsafe { __cpuid(0) };
    if [zero.ebx, zero.edx, zero.ecx] != GENUINE_INTEL || zero.eax < 7 {
        return usize::MAX;
    }
    // SAFETY: leaf 7 is there.
    let seven = unsafe { __cpuid_count(7, 0) };
    match (seven.ebx & ERMS != 0, seven.edx & FSRM != 0) {
        (_, true) => FROM_WITH_FSRM,
        (true, false) => FROM_WITH_ERMS,
        (false, false) => usize::MAX,
    }
}

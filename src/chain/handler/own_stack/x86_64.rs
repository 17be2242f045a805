//! x86-64: from the registers at an entry point to the stack that it goes on with.

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
    _onward: &Onward,
) -> Arrival {
    end_alignment_checks();
    Arrival::of(signal, info, context, stack)
}

/// A program may have the processor check alignment (EFLAGS.AC), and the kernel leaves the check on
/// in the handler, where neither we nor the C library keep to it. The interrupted code gets it back
/// with its flags.
#[inline(always)]
fn end_alignment_checks() {
    const CHECK: u64 = 1 << 18;
    let flags: u64;
    // SAFETY: reads the flags; the stack is as before.
    unsafe { std::arch::asm!("pushfq", "pop {}", out(reg) flags, options(preserves_flags)) };
    // To write the flags takes longer than to look at them.
    if flags & CHECK != 0 {
        // SAFETY: clears one flag that no compiled code relies on; the stack is as before.
        unsafe { std::arch::asm!("push {}", "popfq", in(reg) flags & !CHECK) };
    }
}

/// # Safety
/// Called with what an entry point was entered with: its three arguments, the stack pointer, its
/// number.
unsafe extern "C" fn on_this_stack(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
    stack: usize,
    index: usize,
) {
    end_alignment_checks();
    // SAFETY: the kernel's frame, or pointers of which no more is left than can be read.
    unsafe { deliver(index, Arrival::of(signal, info, context, stack)) }
}

/// Takes one of the stacks that are for the signal in R13: its word in R10, its end in R11. Jumps
/// to 6 if none is free.
macro_rules! take {
    () => {
        "mov r10, qword ptr [rip + {words}]
        test r10, r10
        jz 6f
        add r10, {taken}
        lea r11, [rip + {memory}]
        add r11, {size}
        cmp r13d, {pipe}
        je 2f
        add r10, {half} * 4
        add r11, {half} * {size}
    2:
        mov ecx, {half}
        mov edx, 1
    3:
        xor eax, eax
        lock cmpxchg dword ptr [r10], edx
        je 4f
        add r10, 4
        add r11, {size}
        dec ecx
        jnz 3b
        jmp 6f
    4:"
    };
}

/// What an entry point goes on with: its three arguments, the stack pointer in RCX and its number
/// in R8.
///
/// The kernel's frame lies at the stack pointer: a return address, then the ucontext, whose third
/// word says where the alternate stack is, then the siginfo. Whether it is the kernel's is seen by
/// both pointers.
#[unsafe(naked)]
pub(in crate::chain) unsafe extern "C" fn arrive() {
    std::arch::naked_asm!(
        "lea rax, [rcx + 8]",
        "cmp rax, rdx",
        "jne {called}",
        "lea rax, [rcx + 312]",
        "cmp rax, rsi",
        "jne {called}",
        "mov rax, rcx",
        "sub rax, qword ptr [rcx + 24]",
        "cmp rax, qword ptr [rcx + 40]",
        "jae 3f",
        "cmp byte ptr [rip + {quiet}], 0",
        "jne 2f",
        "cmp rax, {least}",
        "jb {switch}",
        "jmp {here}",
        "2:",
        "cmp rax, {least_quiet}",
        "jb {switch}",
        "jmp {here}",
        // A thread's own stack. rt_sigaction(2) reads the action before it refuses a signal of
        // number 0.
        "3:",
        "cmp byte ptr [rip + {quiet}], 0",
        "jne 5f",
        "mov r9d, edi",
        "xor edi, edi",
        "lea rsi, [rsp - 4096]",
        "xor edx, edx",
        "mov r10d, 8",
        "mov eax, {sigaction}",
        "syscall",
        "cmp rax, -14",
        "je 4f",
        "cmp r9d, {pipe}",
        "je 4f",
        "lea rsi, [rsp - 8192]",
        "mov eax, {sigaction}",
        "syscall",
        "4:",
        "mov edi, r9d",
        "lea rsi, [rsp + 312]",
        "lea rdx, [rsp + 8]",
        "mov rcx, rsp",
        "cmp rax, -14",
        "je {switch}",
        "5:",
        "jmp {here}",
        called = sym called,
        here = sym on_this_stack,
        switch = sym switch_stack,
        quiet = sym without_events::ON,
        least = const LEAST,
        least_quiet = const LEAST_WITHOUT_EVENTS,
        sigaction = const libc::SYS_rt_sigaction,
        pipe = const libc::SIGPIPE,
    )
}

/// The kernel has called, and there is little stack. Nothing is written to it: registers that a
/// function would have to keep are free, as the kernel puts them all back from its frame.
#[unsafe(naked)]
unsafe extern "C" fn switch_stack() {
    std::arch::naked_asm!(
        "mov r13d, edi",
        "mov r12, r8",
        "mov ebx, {tries}",
        "mov edi, 2",
        "lea rsi, [rip + {all}]",
        "xor edx, edx",
        "mov r10d, 8",
        "mov eax, {sigprocmask}",
        "syscall",
        "5:",
        take!(),
        "mov rbp, rsp",
        "mov rbx, r10",
        "lea rsp, [r11 - 64]",
        "mov edi, r13d",
        "lea rsi, [rbp + 312]",
        "lea rdx, [rbp + 8]",
        "mov rcx, rbp",
        "mov r8, r12",
        "mov r9, rsp",
        "call {decide}",
        "mov r9, qword ptr [rsp]",
        "mov rdx, qword ptr [rsp + 8]",
        "mov r8, qword ptr [rsp + 16]",
        "mov rsp, rbp",
        "mov dword ptr [rbx], 0",
        "test r9, r9",
        "jz 7f",
        "mov qword ptr [rsp + 16], rdx",
        "mov edi, 2",
        "lea rsi, [rsp + 16]",
        "xor edx, edx",
        "mov r10d, 8",
        "mov eax, {sigprocmask}",
        "syscall",
        "mov qword ptr [rsp + 16], 0",
        "mov edi, r13d",
        "lea rsi, [rsp + 312]",
        "lea rdx, [rsp + 8]",
        "mov rcx, rsp",
        "jmp r9",
        // All are in use, or there are none.
        "6:",
        "mov rax, rsp",
        "sub rax, qword ptr [rsp + 24]",
        "cmp rax, qword ptr [rsp + 40]",
        "jae 8f",
        "cmp rax, {enough}",
        "jb 8f",
        "mov edi, r13d",
        "lea rsi, [rsp + 312]",
        "lea rdx, [rsp + 8]",
        "mov rcx, rsp",
        "mov r8, r12",
        "jmp {here}",
        "8:",
        "dec ebx",
        "jz 7f",
        "xor edi, edi",
        "xor esi, esi",
        "lea rdx, [rip + {moment}]",
        "xor r10d, r10d",
        "mov eax, {ppoll}",
        "syscall",
        "jmp 5b",
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
        "cmp byte ptr [rip + {quiet}], 0",
        "jne {here}",
        "sub rsp, 24",
        "mov r9d, edi",
        "mov r10, rsi",
        "xor edi, edi",
        "mov rsi, rsp",
        "mov eax, {sigaltstack}",
        "syscall",
        "mov edi, r9d",
        "mov rsi, r10",
        "lea rcx, [rsp + 24]",
        "test rax, rax",
        "jnz 2f",
        "mov rax, rcx",
        "sub rax, qword ptr [rsp]",
        "cmp rax, qword ptr [rsp + 16]",
        "jae 2f",
        "cmp rax, {least}",
        "jae 2f",
        "add rsp, 24",
        "jmp {switch}",
        "2:",
        "add rsp, 24",
        "jmp {here}",
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
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "mov r13d, edi",
        "mov r14, rsi",
        "mov r15, rdx",
        "mov r12, r8",
        "mov edi, 2",
        "lea rsi, [rip + {all}]",
        "mov rdx, rsp",
        "mov r10d, 8",
        "mov eax, {sigprocmask}",
        "syscall",
        "test rax, rax",
        "jnz 8f",
        take!(),
        "mov rbp, rsp",
        "mov rbx, r10",
        "lea rsp, [r11 - 64]",
        "mov rax, qword ptr [rbp]",
        "mov qword ptr [rsp + 8], rax",
        "mov edi, r13d",
        "mov rsi, r14",
        "mov rdx, r15",
        "lea rcx, [rbp + 56]",
        "mov r8, r12",
        "mov r9, rsp",
        "call {decide}",
        "mov r15, qword ptr [rsp]",
        "mov rax, qword ptr [rsp + 8]",
        "mov r12, qword ptr [rsp + 16]",
        "mov r14, qword ptr [rsp + 24]",
        "mov r9, qword ptr [rsp + 32]",
        "mov rsp, rbp",
        "mov dword ptr [rbx], 0",
        "test r15, r15",
        "jz 7f",
        // Once for the mask and its padding, which keeps the stack aligned for the call.
        "push rax",
        "push rax",
        "mov edi, 2",
        "mov rsi, rsp",
        "xor edx, edx",
        "mov r10d, 8",
        "mov eax, {sigprocmask}",
        "syscall",
        "mov edi, r13d",
        "mov rsi, r14",
        "mov rdx, r9",
        "lea rcx, [rbp + 56]",
        "mov r8, r12",
        "call r15",
        "add rsp, 16",
        "7:",
        "mov edi, 2",
        "mov rsi, rsp",
        "xor edx, edx",
        "mov r10d, 8",
        "mov eax, {sigprocmask}",
        "syscall",
        "jmp 9f",
        // None is free: on what is left.
        "6:",
        "mov edi, 2",
        "mov rsi, rsp",
        "xor edx, edx",
        "mov r10d, 8",
        "mov eax, {sigprocmask}",
        "syscall",
        "8:",
        "mov edi, r13d",
        "mov rsi, r14",
        "mov rdx, r15",
        "lea rcx, [rsp + 56]",
        "mov r8, r12",
        "call {here}",
        "9:",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
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

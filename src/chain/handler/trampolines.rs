//! The functions whose addresses go into the kernel's table: one for each entry point, which says
//! which one it is.

use std::ffi::{c_int, c_void};

/// How many different predecessors one process can have, all signals together.
pub const ENTRY_POINTS: usize = 16;

type Function = unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
macro_rules! functions {
    ($($index:literal)*) => {
        [$({
            unsafe extern "C" fn entry(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
                // SAFETY: the kernel, or a handler that stands above and passes on what it got,
                // calls with the arguments of an SA_SIGINFO handler.
                unsafe { super::arrive(signal, info, context, $index) }
            }
            entry as Function
        }),*]
    };
}

/// The second and the third argument are compared with the stack pointer before they are believed,
/// and what is left of the stack is looked at before any of it is used.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
macro_rules! functions {
    ($($index:literal)*) => {
        [$({
            #[unsafe(naked)]
            unsafe extern "C" fn entry(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
                std::arch::naked_asm!(
                    "endbr64",
                    "mov rcx, rsp",
                    "mov r8d, {index}",
                    "jmp {arrive}",
                    index = const $index,
                    arrive = sym super::arrive,
                )
            }
            entry as Function
        }),*]
    };
}

/// Where the second and the third argument are not to be believed before SP, x29 and x30 have been
/// looked at.
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
macro_rules! functions {
    ($($index:literal)*) => {
        [$({
            #[unsafe(naked)]
            unsafe extern "C" fn entry(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
                std::arch::naked_asm!(
                    "hint #34", // bti c
                    "mov x3, sp",
                    "mov x4, x30",
                    "mov x5, x29",
                    "mov x6, #{index}",
                    "b {arrive}",
                    index = const $index,
                    arrive = sym super::arrive,
                )
            }
            entry as Function
        }),*]
    };
}

static FUNCTIONS: [Function; ENTRY_POINTS] = functions!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

/// The address that goes into the kernel's table.
pub(in crate::chain) fn address_of(index: usize) -> usize {
    FUNCTIONS.get(index).map_or(0, |function| *function as usize)
}

/// Which entry has this address. Signal-safe.
pub(in crate::chain) fn index_of(address: usize) -> Option<usize> {
    FUNCTIONS.iter().position(|function| *function as usize == address)
}

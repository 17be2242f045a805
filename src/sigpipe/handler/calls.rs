//! Which system calls can raise SIGPIPE, behind each gate of the kernel, and where their descriptor
//! is.

use crate::chain::Gate;

/// What a system call of known number is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// It writes; the descriptor is the argument at this place, or not among the arguments.
    Writer(Option<usize>),
    /// It starts writes, which raise their signals before it returns; its result counts
    /// submissions.
    Submitter,
}

/// What this call is; none for one that raises no SIGPIPE, be it because it was asked not to.
/// `first` and `rest` are its arguments.
pub(super) fn call(gate: Gate, number: u64, first: Option<u64>, rest: &[u64; 5]) -> Option<Call> {
    match gate {
        Gate::Native => native(number, rest),
        Gate::I386 => i386(number, first, rest),
    }
}

/// `MSG_NOSIGNAL`, and `RWF_NOSIGNAL` of Linux 6.18: the same through both gates.
#[cfg(target_os = "linux")]
const QUIET_MESSAGE: u64 = libc::MSG_NOSIGNAL as u64;
#[cfg(target_os = "linux")]
const QUIET_WRITE: u64 = crate::sys::constants::RWF_NOSIGNAL as u64;

#[cfg(target_os = "linux")]
fn native(number: u64, rest: &[u64; 5]) -> Option<Call> {
    let [_, third, fourth, _, sixth] = *rest;
    let (place, quiet) = match libc::c_long::try_from(number).ok()? {
        libc::SYS_write | libc::SYS_writev | libc::SYS_sendfile | libc::SYS_vmsplice => (0, false),
        libc::SYS_pwritev2 => (0, sixth & QUIET_WRITE != 0),
        libc::SYS_sendto | libc::SYS_sendmmsg => (0, fourth & QUIET_MESSAGE != 0),
        libc::SYS_sendmsg => (0, third & QUIET_MESSAGE != 0),
        libc::SYS_tee => (1, false),
        libc::SYS_splice => (2, false),
        libc::SYS_io_submit | libc::SYS_io_uring_enter => return Some(Call::Submitter),
        _ => return None,
    };
    (!quiet).then_some(Call::Writer(Some(place)))
}

/// arch/x86/entry/syscalls/syscall_32.tbl
#[cfg(target_os = "linux")]
fn i386(number: u64, first: Option<u64>, rest: &[u64; 5]) -> Option<Call> {
    let [_, third, fourth, _, sixth] = *rest;
    let (place, quiet) = match number {
        // write, writev, sendfile, sendfile64, vmsplice
        4 | 146 | 187 | 239 | 316 => (Some(0), false),
        // pwritev2: the offset takes two registers
        379 => (Some(0), sixth & QUIET_WRITE != 0),
        // sendmmsg, sendto
        345 | 369 => (Some(0), fourth & QUIET_MESSAGE != 0),
        // sendmsg
        370 => (Some(0), third & QUIET_MESSAGE != 0),
        // socketcall: the arguments of send, sendto, sendmsg and sendmmsg lie in memory
        102 => (None, !matches!(first, Some(9 | 11 | 16 | 20))),
        // tee, splice
        315 => (Some(1), false),
        313 => (Some(2), false),
        // io_submit, io_uring_enter
        248 | 426 => return Some(Call::Submitter),
        _ => return None,
    };
    (!quiet).then_some(Call::Writer(place))
}

#[cfg(not(target_os = "linux"))]
fn native(_number: u64, _rest: &[u64; 5]) -> Option<Call> {
    None
}

#[cfg(not(target_os = "linux"))]
fn i386(_number: u64, _first: Option<u64>, _rest: &[u64; 5]) -> Option<Call> {
    None
}

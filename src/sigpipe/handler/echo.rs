//! Telling the echo of a write from every other SIGPIPE: a pure function of siginfo and registers.
//!
//! The kernel sends SIGPIPE to the writing thread from inside the call (`send_sig(SIGPIPE, current, 0)` in
//! fs/pipe.c, net/core/stream.c, net/unix/af_unix.c), with `si_code == SI_USER` and the process's own id.
//! kill(2) on oneself looks the same in siginfo, but then the registers show no failed write.

use crate::chain::Registers;
use std::ffi::c_int;

/// A SIGPIPE that says nothing but what a write has returned already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Echo {
    /// The descriptor that was written to, if that is certain.
    pub fd: Option<c_int>,
    /// The number of the system call, if that is known.
    pub operation: Option<u32>,
    /// `-EPIPE`, or the bytes of a partial write.
    pub result: i64,
    /// The instruction after the system call.
    pub pc: usize,
    /// The stack pointer there.
    pub stack: usize,
    /// The link register there, if the processor has one.
    pub link: Option<usize>,
}

/// Finds out whether a system call that left these registers raised the signal.
///
/// `is_broken` says whether a descriptor is a pipe or socket whose other side is gone, `can_break` whether it
/// is a pipe or socket at all, `is_ring` whether it is an io_uring.
pub(super) fn find(
    registers: &Registers,
    is_broken: impl Fn(c_int) -> bool,
    can_break: impl Fn(c_int) -> bool,
    is_ring: impl Fn(c_int) -> bool,
) -> Option<Echo> {
    if registers.number.is_some_and(|number| is_quiet(number, &registers.rest)) {
        // It was asked to raise nothing: what came at this moment is somebody's kill(2).
        return None;
    }
    let failed = registers.result == -i64::from(libc::EPIPE);
    let written = registers.result > 0;
    let target = registers.number.and_then(target);
    let (proven, fd) = match (registers.arguments, target) {
        (Some(arguments), Some(target)) => {
            let fd = arguments.get(target).copied().and_then(descriptor);
            // Half of it was written before the other side went away: the descriptor must say so itself.
            (failed || written && fd.is_some_and(is_broken), fd)
        }
        (Some(arguments), None) => {
            let broken = written_to(&arguments, is_broken);
            (
                failed || written && broken.is_some(),
                broken.or_else(|| only_choice(&arguments, failed, can_break)),
            )
        }
        (None, target) => (target.is_some() && (failed || written), None),
    };
    let (proven, fd) = if proven { (true, fd) } else { (submitted(registers, is_ring), None) };
    let operation = target.and(registers.number).map(|number| number as u32);
    let Registers { result, pc, stack, link, .. } = *registers;
    proven.then_some(Echo { fd, operation, result, pc, stack, link })
}

/// Whether the call was io_uring_enter(2): a WRITE that it submitted raises the signal on its way, and its result
/// counts submissions. Which descriptor it was only the ring knows.
#[cfg(target_os = "linux")]
fn submitted(registers: &Registers, is_ring: impl Fn(c_int) -> bool) -> bool {
    let by_number = registers.number == Some(libc::SYS_io_uring_enter as u64);
    let first = registers.arguments.and_then(|arguments| descriptor(arguments[0]));
    registers.result >= 0 && (by_number || first.is_some_and(is_ring))
}

#[cfg(not(target_os = "linux"))]
fn submitted(_registers: &Registers, _is_ring: impl Fn(c_int) -> bool) -> bool {
    false
}

/// For a system call of an unknown number: the descriptor among the arguments that is broken, the first for
/// write, send and sendfile, the third for splice, the second for tee.
fn written_to(arguments: &[u64; 3], is_broken: impl Fn(c_int) -> bool) -> Option<c_int> {
    let [first, second, third] = arguments.map(descriptor);
    [first, third, second].into_iter().flatten().find(|fd| is_broken(*fd))
}

/// A socket that was shut down on this side only does not look broken, but its write fails with EPIPE. If no
/// argument looks broken and only the first can be a descriptor, then it is that one.
fn only_choice(arguments: &[u64; 3], failed: bool, can_break: impl Fn(c_int) -> bool) -> Option<c_int> {
    let [first, second, third] = arguments.map(descriptor);
    let others = [second, third].into_iter().flatten().any(&can_break);
    first.filter(|fd| failed && !others && can_break(*fd))
}

/// A register that can be a file descriptor: 32 bits count, and it is not negative.
fn descriptor(register: u64) -> Option<c_int> {
    // The upper half is undefined for an `int` argument, but a pointer above 4 GiB is no descriptor.
    (register <= 0x7fff_ffff).then_some(register as c_int)
}

/// The descriptor that was written to, where the first argument is not among the registers: `first` looks for it in
/// other places, and says none where it is not certain.
pub(super) fn hidden_descriptor(registers: &Registers, first: impl Fn() -> Option<u32>) -> Option<c_int> {
    let register = match registers.number.and_then(target)? {
        0 => u64::from(first()?),
        later => *registers.rest.get(later - 1)?,
    };
    descriptor(register)
}

/// Which argument of a system call that can raise SIGPIPE is the descriptor that is written to; none for all
/// other calls.
fn target(number: u64) -> Option<usize> {
    let number = libc::c_long::try_from(number).ok()?;
    match number {
        #[cfg(target_os = "linux")]
        libc::SYS_write
        | libc::SYS_writev
        | libc::SYS_pwritev2
        | libc::SYS_sendto
        | libc::SYS_sendmsg
        | libc::SYS_sendmmsg
        | libc::SYS_sendfile
        | libc::SYS_vmsplice => Some(0),
        #[cfg(target_os = "linux")]
        libc::SYS_tee => Some(1),
        #[cfg(target_os = "linux")]
        libc::SYS_splice => Some(2),
        _ => None,
    }
}

/// Whether a call has `MSG_NOSIGNAL` or `RWF_NOSIGNAL` among its arguments, of which `rest` are the second to the sixth.
#[cfg(target_os = "linux")]
fn is_quiet(number: u64, rest: &[u64; 5]) -> bool {
    let [_, third, fourth, _, sixth] = *rest;
    let message = libc::MSG_NOSIGNAL as u64;
    match libc::c_long::try_from(number) {
        Ok(libc::SYS_sendto | libc::SYS_sendmmsg) => fourth & message != 0,
        Ok(libc::SYS_sendmsg) => third & message != 0,
        Ok(libc::SYS_pwritev2) => sixth & crate::io::RWF_NOSIGNAL as u64 != 0,
        _ => false,
    }
}

#[cfg(not(target_os = "linux"))]
fn is_quiet(_number: u64, _rest: &[u64; 5]) -> bool {
    false
}

/// `si_code` of kill(2) and of the kernel's own SIGPIPE; libc does not define it everywhere.
pub(super) const SI_USER: c_int = 0;

#[cfg(test)]
mod tests {
    use super::*;

    const EPIPE: i64 = -32;
    const POINTER: u64 = 0x7f00_1234_5678;

    fn x86(result: i64, arguments: [u64; 3]) -> Registers {
        Registers {
            pc: 0x4000,
            result,
            arguments: Some(arguments),
            number: None,
            stack: 0,
            link: None,
            rest: [0; 5],
        }
    }

    fn aarch64(result: i64, number: libc::c_long) -> Registers {
        Registers {
            pc: 0x4000,
            result,
            arguments: None,
            number: Some(number as u64),
            stack: 0,
            link: None,
            rest: [0; 5],
        }
    }

    #[expect(clippy::option_option, reason = "an echo without a descriptor is not the same as none")]
    fn fd_of(registers: &Registers, broken: &[c_int], pipes: &[c_int]) -> Option<Option<c_int>> {
        find(registers, |fd| broken.contains(&fd), |fd| pipes.contains(&fd), |_| false).map(|echo| echo.fd)
    }

    #[test]
    fn a_failed_write_is_an_echo_of_its_first_argument() {
        assert_eq!(fd_of(&x86(EPIPE, [7, POINTER, 10]), &[7], &[7]), Some(Some(7)));
    }

    #[test]
    fn splice_writes_to_its_third_and_tee_to_its_second_argument() {
        assert_eq!(fd_of(&x86(EPIPE, [3, 0, 9]), &[9], &[3, 9]), Some(Some(9)));
        assert_eq!(fd_of(&x86(EPIPE, [3, 8, 65536]), &[8], &[3, 8]), Some(Some(8)));
    }

    #[test]
    fn an_own_shutdown_is_told_only_when_nothing_else_can_be_meant() {
        assert_eq!(fd_of(&x86(EPIPE, [7, POINTER, 10]), &[], &[7]), Some(Some(7)));
        assert_eq!(fd_of(&x86(EPIPE, [7, POINTER, 10]), &[], &[7, 10]), Some(None));
    }

    #[test]
    fn a_descriptor_that_was_closed_meanwhile_is_unknown_but_the_echo_is_certain() {
        assert_eq!(fd_of(&x86(EPIPE, [7, POINTER, 10]), &[], &[]), Some(None));
    }

    #[test]
    fn a_partial_write_counts_only_if_its_descriptor_is_broken() {
        assert_eq!(fd_of(&x86(4096, [7, POINTER, 8192]), &[7], &[7]), Some(Some(7)));
        assert_eq!(fd_of(&x86(4096, [7, POINTER, 8192]), &[], &[7]), None);
        let call = |number: libc::c_long, arguments| Registers {
            number: Some(number as u64),
            ..x86(4096, arguments)
        };
        assert_eq!(fd_of(&call(libc::SYS_write, [7, POINTER, 8192]), &[7], &[7]), Some(Some(7)));
        assert_eq!(fd_of(&call(libc::SYS_write, [7, POINTER, 8192]), &[], &[7]), None);
        assert_eq!(fd_of(&call(libc::SYS_splice, [3, 0, 9]), &[3], &[3, 9]), None);
    }

    #[test]
    fn other_results_are_no_echo() {
        assert_eq!(fd_of(&x86(0, [7, 13, 0]), &[7], &[7]), None);
        assert_eq!(fd_of(&x86(-4, [7, POINTER, 10]), &[7], &[7]), None);
    }

    #[test]
    fn a_known_system_call_names_its_descriptor_without_asking() {
        let call = |number: libc::c_long, arguments| Registers {
            number: Some(number as u64),
            ..x86(EPIPE, arguments)
        };
        assert_eq!(fd_of(&call(libc::SYS_writev, [7, POINTER, 2]), &[], &[]), Some(Some(7)));
        assert_eq!(fd_of(&call(libc::SYS_splice, [3, 0, 9]), &[3], &[]), Some(Some(9)));
        assert_eq!(fd_of(&call(libc::SYS_tee, [3, 9, 4096]), &[3], &[]), Some(Some(9)));
        let found = find(&call(libc::SYS_sendto, [7, POINTER, 2]), |_| false, |_| false, |_| false);
        assert_eq!(found.and_then(|echo| echo.operation), Some(libc::SYS_sendto as u32));
        assert_eq!(
            fd_of(&call(libc::SYS_kill, [7, 13, 0]), &[7], &[7]),
            Some(Some(7)),
            "not known as a writer"
        );
    }

    #[test]
    fn a_call_that_was_asked_to_be_quiet_raised_nothing() {
        let quiet = |number: libc::c_long, rest: [u64; 5]| {
            let registers = Registers { number: Some(number as u64), rest, ..x86(EPIPE, [7, POINTER, 1]) };
            fd_of(&registers, &[7], &[7])
        };
        let flag = libc::MSG_NOSIGNAL as u64;
        assert_eq!(quiet(libc::SYS_sendto, [POINTER, 1, flag, 0, 0]), None);
        assert_eq!(quiet(libc::SYS_sendto, [POINTER, flag, 0, 0, 0]), Some(Some(7)), "a length is no flag");
        assert_eq!(quiet(libc::SYS_sendmsg, [POINTER, flag, 0, 0, 0]), None);
        assert_eq!(quiet(libc::SYS_sendmmsg, [POINTER, 1, flag, 0, 0]), None);
        assert_eq!(quiet(libc::SYS_pwritev2, [POINTER, 1, 0, 0, 0x100]), None);
        assert_eq!(quiet(libc::SYS_write, [POINTER, flag, flag, flag, flag]), Some(Some(7)));
    }

    #[test]
    fn what_a_ring_submitted_is_an_echo_without_a_descriptor() {
        let ring =
            |registers: &Registers| find(registers, |_| false, |_| false, |fd| fd == 5).map(|echo| echo.fd);
        assert_eq!(ring(&x86(1, [5, 1, 1])), Some(None));
        assert_eq!(ring(&x86(1, [6, 1, 1])), None);
        assert_eq!(ring(&x86(-22, [5, 1, 1])), None);
        assert_eq!(ring(&aarch64(1, libc::SYS_io_uring_enter)), Some(None));
    }

    #[test]
    fn on_aarch64_the_descriptor_is_where_it_still_is_or_unknown() {
        let hidden = |number: libc::c_long, first: Option<u32>| {
            let registers = Registers { rest: [8, 9, 0, 0, 0], ..aarch64(EPIPE, number) };
            hidden_descriptor(&registers, || first)
        };
        assert_eq!(hidden(libc::SYS_write, Some(7)), Some(7));
        assert_eq!(hidden(libc::SYS_write, Some(u32::MAX)), None);
        assert_eq!(hidden(libc::SYS_sendfile, None), None);
        assert_eq!(hidden(libc::SYS_tee, None), Some(8));
        assert_eq!(hidden(libc::SYS_splice, Some(7)), Some(9));
        assert_eq!(hidden(libc::SYS_kill, Some(7)), None);
    }

    #[test]
    fn on_aarch64_the_number_decides_and_the_descriptor_is_lost() {
        assert_eq!(fd_of(&aarch64(EPIPE, libc::SYS_write), &[], &[]), Some(None));
        assert_eq!(fd_of(&aarch64(100, libc::SYS_writev), &[], &[]), Some(None));
        assert_eq!(fd_of(&aarch64(EPIPE, libc::SYS_kill), &[], &[]), None);
        assert_eq!(fd_of(&aarch64(0, libc::SYS_write), &[], &[]), None);
    }
}

//! Telling the echo of a write from every other SIGPIPE: a pure function of siginfo and registers.
//!
//! The kernel sends SIGPIPE to the writing thread from inside the call (`send_sig(SIGPIPE, current,
//! 0)` in fs/pipe.c, net/core/stream.c, net/unix/af_unix.c), with `si_code == SI_USER` and the
//! process's own id. kill(2) on oneself looks the same in siginfo, but then the registers show no
//! write.
//!
//! | system call before pc | result | echo |
//! |---|---|---|
//! | a writer that was asked to be quiet | any | no |
//! | any other writer | `-EPIPE`, or a count | yes, but not if it was all that was to be written and the descriptor is sound |
//! | io_submit(2), io_uring_enter(2) | how much was submitted | yes |
//! | any other known call | any | no |
//! | of unknown number | `-EPIPE` | yes |
//! | of unknown number | a count | if the first argument is broken, a ring, or a context of io_setup(2) |
//!
//! What a descriptor is *now* plays no part for a known number: a write that was cut short leaves a
//! count, and meanwhile another thread may have shut the socket down, a FIFO's reader may have come
//! back.

use super::calls::{Call, call};
use crate::chain::{Gate, Registers};
use std::ffi::c_int;

/// A SIGPIPE that says nothing but what a write has returned already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sigpipe) struct Echo {
    /// What may be the descriptor that was written to, as the registers say.
    pub written: Written,
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

/// Where the descriptor is that was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sigpipe) enum Written {
    /// Here.
    To(c_int),
    /// To the first argument, which is not among the registers (aarch64).
    ToFirst,
    /// One of these, in the order of likelihood: the number of the call is unknown.
    OneOf([Option<c_int>; 3]),
    /// The registers do not tell.
    Unknown,
}

impl Echo {
    /// The descriptor that was written to, as far as the registers tell for certain.
    pub(in crate::sigpipe) fn fd(&self) -> Option<c_int> {
        match self.written {
            Written::To(fd) => Some(fd),
            _ => None,
        }
    }
}

/// What is asked of the kernel where the number of a system call is unknown.
pub(in crate::sigpipe) trait Probe {
    /// Whether a descriptor is a pipe or socket whose other side is gone.
    fn is_broken(&self, fd: c_int) -> bool;
    /// Whether it is an io_uring.
    fn is_ring(&self, fd: c_int) -> bool;
    /// Whether it is a context of io_setup(2).
    fn is_aio_context(&self, context: u64) -> bool;
    /// How many bytes a vector of so many pieces (`struct iovec`) holds together; none if it cannot
    /// be read.
    fn length_of(&self, vector: u64, pieces: u64) -> Option<u64>;
    /// The vector of a `struct msghdr`, and how many pieces it has.
    fn vector_of(&self, message: u64) -> Option<[u64; 2]>;
}

/// Finds out whether a system call that left these registers raised the signal.
pub(in crate::sigpipe) fn find(registers: &Registers, probe: &impl Probe) -> Option<Echo> {
    let &Registers { result, pc, stack, link, .. } = registers;
    let failed = result == -i64::from(libc::EPIPE);
    let first = registers.arguments.map(|[first, ..]| first);
    let written = match registers.number {
        Some(number) => match call(registers.gate, number, first, &registers.rest)? {
            Call::Writer(place) if failed || result > 0 => {
                let written = argument(registers, place);
                if result > 0 && is_whole(registers, number, probe) && is_sound(&written, probe) {
                    return None;
                }
                written
            }
            Call::Submitter if result >= 0 => Written::Unknown,
            _ => return None,
        },
        None => of_unknown_number(registers, failed, probe)?,
    };
    let native = registers.gate == Gate::Native;
    let operation = registers.number.filter(|_| native).map(|number| number as u32);
    Some(Echo { written, operation, result, pc, stack, link })
}

/// Whether a call has written all that it was to write. Of calls with a vector that is looked up in
/// memory: if it lies no more where it was, the call may have been cut short.
#[cfg(target_os = "linux")]
fn is_whole(registers: &Registers, number: u64, probe: &impl Probe) -> bool {
    let [second, third, fourth, fifth, _] = registers.rest;
    if registers.gate != Gate::Native {
        return false;
    }
    let wanted = match libc::c_long::try_from(number) {
        // Of sendmmsg(2): messages.
        Ok(libc::SYS_write | libc::SYS_sendto | libc::SYS_tee | libc::SYS_sendmmsg) => Some(third),
        Ok(libc::SYS_sendfile) => Some(fourth),
        Ok(libc::SYS_splice) => Some(fifth),
        Ok(libc::SYS_writev | libc::SYS_pwritev2 | libc::SYS_vmsplice) => {
            probe.length_of(second, third)
        }
        Ok(libc::SYS_sendmsg) => {
            probe.vector_of(second).and_then(|[vector, pieces]| probe.length_of(vector, pieces))
        }
        _ => None,
    };
    wanted == Some(registers.result as u64)
}

#[cfg(not(target_os = "linux"))]
fn is_whole(_registers: &Registers, _number: u64, _probe: &impl Probe) -> bool {
    false
}

/// Whether the descriptor is known, and not broken: then a call that has written all to it has
/// raised nothing, and the signal is a kill(2) of this very moment. (A socket with TLS in the
/// kernel may raise it with a full count: that one is broken.)
fn is_sound(written: &Written, probe: &impl Probe) -> bool {
    matches!(written, Written::To(fd) if !probe.is_broken(*fd))
}

fn argument(registers: &Registers, place: Option<usize>) -> Written {
    let value = match (place, registers.arguments) {
        (None, _) => None,
        (Some(0), None) => return Written::ToFirst,
        (Some(0), Some([first, ..])) => Some(first),
        (Some(place), _) => registers.rest.get(place - 1).copied(),
    };
    value.and_then(descriptor).map_or(Written::Unknown, Written::To)
}

#[cold]
#[inline(never)]
fn of_unknown_number(registers: &Registers, failed: bool, probe: &impl Probe) -> Option<Written> {
    let [first, second, third] = registers.arguments?.map(descriptor);
    if failed {
        // The first for write, send and sendfile, the third for splice, the second for tee.
        return Some(Written::OneOf([first, third, second]));
    }
    let Some(fd) = first else {
        let Registers { result, arguments: Some([context, count, _]), .. } = *registers else {
            return None;
        };
        let submitted = result > 0 && result as u64 <= count && probe.is_aio_context(context);
        return submitted.then_some(Written::Unknown);
    };
    let native = registers.gate == Gate::Native && registers.result >= 0;
    if native && is_registered_ring(registers, fd) {
        return Some(Written::Unknown);
    }
    if registers.result > 0 && probe.is_broken(fd) {
        return Some(Written::To(fd));
    }
    (native && probe.is_ring(fd)).then_some(Written::Unknown)
}

/// Whether the arguments are those of io_uring_enter(2) with the index of a registered ring in
/// place of a descriptor (`IORING_ENTER_REGISTERED_RING`): flags that exist, an index that can be,
/// and no more submitted than was asked for.
fn is_registered_ring(registers: &Registers, index: c_int) -> bool {
    /// `IO_RINGFD_REG_MAX`, io_uring/tctx.h.
    const REGISTERED: c_int = 16;
    /// `IORING_ENTER_REGISTERED_RING`, include/uapi/linux/io_uring.h.
    const REGISTERED_RING: u64 = 1 << 4;
    /// All flags there up to Linux 6.18.
    const FLAGS: u64 = 0xff;
    let [to_submit, _, flags, ..] = registers.rest;
    index < REGISTERED
        && flags & REGISTERED_RING != 0
        && flags & !FLAGS == 0
        && registers.result <= i64::from(to_submit as u32)
}

/// The lower half of a register as a file descriptor.
pub(super) fn descriptor_in(half: u32) -> Option<c_int> {
    descriptor(half.into())
}

/// A register that can be a file descriptor: 32 bits count, and it is not negative.
fn descriptor(register: u64) -> Option<c_int> {
    // The upper half is undefined for an `int` argument, but a pointer above 4 GiB is no
    // descriptor.
    (register <= 0x7fff_ffff).then_some(register as c_int)
}

/// `si_code` of kill(2) and of the kernel's own SIGPIPE; libc does not define it everywhere.
pub(super) const SI_USER: c_int = 0;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::cell::Cell;

    const EPIPE: i64 = -32;
    const POINTER: u64 = 0x7f00_1234_5678;

    /// A kernel in which these are broken, and 5 is a ring.
    struct Kernel<'a>(&'a [c_int], Cell<bool>);

    impl Probe for Kernel<'_> {
        fn is_broken(&self, fd: c_int) -> bool {
            self.1.set(true);
            self.0.contains(&fd)
        }
        fn is_ring(&self, fd: c_int) -> bool {
            self.1.set(true);
            fd == 5
        }
        fn is_aio_context(&self, context: u64) -> bool {
            context == POINTER
        }
        fn length_of(&self, vector: u64, pieces: u64) -> Option<u64> {
            self.1.set(true);
            (vector == POINTER).then_some(4096 * pieces)
        }
        fn vector_of(&self, message: u64) -> Option<[u64; 2]> {
            self.1.set(true);
            (message == POINTER + 8).then_some([POINTER, 2])
        }
    }

    fn x86(result: i64, arguments: [u64; 3]) -> Registers {
        let [_, second, third] = arguments;
        Registers {
            pc: 0x4000,
            result,
            gate: Gate::Native,
            arguments: Some(arguments),
            number: None,
            stack: 0,
            link: None,
            rest: [second, third, 0, 0, 0],
        }
    }

    fn call(number: libc::c_long, result: i64, arguments: [u64; 3]) -> Registers {
        Registers { number: Some(number as u64), ..x86(result, arguments) }
    }

    fn aarch64(result: i64, number: libc::c_long) -> Registers {
        Registers { arguments: None, ..call(number, result, [0; 3]) }
    }

    /// What is found, and that the kernel was not asked.
    fn unasked(registers: &Registers) -> Option<Written> {
        let kernel = Kernel(&[3, 5, 7, 8, 9], Cell::new(false));
        let found = find(registers, &kernel);
        assert!(!kernel.1.get(), "the system call alone decides: {registers:?}");
        found.map(|echo| echo.written)
    }

    fn asked(registers: &Registers, broken: &[c_int]) -> Option<Written> {
        find(registers, &Kernel(broken, Cell::new(false))).map(|echo| echo.written)
    }

    /// What is found if nothing is broken.
    fn sound(registers: &Registers) -> Option<Written> {
        asked(registers, &[])
    }

    #[test]
    fn a_known_writer_that_failed_or_was_cut_short_is_an_echo_without_asking() {
        for result in [EPIPE, 4096] {
            for number in [libc::SYS_write, libc::SYS_writev, libc::SYS_sendto, libc::SYS_sendfile]
            {
                let registers = call(number, result, [7, POINTER, 8192]);
                // How much a vector holds lies in memory.
                let look = if number == libc::SYS_writev && result > 0 { sound } else { unasked };
                assert_eq!(look(&registers), Some(Written::To(7)));
                assert_eq!(look(&aarch64(result, number)), Some(Written::ToFirst));
            }
            let splice = Registers { arguments: None, ..call(libc::SYS_splice, result, [3, 0, 9]) };
            assert_eq!(unasked(&splice), Some(Written::To(9)));
            assert_eq!(unasked(&call(libc::SYS_splice, result, [3, 0, 9])), Some(Written::To(9)));
            assert_eq!(unasked(&call(libc::SYS_tee, result, [3, 9, 8192])), Some(Written::To(9)));
        }
        assert_eq!(unasked(&call(libc::SYS_write, 0, [7, POINTER, 0])), None);
        assert_eq!(unasked(&call(libc::SYS_write, -4, [7, POINTER, 1])), None);
        assert_eq!(unasked(&aarch64(0, libc::SYS_write)), None);
    }

    #[test]
    fn a_call_that_has_written_all_has_raised_nothing() {
        assert_eq!(asked(&call(libc::SYS_tee, 4096, [3, 9, 4096]), &[8]), None);
        for number in [libc::SYS_write, libc::SYS_sendto] {
            assert_eq!(asked(&call(number, 4096, [7, POINTER, 4096]), &[8]), None);
        }
        // TLS in the kernel raises it with a full count as well.
        assert_eq!(
            asked(&call(libc::SYS_write, 4096, [7, POINTER, 4096]), &[7]),
            Some(Written::To(7))
        );
        let rest = |rest| Registers { rest, ..call(libc::SYS_sendfile, 4096, [7, 3, 0]) };
        assert_eq!(asked(&rest([3, 0, 4096, 0, 0]), &[]), None);
        assert_eq!(unasked(&rest([3, 0, 8192, 0, 0])), Some(Written::To(7)));
        let splice =
            Registers { rest: [0, 9, 0, 4096, 0], ..call(libc::SYS_splice, 4096, [3, 0, 9]) };
        assert_eq!(asked(&splice, &[]), None);
        for number in [libc::SYS_writev, libc::SYS_pwritev2, libc::SYS_vmsplice] {
            assert_eq!(sound(&call(number, 8192, [7, POINTER, 2])), None);
            assert_eq!(sound(&call(number, 4096, [7, POINTER, 2])), Some(Written::To(7)));
            assert_eq!(sound(&call(number, 8192, [7, 0, 2])), Some(Written::To(7)), "not readable");
            assert_eq!(asked(&call(number, 8192, [7, POINTER, 2]), &[7]), Some(Written::To(7)));
        }
        assert_eq!(sound(&call(libc::SYS_sendmsg, 8192, [7, POINTER + 8, 0])), None);
        assert_eq!(
            sound(&call(libc::SYS_sendmsg, 8191, [7, POINTER + 8, 0])),
            Some(Written::To(7))
        );
        assert_eq!(sound(&call(libc::SYS_sendmsg, 8192, [7, POINTER, 0])), Some(Written::To(7)));
        assert_eq!(sound(&call(libc::SYS_sendmmsg, 2, [7, POINTER, 2])), None, "messages");
        assert_eq!(sound(&call(libc::SYS_sendmmsg, 1, [7, POINTER, 2])), Some(Written::To(7)));
    }

    #[test]
    fn any_other_known_call_is_never_one() {
        let others = [
            libc::SYS_read,
            libc::SYS_readv,
            libc::SYS_recvfrom,
            libc::SYS_kill,
            libc::SYS_tgkill,
            libc::SYS_rt_tgsigqueueinfo,
            libc::SYS_rt_sigreturn,
            libc::SYS_rt_sigprocmask,
            libc::SYS_ppoll,
            libc::SYS_futex,
            libc::SYS_pread64,
        ];
        for number in others {
            for result in [EPIPE, 1, 0] {
                assert_eq!(unasked(&call(number, result, [7, 8, 9])), None);
                assert_eq!(unasked(&aarch64(result, number)), None);
            }
        }
    }

    #[test]
    fn of_an_unknown_number_an_error_is_one_and_a_count_if_the_first_argument_is_broken() {
        let write = x86(EPIPE, [7, POINTER, 10]);
        assert_eq!(unasked(&write), Some(Written::OneOf([Some(7), Some(10), None])));
        assert_eq!(asked(&x86(4096, [7, POINTER, 8192]), &[7]), Some(Written::To(7)));
        assert_eq!(asked(&x86(4096, [7, POINTER, 8192]), &[8192]), None);
        assert_eq!(asked(&x86(0, [7, 13, 0]), &[7]), None);
        assert_eq!(asked(&x86(-4, [7, POINTER, 10]), &[7]), None);
    }

    #[test]
    fn what_was_submitted_is_an_echo_without_a_descriptor() {
        for number in [libc::SYS_io_submit, libc::SYS_io_uring_enter] {
            assert_eq!(unasked(&call(number, 1, [5, 1, 1])), Some(Written::Unknown));
            assert_eq!(unasked(&aarch64(1, number)), Some(Written::Unknown));
            assert_eq!(unasked(&call(number, -22, [5, 1, 1])), None);
        }
        assert_eq!(asked(&x86(1, [5, 1, 1]), &[]), Some(Written::Unknown), "a ring's descriptor");
        assert_eq!(asked(&x86(1, [6, 1, 1]), &[]), None);
        assert_eq!(asked(&x86(2, [POINTER, 2, POINTER]), &[]), Some(Written::Unknown), "io_submit");
        assert_eq!(asked(&x86(3, [POINTER, 2, POINTER]), &[]), None, "more than were given");
        let registered = |flags| Registers { rest: [1, 0, flags, 0, 0], ..x86(1, [0, 1, 0]) };
        assert_eq!(unasked(&registered(16 | 1)), Some(Written::Unknown), "a ring's index");
        assert_eq!(asked(&registered(1), &[]), None);
        assert_eq!(asked(&registered(POINTER | 16), &[]), None);
        assert_eq!(
            asked(&Registers { result: 2, ..registered(16) }, &[]),
            None,
            "more than was asked for"
        );
    }

    #[test]
    fn a_call_that_was_asked_to_be_quiet_raised_nothing() {
        let quiet =
            |number, rest| unasked(&Registers { rest, ..call(number, EPIPE, [7, POINTER, 1]) });
        let flag = libc::MSG_NOSIGNAL as u64;
        assert_eq!(quiet(libc::SYS_sendto, [POINTER, 1, flag, 0, 0]), None);
        assert_eq!(
            quiet(libc::SYS_sendto, [POINTER, flag, 0, 0, 0]),
            Some(Written::To(7)),
            "a length"
        );
        assert_eq!(quiet(libc::SYS_sendmsg, [POINTER, flag, 0, 0, 0]), None);
        assert_eq!(quiet(libc::SYS_sendmmsg, [POINTER, 1, flag, 0, 0]), None);
        assert_eq!(quiet(libc::SYS_pwritev2, [POINTER, 1, 0, 0, 0x100]), None);
        assert_eq!(quiet(libc::SYS_write, [POINTER, flag, flag, flag, flag]), Some(Written::To(7)));
    }

    #[test]
    fn numbers_behind_the_other_gate_are_others() {
        let i386 = |number| Registers { gate: Gate::I386, ..call(number, EPIPE, [7, 0x1000, 1]) };
        assert_eq!(unasked(&i386(4)), Some(Written::To(7)), "write");
        assert_eq!(unasked(&i386(1)), None, "exit, where the native gate has write");
        assert_eq!(unasked(&i386(37)), None, "kill");
        assert_eq!(
            find(&i386(4), &Kernel(&[], Cell::new(false))).and_then(|echo| echo.operation),
            None
        );
        let socket = |kind| Registers { arguments: Some([kind, 0x1000, 0]), ..i386(102) };
        assert_eq!(unasked(&socket(9)), Some(Written::Unknown), "send by way of socketcall");
        assert_eq!(unasked(&socket(10)), None, "recv");
    }
}

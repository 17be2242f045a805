//! The handler's decision about a stopped thread of another process. For the
//! command `sigward`; no part of the library's contract.

use super::handler::describe;
use super::handler::echo::{self, Probe};
use crate::chain::{Gate, Registers};
use crate::observe::Event;
use crate::observe::in_handler::status;
use std::ffi::c_int;
use std::os::fd::{AsRawFd, OwnedFd};

/// What a thread's registers show while it stands behind a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// The number of the call.
    pub number: u64,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// Whether the processor has overwritten the first argument with the result (aarch64).
    pub first_is_lost: bool,
    /// What the call has returned.
    pub result: i64,
    /// The instruction after the call.
    pub pc: u64,
}

struct Duplicates<F>(F);

impl<F: Fn(c_int) -> Option<OwnedFd>> Probe for Duplicates<F> {
    fn is_broken(&self, fd: c_int) -> bool {
        (self.0)(fd).is_some_and(|fd| describe::is_broken(fd.as_raw_fd()))
    }

    // Asked only where the number of the call is unknown.
    fn is_ring(&self, _fd: c_int) -> bool {
        false
    }

    fn is_aio_context(&self, _context: u64) -> bool {
        false
    }

    // The other process's memory is not looked at: then a count of unknown meaning is an echo.
    fn length_of(&self, _vector: u64, _pieces: u64) -> Option<u64> {
        None
    }

    fn vector_of(&self, _message: u64) -> Option<[u64; 2]> {
        None
    }
}

/// The write that has raised a SIGPIPE, if it is the echo of one: system call, descriptor, result,
/// peer. `duplicate` gives a duplicate of a descriptor of the other process (pidfd_getfd(2)).
pub fn write_of(stopped: &Stopped, duplicate: impl Fn(c_int) -> Option<OwnedFd>) -> Option<Event> {
    let [first, second, third, fourth, fifth, sixth] = stopped.arguments;
    let registers = Registers {
        pc: stopped.pc as usize,
        result: stopped.result,
        gate: Gate::Native,
        arguments: (!stopped.first_is_lost).then_some([first, second, third]),
        rest: [second, third, fourth, fifth, sixth],
        number: Some(stopped.number),
        stack: 0,
        link: None,
    };
    let look = Duplicates(duplicate);
    let echo = echo::find(&registers, &look)?;
    let mut event = Event::blank(libc::SIGPIPE);
    event.result = echo.result;
    event.pc = stopped.pc;
    event.operation = echo.operation.unwrap_or(0);
    let Some(fd) = echo.fd() else { return Some(event) };
    event.fd = fd;
    if let Some(duplicate) = (look.0)(fd)
        && let Some(status) = status(duplicate.as_raw_fd())
    {
        (event.inode, event.fd_kind) = (status.st_ino, describe::kind(&status));
        event.fd = duplicate.as_raw_fd();
        describe::describe_peer(&mut event);
        event.fd = fd;
    }
    Some(event)
}

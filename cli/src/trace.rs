//! ptrace(2) and waitid(2), each call as a safe function.
//!
//! A *signal stop* is only looked at (`WNOWAIT`), never reaped: the kernel keeps the signal in what
//! a wait would take away, so a tracer that is killed between wait and continue would have lost it.
//! A stop for an event carries no signal, and has to be reaped.

use crate::registers::{NATIVE, Registers};
use std::io;
use std::ptr::null_mut;

/// What has become of a traced thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is about to get a signal.
    Signal(i32),
    /// It has stopped for an event of ptrace(2), with this signal.
    Event { event: i32, signal: i32 },
    /// It has ended with this status.
    Exited(i32),
    /// It was ended by this signal; whether there is a core.
    Killed { signal: i32, core: bool },
}

/// Attaches without stopping. Never `PTRACE_O_EXITKILL`: when we die the program goes on.
pub fn seize(tid: i32, children: bool) -> io::Result<()> {
    let mut options = libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACEEXEC;
    if children {
        options |= libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACEVFORK;
    }
    number(libc::PTRACE_SEIZE, tid, options as usize)
}

/// The same, of this thread alone: who it starts is not followed.
pub fn seize_alone(tid: i32) -> io::Result<()> {
    number(libc::PTRACE_SEIZE, tid, 0)
}

/// Lets a stopped thread execute one instruction.
pub fn step(tid: i32) -> io::Result<()> {
    number(libc::PTRACE_SINGLESTEP, tid, 0)
}

/// What a stopped thread has blocked.
pub fn mask(tid: i32) -> io::Result<u64> {
    let mut mask = 0_u64;
    // SAFETY: a set of this size, and room for it.
    let status =
        unsafe { libc::ptrace(libc::PTRACE_GETSIGMASK, tid, size_of::<u64>(), &raw mut mask) };
    if status == 0 { Ok(mask) } else { Err(io::Error::last_os_error()) }
}

/// Blocks exactly these in a stopped thread.
pub fn set_mask(tid: i32, mask: u64) -> io::Result<()> {
    // SAFETY: a set of this size.
    let status =
        unsafe { libc::ptrace(libc::PTRACE_SETSIGMASK, tid, size_of::<u64>(), &raw const mask) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// All general registers of a stopped thread; none of a 32-bit one.
pub fn all_registers(tid: i32) -> Option<libc::user_regs_struct> {
    const SIZE: usize = size_of::<libc::user_regs_struct>();
    let mut bytes = [0; SIZE];
    let whole = register_set(tid, libc::NT_PRSTATUS, &mut bytes)? == SIZE;
    // SAFETY: numbers, as many as the kernel has said.
    whole.then(|| unsafe { bytes.as_ptr().cast::<libc::user_regs_struct>().read_unaligned() })
}

/// Gives a stopped thread these.
pub fn set_registers(tid: i32, registers: &libc::user_regs_struct) -> io::Result<()> {
    let place = std::ptr::from_ref(registers).cast_mut().cast();
    let mut from = libc::iovec { iov_base: place, iov_len: size_of_val(registers) };
    let which = libc::NT_PRSTATUS as usize;
    // SAFETY: only read, as many bytes as it says.
    let status = unsafe { libc::ptrace(libc::PTRACE_SETREGSET, tid, which, &raw mut from) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What has become of a thread since it was last asked, without waiting.
pub fn now(tid: i32) -> io::Result<Option<Change>> {
    let found = wait(libc::P_PID, tid as libc::id_t, libc::WNOWAIT | libc::WNOHANG)?;
    Ok(found.map(|(_, change)| {
        if matches!(change, Change::Event { .. }) {
            reap(tid);
        }
        change
    }))
}

/// Lets a stopped thread go on, with a signal or none (0).
pub fn go_on(tid: i32, signal: i32) -> io::Result<()> {
    number(libc::PTRACE_CONT, tid, signal as usize)
}

/// Leaves a thread in the stop of its process, as if nobody traced it.
pub fn listen(tid: i32) -> io::Result<()> {
    number(libc::PTRACE_LISTEN, tid, 0)
}

/// Makes a thread stop for an event.
pub fn interrupt(tid: i32) -> io::Result<()> {
    number(libc::PTRACE_INTERRUPT, tid, 0)
}

/// Lets a stopped thread go on without us.
pub fn detach(tid: i32, signal: i32) -> io::Result<()> {
    number(libc::PTRACE_DETACH, tid, signal as usize)
}

/// The message of an event: the new thread, the former one, the status.
pub fn message(tid: i32) -> Option<u64> {
    let mut message: libc::c_ulong = 0;
    let place = &raw mut message;
    // SAFETY: room for one number.
    let status = unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, tid, null_mut::<u8>(), place) };
    (status == 0).then_some(message)
}

/// The siginfo of a signal stop.
pub fn info(tid: i32) -> Option<[u8; 128]> {
    let mut info = [0_u64; 16];
    let place = info.as_mut_ptr();
    // SAFETY: 128 aligned bytes, as long as a siginfo.
    let status = unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, tid, null_mut::<u8>(), place) };
    let mut bytes = [0; 128];
    for (place, word) in bytes.chunks_exact_mut(8).zip(info) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    (status == 0).then_some(bytes)
}

/// The registers of a stopped thread; none of a 32-bit one.
pub fn registers(tid: i32) -> Option<Registers> {
    let machine = NATIVE?;
    let mut bytes = [0; 40 * 8];
    let length = register_set(tid, libc::NT_PRSTATUS, &mut bytes)?;
    let mut call = [0; 4];
    let call = match machine {
        crate::registers::Machine::X86_64 => None,
        crate::registers::Machine::Aarch64 => {
            register_set(tid, 0x404, &mut call)?; // NT_ARM_SYSTEM_CALL
            Some(i32::from_le_bytes(call))
        }
    };
    (length == Registers::size(machine)).then(|| Registers::read(machine, &bytes, call))?
}

fn register_set(tid: i32, which: i32, bytes: &mut [u8]) -> Option<usize> {
    let mut room = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: so much room as it says.
    let status =
        unsafe { libc::ptrace(libc::PTRACE_GETREGSET, tid, which as usize, &raw mut room) };
    (status == 0).then_some(room.iov_len)
}

fn number(request: libc::c_uint, tid: i32, data: usize) -> io::Result<()> {
    // SAFETY: requests whose data is a number.
    let status = unsafe { libc::ptrace(request as _, tid, null_mut::<u8>(), data) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Waits for the next change of any thread; `Err` with `ECHILD` when there is none any more. One
/// that has ended is there still, until it is reaped.
pub fn next() -> io::Result<(i32, Change)> {
    let (tid, change) = wait(libc::P_ALL, 0, libc::WNOWAIT)?.ok_or(io::ErrorKind::Interrupted)?;
    if matches!(change, Change::Event { .. }) {
        reap(tid);
    }
    Ok((tid, change))
}

/// Takes a change away.
pub fn reap(tid: i32) {
    let _ = wait(libc::P_PID, tid as libc::id_t, libc::WNOHANG);
}

fn wait(of: libc::idtype_t, id: libc::id_t, more: i32) -> io::Result<Option<(i32, Change)>> {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WSTOPPED | libc::__WALL | more;
    // SAFETY: room for a siginfo.
    if unsafe { libc::waitid(of, id, info.as_mut_ptr(), options) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed, and filled by the call.
    let info = unsafe { info.assume_init() };
    // SAFETY: a field of a wait's siginfo, zero if there was nothing.
    let tid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    let change = match info.si_code {
        _ if tid == 0 => return Ok(None),
        libc::CLD_EXITED => Change::Exited(status),
        libc::CLD_KILLED => Change::Killed { signal: status, core: false },
        libc::CLD_DUMPED => Change::Killed { signal: status, core: true },
        _ if status >> 8 == 0 => Change::Signal(status),
        _ => Change::Event { event: status >> 8, signal: status & 0x7f },
    };
    Ok(Some((tid, change)))
}

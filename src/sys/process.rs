//! Which process this is, told without a system call: a log belongs to the one that opened it, a
//! thread to the one that started it.
//!
//! A forked child shares a log's file, lock and map with the parent: were it to append, both would
//! write over each other. It has the parent's descriptors and none of its threads. Process ids do
//! not tell the two apart: in a pid namespace of its own a child can have its parent's. The
//! generation does, which lies in a page that a fork wipes.

use super::wiped;

/// A process among those that share its memory's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    generation: u32,
    /// Where the kernel wipes nothing (before Linux 4.14, other systems); else 0.
    id: u32,
}

fn id() -> u32 {
    if wiped::is_wiped() { 0 } else { std::process::id() }
}

/// The kernel's number of this thread. Signal-safe.
#[cfg(target_os = "linux")]
pub(crate) fn this_thread() -> libc::pid_t {
    // SAFETY: a call without arguments that cannot fail.
    unsafe { libc::syscall(libc::SYS_gettid) as libc::pid_t }
}

/// Whether no such thread is left that could let go of what it holds. A process that has ended and
/// was not waited for has no memory any more, which is what this asks for; a refusal (another
/// user's, a seccomp filter) counts as alive.
#[cfg(target_os = "linux")]
pub(crate) fn is_dead(thread: u32) -> bool {
    static SOME: u8 = 0;
    let mut byte = 0_u8;
    let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: (&raw const SOME).cast_mut().cast(), iov_len: 1 };
    let (thread, one, flags) = (thread as usize, 1_usize, 0_usize);
    let (local, remote) = (&raw const local, &raw const remote);
    // SAFETY: one byte from wherever it is to a byte of ours.
    let read = unsafe {
        libc::syscall(libc::SYS_process_vm_readv, thread, local, one, remote, one, flags)
    };
    read < 0 && super::call::errno() == libc::ESRCH
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn is_dead(_thread: u32) -> bool {
    false
}

/// This thread among those of the process, never 0. Signal-safe.
pub(crate) fn thread_id() -> u32 {
    #[cfg(target_os = "linux")]
    return this_thread().unsigned_abs();
    #[cfg(not(target_os = "linux"))]
    {
        // SAFETY: no arguments, cannot fail.
        let thread = unsafe { libc::pthread_self() } as usize;
        // Thread structs are far more than 16 bytes apart. The uppermost bit is left to locks.
        (thread >> 4) as u32 & (u32::MAX >> 1) | 1
    }
}

/// This one, for those who open a log or start a thread.
pub(crate) fn announce() -> Process {
    Process { generation: wiped::generation(), id: id() }
}

/// This one; a child that has not announced itself is no process that has.
pub(crate) fn this() -> Process {
    Process { generation: wiped::known_generation(), id: id() }
}

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

/// This one, for who opens a log or starts a thread.
pub(crate) fn announce() -> Process {
    Process { generation: wiped::generation(), id: id() }
}

/// This one; a child that has not announced itself is no process that has.
pub(crate) fn this() -> Process {
    Process { generation: wiped::known_generation(), id: id() }
}

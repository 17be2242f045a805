//! Which process this is, told without a system call: a log belongs to the one that opened it.
//!
//! A forked child shares the file, its lock and its map with the parent. Were it to append, both
//! would write over each other. Process ids do not tell them apart: in a pid namespace of its own
//! a child can have its parent's. The generation does, which lies in a page that a fork wipes.

use crate::sys::wiped;

/// A process among those that share its memory's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    generation: u32,
    /// Where the kernel wipes nothing (before Linux 4.14, other systems); else 0.
    id: u32,
}

fn id() -> u32 {
    if wiped::is_wiped() { 0 } else { std::process::id() }
}

/// This one, for who opens a log.
pub(super) fn announce() -> Process {
    Process { generation: wiped::generation(), id: id() }
}

/// This one; a child that has not announced itself is no process that has.
pub(super) fn this() -> Process {
    Process { generation: wiped::known_generation(), id: id() }
}

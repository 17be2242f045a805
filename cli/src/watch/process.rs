//! What is known of a process that is followed.

use super::kept::Kept;
use super::story::Story;
use crate::proc::{self, Disposition, Status};
use crate::signals::Info;
use crate::trace;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What is known of a process.
pub struct Process {
    /// Its name.
    pub name: String,
    /// The number that it has for itself, in its own namespace.
    pub own: i32,
    /// The last signal that was told, or is about to be the end.
    pub last: Option<Story>,
    /// Of those that may be the end the last of each number.
    pub kept: BTreeMap<i32, Kept>,
    /// Where its cgroup counts whom the kernel has ended for want of memory, and how many it had.
    pub killed_for_memory: Option<(PathBuf, u64)>,
    /// Whether a command that was started has become what it should be.
    pub has_begun: bool,
    /// Whether its first thread is stopped.
    pub is_stopped: bool,
}

impl Process {
    /// Of one that nothing was told of yet.
    pub fn of(pid: i32) -> Self {
        Self {
            name: proc::name(pid).unwrap_or_default(),
            own: Status::of(pid).map_or(pid, |status| status.innermost),
            last: None,
            kept: BTreeMap::new(),
            killed_for_memory: proc::memory_events(pid)
                .and_then(|events| Some((proc::killed_for_memory(&events)?, events)))
                .map(|(before, events)| (events, before)),
            has_begun: false,
            is_stopped: false,
        }
    }

    /// Whether a fault of a thread ends the first process of a namespace, were it not traced: the
    /// kernel does not let a traced one end, which would meet its fault for ever.
    pub fn ends_untraced(&self, tid: i32, signal: i32) -> bool {
        const FAULTS: [i32; 5] =
            [libc::SIGBUS, libc::SIGSEGV, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP];
        let info = || Info::read(&trace::info(tid)?);
        let is_default = |status: Status| status.disposition(signal) == Disposition::Init;
        self.own == 1
            && FAULTS.contains(&signal)
            && info().is_some_and(|info| info.is_fault())
            && Status::of(tid).is_some_and(is_default)
    }
}

//! What is kept of a signal that ends a program or does not, for the death that may follow.
//!
//! In the stop no more is asked than who has sent it: whether the program has a handler is seen
//! when it dies, or does not. A look into /proc costs more than the stop itself, which a program
//! that lives on SIGUSR1 would pay each time.

use super::story::{Story, name_of_sender, now};
use crate::signals::Info;
use crate::trace;

/// The last of its number in a process.
pub struct Kept {
    /// The thread that got it.
    pub tid: i32,
    /// Its name, once it has ended.
    pub thread: String,
    time_ns: u64,
    info: Info,
    /// The name of another process that has sent it.
    sender: Option<String>,
}

impl Kept {
    /// Gathers what can only be seen while the thread is stopped.
    pub fn of(tid: i32) -> Option<Self> {
        let info = Info::read(&trace::info(tid)?)?;
        Some(Self { tid, thread: String::new(), time_ns: now(), info, sender: None })
    }

    /// Adds who has sent it, if that is not the process itself, when the thread is on its way.
    pub fn complete(&mut self, pid: i32, own: i32) {
        if self.info.sender != own && self.info.is_sent() {
            self.sender = name_of_sender(self.info.sender, pid, own);
        }
    }

    /// What is told, when a process has died of it; `own` is the number that itself has for it.
    pub fn told(self, pid: i32, own: i32, program: &str) -> Story {
        let info = self.info;
        let sender = if info.sender == own { (pid, None) } else { (info.sender, self.sender) };
        Story {
            program: program.to_owned(),
            thread: self.thread,
            sender: info.is_sent().then_some(sender),
            ..Story::told_by(&info, self.time_ns, pid, self.tid)
        }
    }
}

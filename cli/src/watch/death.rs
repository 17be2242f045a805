//! The end of a process: how, and by which of the signals that were told.

use super::story::Story;
use crate::signals;
use serde::Serialize;
use std::fmt;

/// How a process has ended.
#[derive(Debug, Serialize)]
pub struct Death {
    /// The process.
    pub pid: i32,
    /// Its name.
    pub program: String,
    /// Its exit status, if it has exited.
    pub status: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<String>,
    /// Whether there is a core.
    pub core: bool,
    /// Whether the kernel ended it for want of memory.
    pub out_of_memory: bool,
    /// The signal that it has died of, as it was told.
    pub of: Option<Story>,
}

impl Death {
    /// Of a process that has exited (`Err`) or was ended by a signal; `last` is the last signal
    /// that was told of it.
    pub fn of(
        pid: i32,
        program: String,
        how: Result<(i32, bool), i32>,
        last: Option<Story>,
    ) -> Self {
        // An exit of its own is a death only where a fault came before: a runtime has caught it.
        let of = last.filter(|story| match how {
            Ok((signal, _)) => {
                signal == story.number || signal == libc::SIGABRT && story.is_a_fault()
            }
            Err(status) => status != 0 && story.is_a_fault(),
        });
        Self {
            pid,
            program,
            status: how.err(),
            signal: how.ok().map(|(signal, _)| signals::name(signal)),
            core: how.is_ok_and(|(_, core)| core),
            out_of_memory: false,
            of,
        }
    }

    /// Whether there is something to explain.
    pub fn is_news(&self) -> bool {
        self.signal.is_some() || self.of.is_some()
    }
}

impl fmt::Display for Death {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} (pid {}) ", self.program, self.pid)?;
        match (&self.signal, self.status) {
            (Some(signal), _) => write!(out, "died of {signal}")?,
            (_, status) => write!(out, "ended with status {}", status.unwrap_or(0))?,
        }
        if self.core {
            out.write_str(" (core dumped)")?;
        }
        if self.out_of_memory {
            out.write_str(
                ": the kernel ended it for want of memory (memory.events counts oom_kill)",
            )
        } else if let Some(story) = &self.of {
            let again = if self.signal.as_ref() == Some(&story.signal) {
                String::new()
            } else {
                format!("after {}: ", story.signal)
            };
            write!(out, ": {again}{}", story.cause())
        } else if self.signal.as_deref() == Some("SIGKILL") {
            out.write_str(": nobody but its sender can say why (kill -9, a supervisor, a limit)")
        } else {
            Ok(())
        }
    }
}

//! Why the newest contents of a file were not taken, in words for an operator: which file, since
//! when, how often, and what is still served.

use std::ffi::c_int;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Why what the path names now is not the version that [`get`](super::Reloading::get) returns. The
/// version before stays.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Problem {
    /// The path that was given, made absolute.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: Reason,
    /// Bytes of the file, where there is one.
    pub length: Option<u64>,
    /// When it was met first.
    pub since: SystemTime,
    /// When it was met last.
    pub last: SystemTime,
    /// How many looks have met it in a row.
    pub count: u64,
    /// The version that is served instead; 0 while there is none yet.
    pub kept: u64,
}

/// What is wrong with a file that was not taken.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Reason {
    /// The path cannot be opened: `ENOENT`, `EACCES`, `ELOOP`, …
    Open {
        /// What open(2) or stat(2) answered.
        errno: c_int,
    },
    /// It is a directory (`EISDIR`), a pipe, socket or device (`ENODEV`).
    NotAFile {
        /// Which of them.
        errno: c_int,
    },
    /// The file is empty, which [`Options::accept_empty`](super::Options::accept_empty) would
    /// allow.
    Empty,
    /// Somebody has the file open for writing, or has written to it and not closed it: it is taken
    /// when they do, or after [`Options::wait_for_writer`](super::Options::wait_for_writer).
    Writing,
    /// Nobody can say whether somebody is writing, or it has changed and no event told of that; it
    /// is taken when it has not changed for [`Options::settle`](super::Options::settle).
    Settling,
    /// It was changed while it was copied: tried again at once.
    Changed,
    /// It could not be copied.
    Copy(Arc<crate::mapping::Error>),
    /// The parser did not accept it, or panicked.
    Refused(Arc<dyn std::error::Error + Send + Sync>),
    /// No thread, or no descriptor for it, could be had: nobody would watch the file.
    NoWatcher {
        /// Why.
        errno: c_int,
    },
    /// This is a forked child: the thread that watches is its parent's.
    Forked,
    /// The call came out of the parser or the callback, which it would have to wait for.
    Within,
}

impl Reason {
    /// The errno value that is nearest; `EBADMSG` for what the parser refused.
    #[must_use]
    pub fn errno(&self) -> c_int {
        match self {
            Self::Open { errno } | Self::NotAFile { errno } | Self::NoWatcher { errno } => *errno,
            Self::Empty => crate::mapping::Error::Empty.errno(),
            Self::Writing | Self::Settling => libc::EBUSY,
            Self::Changed => libc::ESTALE,
            Self::Copy(error) => error.errno(),
            Self::Refused(_) => libc::EBADMSG,
            Self::Forked => libc::ECHILD,
            Self::Within => libc::EDEADLK,
        }
    }

    /// Whether it passes by itself, as soon as somebody has finished writing.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Writing | Self::Settling | Self::Changed)
            || matches!(self, Self::Open { errno: libc::EAGAIN })
    }

    /// Whether it is the same trouble once more.
    fn is_as(&self, other: &Self) -> bool {
        let same_kind = std::mem::discriminant(self) == std::mem::discriminant(other);
        // Two refusals are of two contents.
        same_kind && self.errno() == other.errno() && !matches!(self, Self::Refused(_))
    }
}

impl Problem {
    pub(super) fn new(path: &Path, reason: Reason, length: Option<u64>, kept: u64) -> Self {
        let now = SystemTime::now();
        Self { path: path.to_path_buf(), reason, length, since: now, last: now, count: 1, kept }
    }

    /// This one after `before`: it goes on with its count if it is the same. Says whether it does.
    pub(super) fn after(mut self, before: Option<&Self>) -> (Self, bool) {
        match before {
            Some(before) if before.reason.is_as(&self.reason) => {
                self.since = before.since;
                self.count = before.count + 1;
                (self, true)
            }
            _ => (self, false),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Open { errno } => {
                return write!(
                    out,
                    "it cannot be opened: {}",
                    std::io::Error::from_raw_os_error(*errno)
                );
            }
            Self::NotAFile { errno: libc::EISDIR } => "a directory has its name",
            Self::NotAFile { .. } => "a pipe, socket or device has its name",
            Self::Empty => "it is empty",
            Self::Writing => "somebody has it open for writing; it is taken when they close it",
            Self::Settling => {
                "whether somebody writes it cannot be told; it is taken when it does not change for a while"
            }
            Self::Changed => "it was changed while it was copied; that is tried again",
            Self::Copy(error) => return write!(out, "it cannot be copied: {error}"),
            Self::Refused(error) => return write!(out, "the parser refuses it: {error}"),
            Self::NoWatcher { errno } => {
                return write!(
                    out,
                    "nobody can watch it: {}",
                    std::io::Error::from_raw_os_error(*errno)
                );
            }
            Self::Forked => "a forked child does not watch: open it there anew",
            Self::Within => "the parser and the callback cannot wait for themselves",
        };
        out.write_str(text)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} was not taken", self.path.display())?;
        if let Some(length) = self.length {
            write!(out, " ({length} bytes)")?;
        }
        write!(out, ": {}", self.reason)?;
        if self.kept != 0 {
            write!(out, "; version {} stays", self.kept)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.reason {
            Reason::Refused(error) => Some(error.as_ref()),
            Reason::Copy(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}

impl From<Problem> for std::io::Error {
    fn from(problem: Problem) -> Self {
        let kind = Self::from_raw_os_error(problem.reason.errno()).kind();
        Self::new(kind, problem)
    }
}

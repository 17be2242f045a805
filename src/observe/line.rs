//! The line that tells of an event, and the library that it names.

use super::event::{Event, FdKind};
use super::library;
use std::fmt;

impl Event {
    /// The file name of the library (or executable) that made the system call, the C library's own
    /// wrappers left out; none if that cannot be told for certain. The library must be loaded
    /// still. Not for signal handlers.
    #[must_use]
    pub fn library(&self) -> Option<String> {
        library::caller(self).map(|name| name.to_string())
    }

    fn describe_loss(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SIGBUS caught: {}", if self.write == 1 { "write" } else { "read" })?;
        if let Some(library) = library::caller(self) {
            write!(out, " by {library}")?;
        }
        write!(out, " on thread {:?} (tid {}) of the map of ", self.thread_name(), self.tid)?;
        match self.map_path() {
            Some(path) => write!(out, "{}", path.display())?,
            None => out.write_str("a file")?,
        }
        write!(
            out,
            " (inode {}): lost from byte {} on: {}",
            self.inode,
            self.offset,
            self.cause_text()
        )?;
        if self.cause == 1 {
            write!(out, " to {} bytes", self.len_now)?;
        }
        Ok(())
    }
}

/// One line for a log. Not for signal handlers.
impl fmt::Display for Event {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind() == FdKind::Map {
            return self.describe_loss(out);
        }
        write!(out, "SIGPIPE swallowed: {}", self.operation_name().unwrap_or("a write"))?;
        if let Some(library) = library::caller(self) {
            write!(out, " by {library}")?;
        }
        write!(out, " on thread {:?} (tid {}) to ", self.thread_name(), self.tid)?;
        match self.kind() {
            FdKind::Unknown | FdKind::Map => out.write_str("an unknown fd")?,
            FdKind::Pipe => write!(out, "fd {} (pipe:[{}])", self.fd, self.inode)?,
            FdKind::Other => write!(out, "fd {} (inode {})", self.fd, self.inode)?,
            FdKind::Socket => {
                write!(out, "fd {} (socket:[{}]", self.fd, self.inode)?;
                if let Some(address) = self.peer_address() {
                    write!(out, ", peer {address}")?;
                } else if let Some(path) = self.peer_path() {
                    write!(out, ", peer {}", path.display())?;
                }
                out.write_str(")")?;
            }
        }
        if self.result < 0 {
            out.write_str(": EPIPE")
        } else {
            write!(out, ": {} bytes, then it broke", self.result)
        }
    }
}

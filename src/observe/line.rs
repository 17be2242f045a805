//! The line that tells of an event, and the library that it names.

use super::event::{Event, FdKind};
use super::library;
use std::fmt::{self, Write};
use std::path::Path;

/// What would end the line or move the cursor becomes `?`, as in the lines of handlers.
fn write_path(out: &mut fmt::Formatter<'_>, path: &Path) -> fmt::Result {
    let plain = |letter: char| if letter.is_control() { '?' } else { letter };
    path.to_string_lossy().chars().try_for_each(|letter| out.write_char(plain(letter)))
}

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
            Some(path) => write_path(out, path)?,
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
                    out.write_str(", peer ")?;
                    write_path(out, path)?;
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_others_makes_one_line() {
        let mut event = Event { fd_kind: Event::MAP, ..Event::default() };
        let path = b"/data/a\nb\x1b[2J";
        event.peer[..path.len()].copy_from_slice(path);
        event.peer_len = path.len() as u32;
        assert!(event.to_string().contains("of the map of /data/a?b?[2J (inode"), "{event}");
    }
}

//! Descriptors of another process, duplicated for a moment: what they are, and whether a write to
//! them would raise SIGPIPE.

use crate::proc;
use crate::report::shown;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, SockRef, Type};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

/// A process, held by a descriptor: its number is not given to another one meanwhile.
pub struct Process(OwnedFd);

impl Process {
    /// pidfd_open(2) of one of its threads, as the first may have ended; before Linux 6.9 only that
    /// one can be had.
    pub fn open(pid: i32, tid: i32) -> Option<Self> {
        let open = |id: i32, flags: libc::c_uint| {
            // SAFETY: numbers only.
            owned(unsafe { libc::syscall(libc::SYS_pidfd_open, id, flags) })
        };
        open(tid, libc::PIDFD_THREAD).or_else(|| open(pid, 0)).map(Self)
    }

    /// pidfd_getfd(2)
    pub fn duplicate(&self, fd: i32) -> Option<OwnedFd> {
        // SAFETY: numbers only.
        owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, self.0.as_raw_fd(), fd, 0) })
    }
}

fn owned(fd: libc::c_long) -> Option<OwnedFd> {
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: a new descriptor, which is ours alone.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What a descriptor is: `pipe:[…]`, `socket:[…]`, a path.
pub fn target(id: i32, fd: i32) -> Option<String> {
    let link = std::fs::read_link(format!("/proc/{id}/fd/{fd}")).ok()?;
    Some(shown(link))
}

/// The descriptors that a write to would raise SIGPIPE, in words; none if they may not be looked
/// at.
pub fn broken(pid: i32, process: &Process) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for fd in proc::descriptors(pid)? {
        let Some(what) = target(pid, fd) else { continue };
        let is_socket = what.starts_with("socket:");
        // FIFOs have a path.
        let is_pipe =
            !is_socket && (what.starts_with("pipe:") || is_fifo(pid, fd)) && proc::writes(pid, fd);
        if !is_socket && !is_pipe {
            continue;
        }
        // Refused, unless it is closed by now.
        let Some(own) = process.duplicate(fd) else {
            if std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM) {
                return None;
            }
            continue;
        };
        if is_pipe && events(&own).contains(PollFlags::POLLERR) {
            found.push(format!("fd {fd} ({what}): its reader is gone"));
        } else if is_socket && is_stream(&own) && events(&own).contains(PollFlags::POLLHUP) {
            found.push(format!("fd {fd} ({what}): its connection is gone, or was never made"));
        }
    }
    Some(found)
}

fn is_fifo(pid: i32, fd: i32) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let path = PathBuf::from(format!("/proc/{pid}/fd/{fd}"));
    std::fs::metadata(path).is_ok_and(|file| file.file_type().is_fifo())
}

/// POLLERR and POLLHUP need not be asked for.
fn events(fd: &OwnedFd) -> PollFlags {
    let mut asked = [PollFd::new(fd.as_fd(), PollFlags::empty())];
    let _ = poll(&mut asked, PollTimeout::ZERO);
    asked[0].revents().unwrap_or(PollFlags::empty())
}

/// Whether it is a socket with connections, that somebody writes to: no listener.
fn is_stream(fd: &OwnedFd) -> bool {
    let socket = SockRef::from(fd);
    // A Unix socket without a peer answers ENOTCONN, and raises nothing.
    let is_unix = socket.domain().is_ok_and(|domain| domain == Domain::UNIX);
    let raises = !is_unix || socket.peer_addr().is_ok();
    socket.r#type().is_ok_and(|kind| [Type::STREAM, Type::SEQPACKET].contains(&kind))
        && socket.is_listener().is_ok_and(|listens| !listens)
        && raises
}

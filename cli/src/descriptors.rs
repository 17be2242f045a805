//! Descriptors of another process, duplicated for a moment: what they are, and whether a write to
//! them would raise SIGPIPE.

use crate::proc;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

/// A process, held by a descriptor: its number is not given to another one meanwhile.
pub struct Process(OwnedFd);

impl Process {
    /// pidfd_open(2)
    pub fn open(pid: i32) -> Option<Self> {
        // SAFETY: numbers only.
        owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }).map(Self)
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
    Some(link.display().to_string())
}

/// The descriptors that a write to would raise SIGPIPE, in words; none if they may not be looked
/// at.
pub fn broken(pid: i32, process: &Process) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for fd in proc::descriptors(pid)? {
        let Some(what) = target(pid, fd) else { continue };
        let is_socket = what.starts_with("socket:");
        // FIFOs have a path.
        let is_pipe = !is_socket && (what.starts_with("pipe:") || is_fifo(pid, fd)) && proc::writes(pid, fd);
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
        if is_pipe && events(&own) & libc::POLLERR != 0 {
            found.push(format!("fd {fd} ({what}): its reader is gone"));
        } else if is_socket && is_stream(&own) && events(&own) & libc::POLLHUP != 0 {
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
fn events(fd: &OwnedFd) -> libc::c_short {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: one pollfd; a timeout of 0 returns at once.
    unsafe { libc::poll(&raw mut poll, 1, 0) };
    poll.revents
}

/// Whether it is a socket with connections, that somebody writes to: no listener.
fn is_stream(fd: &OwnedFd) -> bool {
    let option = |name| {
        let (mut value, mut size) = (0_i32, size_of::<i32>() as libc::socklen_t);
        // SAFETY: room for a number, and its size.
        let status = unsafe {
            libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, name, (&raw mut value).cast(), &raw mut size)
        };
        (status == 0).then_some(value)
    };
    // A Unix socket without a peer answers ENOTCONN, and raises nothing.
    let raises = option(libc::SO_DOMAIN) != Some(libc::AF_UNIX) || has_peer(fd);
    matches!(option(libc::SO_TYPE), Some(libc::SOCK_STREAM | libc::SOCK_SEQPACKET))
        && option(libc::SO_ACCEPTCONN) == Some(0)
        && raises
}

fn has_peer(fd: &OwnedFd) -> bool {
    let mut size = 0;
    let mut address = libc::sockaddr { sa_family: 0, sa_data: [0; 14] };
    // SAFETY: room for no byte of an address.
    unsafe { libc::getpeername(fd.as_raw_fd(), &raw mut address, &raw mut size) == 0 }
}

//! A line being put together in a handler: no allocation, and none of the standard library's
//! formatting, which needs more stack.

use super::event::{Event, FdKind};
use super::in_handler::{poll, status};
use crate::sys::call::errno;
use crate::sys::undisturbed::within_limit;
use std::ffi::c_int;

/// Text in a buffer. What does not fit is left out.
pub(crate) struct Text<'a> {
    room: &'a mut [u8],
    length: usize,
}

impl<'a> Text<'a> {
    pub(crate) fn new(room: &'a mut [u8]) -> Self {
        Self { room, length: 0 }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.room.get(..self.length).unwrap_or_default()
    }

    /// How much more fits.
    pub(crate) fn left(&self) -> usize {
        self.room.len() - self.length
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(place) = self.room.get_mut(self.length) {
                *place = *byte;
                self.length += 1;
            }
        }
    }

    /// Ends the line, whether or not it has fit.
    pub(crate) fn end(&mut self) {
        self.length = self.length.min(self.room.len().saturating_sub(1));
        self.push(b"\n");
    }

    /// A name that somebody else has given: what would end the line or move the cursor becomes `?`.
    pub(crate) fn push_name(&mut self, name: &[u8]) {
        for byte in name {
            self.push(&[if byte.is_ascii_control() { b'?' } else { *byte }]);
        }
    }

    pub(crate) fn number(&mut self, mut value: u64, base: u64) {
        let mut digits = [0_u8; 20];
        let mut used = 0;
        for place in digits.iter_mut().rev() {
            *place = b"0123456789abcdef".get((value % base) as usize).copied().unwrap_or(b'?');
            value /= base;
            used += 1;
            if value == 0 {
                break;
            }
        }
        self.push(digits.get(digits.len() - used..).unwrap_or_default());
    }

    /// A number with a comma after each three digits.
    pub(crate) fn grouped(&mut self, value: u64) {
        if value >= 1000 {
            self.grouped(value / 1000);
            self.push(b",");
            self.push(&[100, 10, 1].map(|unit| b'0' + (value % 1000 / unit % 10) as u8));
        } else {
            self.number(value, 10);
        }
    }

    pub(crate) fn signed(&mut self, value: i64) {
        if value < 0 {
            self.push(b"-");
        }
        self.number(value.unsigned_abs(), 10);
    }

    /// ` on thread "NAME" (tid N)`
    pub(super) fn thread(&mut self, event: &Event) {
        self.push(b" on thread \"");
        self.push_name(event.thread_bytes());
        self.push(b"\" (tid ");
        self.number(event.tid.unsigned_abs().into(), 10);
        self.push(b")");
    }

    /// What a write was to: `fd N (socket:[INODE], peer ADDRESS)`.
    pub(crate) fn target(&mut self, event: &Event) {
        let kind = match event.kind() {
            FdKind::Unknown | FdKind::Map => return self.push(b"an unknown fd"),
            FdKind::Pipe => b" (pipe:[",
            FdKind::Socket => b" (socket:[".as_slice(),
            FdKind::Other => b" (inode [",
        };
        self.push(b"fd ");
        self.number(event.fd.unsigned_abs().into(), 10);
        self.push(kind);
        self.number(event.inode, 10);
        self.push(b"]");
        self.peer(event);
        self.push(b")");
    }

    fn peer(&mut self, event: &Event) {
        let Some(address) = event.peer_address() else {
            if let Some(path) = event.peer_path() {
                self.push(b", peer ");
                self.push_name(path.as_os_str().as_encoded_bytes());
            }
            return;
        };
        match address.ip() {
            std::net::IpAddr::V4(ip) => {
                self.joined(b", peer ", &ip.octets().map(u16::from), b".", 10);
            }
            std::net::IpAddr::V6(ip) => {
                self.joined(b", peer [", &ip.segments(), b":", 16);
                self.push(b"]");
            }
        }
        self.push(b":");
        self.number(address.port().into(), 10);
    }

    /// Numbers with something before the first and between any two.
    fn joined(&mut self, mut before: &[u8], numbers: &[u16], between: &'static [u8], base: u64) {
        for number in numbers {
            self.push(before);
            self.number((*number).into(), base);
            before = between;
        }
    }

    /// Nothing waits: if it would block or is broken itself, the line is left out.
    pub(crate) fn write_to(&self, fd: c_int) {
        let mut one = [libc::pollfd { fd, events: libc::POLLOUT, revents: 0 }];
        if poll(&mut one, 0) != 1 || one[0].revents != libc::POLLOUT {
            return;
        }
        // A line that cannot be written is left out, and does not end the process: a file may be as
        // long as it may become (RLIMIT_FSIZE).
        let is_file = status(fd).is_some_and(|file| file.st_mode & libc::S_IFMT == libc::S_IFREG);
        let write = || self.write_once(fd);
        let _ = if is_file { within_limit(write) } else { write() };
    }

    /// A bare system call: write(2) of the C library is a cancellation point.
    fn write_once(&self, fd: c_int) -> Result<(), c_int> {
        let text = self.bytes();
        // SAFETY: as many bytes as there are.
        #[cfg(target_os = "linux")]
        let written = unsafe { libc::syscall(libc::SYS_write, fd, text.as_ptr(), text.len()) };
        // SAFETY: as above.
        #[cfg(not(target_os = "linux"))]
        let written = unsafe { libc::write(fd, text.as_ptr().cast(), text.len()) };
        if written < 0 { Err(errno()) } else { Ok(()) }
    }
}

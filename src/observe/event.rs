//! One swallowed signal: who, when, on which fd, to whom.

use std::ffi::{CStr, c_char, c_int};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// What kind of thing a file descriptor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FdKind {
    /// It could not be told for certain.
    Unknown,
    /// A pipe or a FIFO.
    Pipe,
    /// A socket of any family.
    Socket,
    /// Anything else that can break.
    Other,
}

/// One swallowed SIGPIPE. Field for field `sigward_event` in C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// 1 for the first of this process, then one more each. A gap is an event that was overwritten or dropped.
    pub number: u64,
    /// Nanoseconds since 1970 (`CLOCK_REALTIME`).
    pub time_ns: u64,
    /// The signal: SIGPIPE.
    pub signal: c_int,
    /// Kernel thread id of the writer, as in /proc/PID/task.
    pub tid: i32,
    /// The writer's thread name, NUL-terminated (prctl(2), `PR_GET_NAME`).
    pub thread: [c_char; 16],
    /// The file descriptor that was written to, or -1 if it could not be told for certain.
    pub fd: c_int,
    /// 0 unknown, 1 pipe or FIFO, 2 socket, 3 other.
    pub fd_kind: c_int,
    /// What the write returned: `-EPIPE`, or the bytes of a partial write.
    pub result: i64,
    /// Inode of the pipe or socket, as in /proc/PID/fd (`socket:[…]`); 0 if unknown.
    pub inode: u64,
    /// Address of the instruction after the system call.
    pub pc: u64,
    /// Bytes of `peer` that count; 0 if there is no address.
    pub peer_len: u32,
    /// Zero; room for later flags.
    pub flags: u32,
    /// The peer's `struct sockaddr`, also of a connection that is gone.
    pub peer: [u8; 112],
    /// Zero; room for later fields.
    pub reserved: [u64; 4],
}

/// How many 8-byte words an event is.
pub(super) const WORDS: usize = size_of::<Event>() / 8;

impl Event {
    /// An event of which nothing is known yet.
    pub(crate) const fn blank(signal: c_int) -> Self {
        Self {
            number: 0,
            time_ns: 0,
            signal,
            tid: 0,
            thread: [0; 16],
            fd: -1,
            fd_kind: 0,
            result: 0,
            inode: 0,
            pc: 0,
            peer_len: 0,
            flags: 0,
            peer: [0; 112],
            reserved: [0; 4],
        }
    }

    pub(super) fn to_words(self) -> [u64; WORDS] {
        const { assert!(size_of::<Event>() == WORDS * 8 && size_of::<Event>() == 224) };
        // SAFETY: repr(C), 224 bytes of numbers without padding.
        unsafe { std::mem::transmute(self) }
    }

    pub(super) fn from_words(words: [u64; WORDS]) -> Self {
        // SAFETY: any bytes are numbers.
        unsafe { std::mem::transmute(words) }
    }

    /// What the file descriptor is.
    #[must_use]
    pub fn kind(&self) -> FdKind {
        match self.fd_kind {
            1 => FdKind::Pipe,
            2 => FdKind::Socket,
            3 => FdKind::Other,
            _ => FdKind::Unknown,
        }
    }

    /// The thread's name, as far as it is UTF-8.
    #[must_use]
    pub fn thread_name(&self) -> &str {
        let bytes = self.thread.as_ptr().cast::<u8>();
        // SAFETY: 16 bytes that live as long as `self`; c_char and u8 are the same to the memory.
        let bytes = unsafe { std::slice::from_raw_parts(bytes, self.thread.len()) };
        let name = CStr::from_bytes_until_nul(bytes).map_or(bytes, CStr::to_bytes);
        match std::str::from_utf8(name) {
            Ok(name) => name,
            Err(error) => {
                std::str::from_utf8(name.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default()
            }
        }
    }

    /// The peer's address, if it is an internet socket.
    #[must_use]
    pub fn peer_address(&self) -> Option<SocketAddr> {
        let bytes = self.peer.get(..self.peer_len as usize)?;
        let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
        match i32::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?)) {
            libc::AF_INET => {
                let address: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
                Some((Ipv4Addr::from(address), port).into())
            }
            libc::AF_INET6 => {
                let address: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
                Some((Ipv6Addr::from(address), port).into())
            }
            _ => None,
        }
    }

    /// The path that the peer of a Unix socket is bound to, if it is bound to one.
    #[must_use]
    pub fn peer_path(&self) -> Option<&std::path::Path> {
        use std::os::unix::ffi::OsStrExt;
        let bytes = self.peer.get(..self.peer_len as usize)?;
        if i32::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?)) != libc::AF_UNIX {
            return None;
        }
        let path = bytes.get(2..)?.split(|byte| *byte == 0).next()?;
        (!path.is_empty()).then(|| std::path::Path::new(std::ffi::OsStr::from_bytes(path)))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SIGPIPE swallowed: thread {:?} (tid {})", self.thread_name(), self.tid)?;
        match self.kind() {
            FdKind::Unknown => out.write_str(", fd unknown")?,
            FdKind::Pipe => write!(out, ", fd {} (pipe:[{}])", self.fd, self.inode)?,
            FdKind::Socket => write!(out, ", fd {} (socket:[{}])", self.fd, self.inode)?,
            FdKind::Other => write!(out, ", fd {} (inode {})", self.fd, self.inode)?,
        }
        if let Some(address) = self.peer_address() {
            write!(out, ", peer {address}")?;
        } else if let Some(path) = self.peer_path() {
            write!(out, ", peer {}", path.display())?;
        }
        if self.result < 0 {
            out.write_str(", write returned EPIPE")
        } else {
            write!(out, ", {} bytes written before it broke", self.result)
        }
    }
}

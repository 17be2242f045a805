//! One signal that ended here: who, when, on which descriptor or in which file, and why.

use std::ffi::{CStr, c_char, c_int};
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
    /// A guarded map's file.
    Map,
}

/// One swallowed SIGPIPE, or one loss in a guarded map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[repr(C)]
pub struct Event {
    /// 1 for the first of this process, then one more each; a forked child goes on from its
    /// parent's. A gap is an event that was overwritten or dropped.
    pub number: u64,
    /// Nanoseconds since 1970 (`CLOCK_REALTIME`).
    pub time_ns: u64,
    /// SIGPIPE, or SIGBUS for a loss in a guarded map.
    pub signal: c_int,
    /// Kernel thread id of the writer, as in /proc/PID/task.
    pub tid: i32,
    /// The writer's thread name, NUL-terminated (prctl(2), `PR_GET_NAME`).
    pub thread: [c_char; 16],
    /// The file descriptor that was written to (SIGBUS: that the map keeps), or -1 if it could not
    /// be told for certain.
    pub fd: c_int,
    /// 0 unknown, 1 pipe or FIFO, 2 socket, 3 other, 4 a guarded map's file.
    pub fd_kind: c_int,
    /// What the write returned: `-EPIPE`, or the bytes of a partial write. SIGBUS: the negative
    /// errno of the cause.
    pub result: i64,
    /// Inode of the pipe or socket, as in /proc/PID/fd (`socket:[…]`), or of the map's file; 0 if
    /// unknown.
    pub inode: u64,
    /// Address of the instruction after the system call, or of the one that faulted.
    pub pc: u64,
    /// Bytes of `peer` that count; 0 if there is no address.
    pub peer_len: u32,
    /// The number of the system call (`SYS_writev`, …), or 0 if it could not be told.
    pub operation: u32,
    /// The peer's `struct sockaddr`, also of a connection that is gone. SIGBUS: the file's path,
    /// its end if it is longer.
    pub peer: [u8; 112],
    /// The link register, where there is one, and the top of the writer's stack: for finding the
    /// library that called.
    pub stack: [u64; 16],
    /// SIGBUS: the lowest lost offset, in bytes from the start of the map.
    pub offset: u64,
    /// SIGBUS, file truncated: its length in bytes when the fault was handled.
    pub len_now: u64,
    /// SIGBUS: 1 truncated, 2 no space, 3 input/output error, 4 hardware, 5 unknown. Else 0.
    pub cause: u32,
    /// SIGBUS: 1 if it was met by a write.
    pub write: u32,
    /// How many bytes of this struct the library knew and has filled.
    pub(crate) size: u64,
}

/// How many 8-byte words an event is.
pub(super) const WORDS: usize = size_of::<Event>() / 8;

impl Event {
    /// `fd_kind` of a guarded map.
    pub(crate) const MAP: c_int = 4;

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
            operation: 0,
            peer: [0; 112],
            stack: [0; 16],
            offset: 0,
            len_now: 0,
            cause: 0,
            write: 0,
            size: 0,
        }
    }

    pub(super) fn words(&self) -> &[u64; WORDS] {
        const { assert!(size_of::<Event>() == WORDS * 8 && size_of::<Event>() == 352) };
        // SAFETY: repr(C), 352 bytes of numbers without padding, aligned for u64.
        unsafe { &*std::ptr::from_ref(self).cast() }
    }

    pub(super) fn from_words(words: &[u64; WORDS]) -> Self {
        // SAFETY: as long and aligned as an event, and any bytes are numbers.
        unsafe { std::ptr::from_ref(words).cast::<Self>().read() }
    }

    /// What the file descriptor is.
    #[must_use]
    pub fn kind(&self) -> FdKind {
        match self.fd_kind {
            1 => FdKind::Pipe,
            2 => FdKind::Socket,
            3 => FdKind::Other,
            Self::MAP => FdKind::Map,
            _ => FdKind::Unknown,
        }
    }

    /// The name of the system call, if it could be told.
    #[must_use]
    pub fn operation_name(&self) -> Option<&'static str> {
        self.operation_c_name()?.to_str().ok()
    }

    pub(crate) fn operation_c_name(&self) -> Option<&'static CStr> {
        #[cfg(target_os = "linux")]
        match libc::c_long::from(self.operation) {
            libc::SYS_write => Some(c"write"),
            libc::SYS_writev => Some(c"writev"),
            libc::SYS_pwritev2 => Some(c"pwritev2"),
            libc::SYS_sendto => Some(c"sendto"),
            libc::SYS_sendmsg => Some(c"sendmsg"),
            libc::SYS_sendmmsg => Some(c"sendmmsg"),
            libc::SYS_sendfile => Some(c"sendfile"),
            libc::SYS_splice => Some(c"splice"),
            libc::SYS_tee => Some(c"tee"),
            libc::SYS_vmsplice => Some(c"vmsplice"),
            libc::SYS_io_submit => Some(c"io_submit"),
            libc::SYS_io_uring_enter => Some(c"io_uring_enter"),
            _ => None,
        }
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// The thread's name, as far as it is UTF-8.
    #[must_use]
    pub fn thread_name(&self) -> &str {
        self.thread_bytes().utf8_chunks().next().map_or("", |chunk| chunk.valid())
    }

    /// The thread's name as the kernel keeps it. Signal-safe.
    pub(super) fn thread_bytes(&self) -> &[u8] {
        let bytes = self.thread.as_ptr().cast::<u8>();
        // SAFETY: 16 bytes that live as long as `self`; c_char and u8 are the same to the memory.
        let bytes = unsafe { std::slice::from_raw_parts(bytes, self.thread.len()) };
        bytes.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Keeps the end of a path. Null is none. Signal-safe.
    pub(crate) fn set_path(&mut self, path: *const c_char) {
        if path.is_null() {
            return;
        }
        // SAFETY: a NUL-terminated path of the caller's; strlen is signal-safe.
        let length = unsafe { libc::strlen(path) };
        let kept = length.min(self.peer.len());
        let from = path.wrapping_add(length - kept).cast::<u8>();
        // SAFETY: `kept` bytes of the path lie there, and `peer` has room for them.
        unsafe { std::ptr::copy_nonoverlapping(from, self.peer.as_mut_ptr(), kept) };
        self.peer_len = kept as u32;
    }

    /// The path of a guarded map's file (its end, if it is longer than 112 bytes), as it was
    /// opened; none if that is unknown.
    #[must_use]
    pub fn map_path(&self) -> Option<&std::path::Path> {
        use std::os::unix::ffi::OsStrExt;
        let bytes = self.peer.get(..self.peer_len as usize)?;
        let known = self.fd_kind == Self::MAP && !bytes.is_empty();
        known.then(|| std::path::Path::new(std::ffi::OsStr::from_bytes(bytes)))
    }

    /// What a loss in a guarded map came from, in words. Signal-safe.
    pub(super) fn cause_text(&self) -> &'static str {
        match self.cause {
            1 => "the file was cut",
            2 if self.result == -i64::from(libc::EDQUOT) => "the quota is used up",
            2 => "no space",
            3 => "input/output error",
            4 => "damaged memory",
            _ => "cause unknown",
        }
    }

    /// The peer's address, if it is an internet socket.
    #[must_use]
    pub fn peer_address(&self) -> Option<SocketAddr> {
        let bytes =
            self.peer.get(..self.peer_len as usize).filter(|_| self.fd_kind != Self::MAP)?;
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
        let bytes =
            self.peer.get(..self.peer_len as usize).filter(|_| self.fd_kind != Self::MAP)?;
        if i32::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?)) != libc::AF_UNIX {
            return None;
        }
        let path = bytes.get(2..)?.split(|byte| *byte == 0).next()?;
        (!path.is_empty()).then(|| std::path::Path::new(std::ffi::OsStr::from_bytes(path)))
    }
}

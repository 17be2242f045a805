//! What the handler asks the kernel about a descriptor and a thread: signal-safe calls only, and
//! none of the C library's that a cancelled thread would end in.

use super::echo::{Echo, Written};
use crate::observe::Event;
use crate::observe::in_handler::{self, status};
#[cfg(target_os = "linux")]
use crate::sys::memory;
use crate::sys::pages::LEAST_PAGE;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};

/// Whether `fd` is a pipe whose readers are gone or a socket whose connection is.
pub(in crate::sigpipe) fn is_broken(fd: c_int) -> bool {
    status(fd).is_some_and(|status| looks_broken(fd, kind(&status)))
}

/// 1 pipe or FIFO, 2 socket, 3 other.
pub(in crate::sigpipe) fn kind(status: &libc::stat) -> c_int {
    match status.st_mode & libc::S_IFMT {
        libc::S_IFIFO => PIPE,
        libc::S_IFSOCK => SOCKET,
        _ => 3,
    }
}

const PIPE: c_int = 1;
const SOCKET: c_int = 2;

fn looks_broken(fd: c_int, kind: c_int) -> bool {
    let signs = match kind {
        // POLLHUP alone is the read end of a pipe without writers.
        PIPE => libc::POLLERR,
        SOCKET => libc::POLLERR | libc::POLLHUP,
        _ => return false,
    };
    // Asked some times in a row: a number that another thread moves to and fro is seen on its way.
    let mut polls = [libc::pollfd { fd, events: 0, revents: 0 }; 8];
    // POLLERR and POLLHUP need not be asked for.
    in_handler::poll(&mut polls, 0);
    polls.iter().all(|poll| poll.revents & signs != 0)
}

/// Whether a write to `fd` fails now: its other side is gone, or this side has said that it is
/// done.
fn refuses_writes(fd: c_int, kind: c_int) -> bool {
    looks_broken(fd, kind) || kind == SOCKET && has_shut_down(fd)
}

/// The descriptor that was written to, and what it is; none unless that is certain.
///
/// Between the write and this look another thread may have closed the descriptor and its number may
/// be another file's. That file can most likely be written to. So the descriptor is named if it
/// cannot, and if it was the same file before, between and after some looks: a thread that moves
/// the number to and fro (dup2(2)) would have to do so between any two of seven system calls. What
/// is dead for ever need not be looked at again.
fn certain(written: Written) -> Option<(c_int, libc::stat)> {
    let fd = match written {
        Written::To(fd) => fd,
        Written::OneOf(choice) => only_refusing(choice)?,
        Written::ToFirst | Written::Unknown => return None,
    };
    let found = status(fd)?;
    let kind = kind(&found);
    let known = Dead::of(&found);
    if known.is_known() {
        return Some((fd, found));
    }
    let same = || refuses_writes(fd, kind) && status(fd).is_some_and(|now| Dead::of(&now) == known);
    if !(same() && same() && same()) {
        return None;
    }
    if kind == SOCKET || is_without_name(fd) {
        known.remember();
    }
    Some((fd, found))
}

/// Of an unknown number's arguments the only one that cannot be written to.
#[cold]
#[inline(never)]
pub(super) fn only_refusing(choice: [Option<c_int>; 3]) -> Option<c_int> {
    // A loop, because unoptimised iterators take a kilobyte of the stack.
    let mut only = None;
    for fd in choice {
        let Some(fd) = fd else { continue };
        let Some(status) = status(fd) else { continue };
        if refuses_writes(fd, kind(&status)) {
            if only.is_some_and(|only| only != fd) {
                return None;
            }
            only = Some(fd);
        }
    }
    only
}

/// Whether a pipe has no name by which somebody could open its other end again.
#[cfg(target_os = "linux")]
fn is_without_name(fd: c_int) -> bool {
    /// `PIPEFS_MAGIC`, include/uapi/linux/magic.h.
    const PIPES: u64 = 0x5049_5045;
    let mut system = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: room for one struct; fstatfs(2) is a plain system call.
    unsafe { libc::fstatfs(fd, system.as_mut_ptr()) };
    // SAFETY: zeroed is a valid value, and the call may have filled it.
    (unsafe { system.assume_init() }).f_type as u64 == PIPES
}

#[cfg(not(target_os = "linux"))]
fn is_without_name(_fd: c_int) -> bool {
    false
}

/// The last pipes without a name and sockets that were found dead, which they are for ever, by
/// device and inode: the kernel gives no number a second time before it has given four milliards of
/// them.
static DEAD: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];

#[derive(Clone, Copy, PartialEq, Eq)]
struct Dead(u64);

impl Dead {
    fn of(status: &libc::stat) -> Self {
        // As Fibonacci hashing does: all bits count. An inode is no more than 32 bits here.
        #[allow(clippy::unnecessary_cast, reason = "signed on some systems")]
        #[allow(clippy::unnecessary_cast, reason = "other systems have narrower numbers")]
        let mixed = status.st_ino as u64 ^ (status.st_dev as u64) << 40;
        Self(mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn place(self) -> Option<&'static AtomicU64> {
        DEAD.get((self.0 >> 58) as usize)
    }

    fn is_known(self) -> bool {
        self.place().is_some_and(|place| place.load(Ordering::Relaxed) == self.0)
    }

    fn remember(self) {
        if let Some(place) = self.place() {
            place.store(self.0, Ordering::Relaxed);
        }
    }
}

/// Whether `fd` is an io_uring, as /proc/self/fd says.
#[cold]
#[inline(never)]
pub(super) fn is_ring(fd: c_int) -> bool {
    const RING: &[u8] = b"anon_inode:[io_uring]";
    let mut link = [0_u8; 32];
    let length = in_handler::link_of(fd, &mut link);
    link.get(..length) == Some(RING)
}

/// Whether `context` is one of io_setup(2): the kernel keeps a ring there that begins with numbers
/// and a magic one (`struct aio_ring`, fs/aio.c).
#[cold]
#[inline(never)]
pub(super) fn is_aio_context(context: u64) -> bool {
    const MAGIC: u32 = 0xa10a_10a1;
    let mut head = [0_u8; 20];
    context.is_multiple_of(LEAST_PAGE as u64)
        && in_handler::copy_what_is_mapped(context as usize, &mut head) == head.len()
        && head.ends_with(&MAGIC.to_ne_bytes())
}

/// How many bytes a vector of so many pieces (`struct iovec`) holds together; none if it cannot be
/// read, or has more pieces than any call takes.
#[cfg(target_os = "linux")]
#[cold]
#[inline(never)]
pub(super) fn length_of(vector: u64, pieces: u64) -> Option<u64> {
    /// `UIO_MAXIOV`, include/uapi/linux/uio.h.
    const MOST: u64 = 1024;
    const AT_ONCE: usize = 16;
    const PIECE: usize = size_of::<libc::iovec>();
    const LENGTH: usize = PIECE / 2;
    if pieces > MOST {
        return None;
    }
    let (mut left, mut at, mut sum) = (pieces as usize, vector as usize, 0_u64);
    while left > 0 {
        let mut room = [0_u8; AT_ONCE * PIECE];
        let room = room.get_mut(..left.min(AT_ONCE) * PIECE)?;
        if memory::read(at, room) < room.len() {
            return None;
        }
        for piece in room.chunks_exact(PIECE) {
            let length = piece.last_chunk::<LENGTH>()?;
            sum = sum.checked_add(usize::from_ne_bytes(*length) as u64)?;
        }
        left -= room.len() / PIECE;
        at = at.checked_add(room.len())?;
    }
    Some(sum)
}

/// The vector of a `struct msghdr`, and how many pieces it has.
#[cfg(target_os = "linux")]
#[cold]
#[inline(never)]
pub(super) fn vector_of(message: u64) -> Option<[u64; 2]> {
    let word = |place: usize| memory::word((message as usize).checked_add(place)?);
    let vector = word(std::mem::offset_of!(libc::msghdr, msg_iov))?;
    Some([vector as u64, word(std::mem::offset_of!(libc::msghdr, msg_iovlen))? as u64])
}

#[cfg(not(target_os = "linux"))]
pub(super) fn length_of(_vector: u64, _pieces: u64) -> Option<u64> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(super) fn vector_of(_message: u64) -> Option<[u64; 2]> {
    None
}

/// Everything that can be said of an echo while its thread still stands behind the write.
pub(super) fn event(echo: &Echo) -> Event {
    let mut event = Event::blank(libc::SIGPIPE);
    event.result = echo.result;
    event.pc = echo.pc as u64;
    event.operation = echo.operation.unwrap_or(0);
    event.stack = in_handler::stack_words(echo.stack);
    if let Some(link) = echo.link {
        // It comes before everything on the stack: where a leaf function returns to.
        event.stack.rotate_right(1);
        event.stack[0] = link as u64;
    }
    in_handler::describe_moment(&mut event);
    let Some((fd, status)) = certain(echo.written) else { return event };
    (event.fd, event.inode, event.fd_kind) = (fd, status.st_ino, kind(&status));
    describe_peer(&mut event);
    // Nobody else's address either.
    let same = || self::status(fd).is_some_and(|now| now.st_ino == event.inode);
    if event.peer_len > 0 && !same() {
        event.peer_len = 0;
    }
    event
}

/// The address of the other side, if there is one.
#[cfg(target_os = "linux")]
pub(in crate::sigpipe) fn describe_peer(event: &mut Event) {
    if event.fd_kind != SOCKET {
        return;
    }
    let room = match socket_family(event.fd) {
        Some(libc::AF_INET) => size_of::<libc::sockaddr_in>(),
        Some(libc::AF_INET6) => size_of::<libc::sockaddr_in6>(),
        Some(_) => event.peer.len(),
        None => return,
    };
    let mut length = room as libc::socklen_t;
    let peer = event.peer.as_mut_ptr();
    let status = if room == event.peer.len() {
        // SAFETY: `length` bytes at `peer` may be written; getpeername(2) is signal-safe.
        unsafe { libc::getpeername(event.fd, peer.cast(), &raw mut length) }
    } else {
        // When a connection is gone getpeername(2) says ENOTCONN. SO_PEERNAME still tells, as it
        // does not look at the state, but takes no more room than the address needs
        // (`sk_getsockopt` in net/core/sock.c, `inet_getname` in net/ipv4/af_inet.c).
        // SAFETY: as above; getsockopt(2) is signal-safe.
        unsafe {
            libc::getsockopt(
                event.fd,
                libc::SOL_SOCKET,
                libc::SO_PEERNAME,
                peer.cast(),
                &raw mut length,
            )
        }
    };
    if status == 0 {
        event.peer_len = length.min(room as libc::socklen_t);
    }
}

/// Whether this side of a socket has been shut down for writing, which poll(2) does not show.
#[cfg(target_os = "linux")]
#[cold]
#[inline(never)]
fn has_shut_down(fd: c_int) -> bool {
    match socket_family(fd) {
        Some(libc::AF_INET | libc::AF_INET6) => {
            // `struct tcp_info` begins with the state (include/net/tcp_states.h). Of all, these
            // mean that this side has said that it is done, or that the connection is no more.
            const DONE: std::ops::RangeInclusive<u8> = 4..=7;
            const LAST_ACK: u8 = 9;
            const CLOSING: u8 = 11;
            let state =
                number(fd, libc::IPPROTO_TCP, libc::TCP_INFO).map(|state| state.to_ne_bytes()[0]);
            state.is_some_and(|state| DONE.contains(&state) || matches!(state, LAST_ACK | CLOSING))
        }
        // Nothing is sent, and nothing waits; but the state is looked at first (unix_stream_sendmsg
        // in net/unix/af_unix.c).
        Some(libc::AF_UNIX)
            if number(fd, libc::SOL_SOCKET, libc::SO_TYPE) == Some(libc::SOCK_STREAM) =>
        {
            let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
            let (none, length) = (std::ptr::null::<u8>(), 0_usize);
            // SAFETY: no bytes, to nobody else.
            let sent =
                unsafe { libc::syscall(libc::SYS_sendto, fd, none, length, flags, none, length) };
            sent == -1 && crate::sys::call::errno() == libc::EPIPE
        }
        _ => false,
    }
}

#[cfg(target_os = "linux")]
fn socket_family(fd: c_int) -> Option<c_int> {
    number(fd, libc::SOL_SOCKET, libc::SO_DOMAIN)
}

/// An option of a socket that is one number, or begins with one.
#[cfg(target_os = "linux")]
fn number(fd: c_int, level: c_int, option: c_int) -> Option<c_int> {
    let mut value = 0;
    let mut length = size_of::<c_int>() as libc::socklen_t;
    let place = (&raw mut value).cast();
    // SAFETY: room for one number; getsockopt(2) is signal-safe.
    let status = unsafe { libc::getsockopt(fd, level, option, place, &raw mut length) };
    (status == 0).then_some(value)
}

#[cfg(not(target_os = "linux"))]
fn has_shut_down(_fd: c_int) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn describe_peer(_event: &mut Event) {}

/// Whether a handler that was entered at `at` is on a signal stack as Go gives to its own threads:
/// exactly 32 KiB (`malg(32 * 1024)` in `mpreinit`, runtime/os_linux.go). Other threads have none
/// or another size.
pub(super) fn on_go_signal_stack(at: usize) -> bool {
    const GO_SIGNAL_STACK: usize = 32 * 1024;
    let mut stack = MaybeUninit::<libc::stack_t>::zeroed();
    // SAFETY: room for one struct, and no new stack is set.
    unsafe { libc::sigaltstack(std::ptr::null(), stack.as_mut_ptr()) };
    // SAFETY: zeroed is a valid value, and the call may have filled it.
    let stack = unsafe { stack.assume_init() };
    at.wrapping_sub(stack.ss_sp.addr()) < stack.ss_size && stack.ss_size == GO_SIGNAL_STACK
}

/// Whether a file whose path ends so is mapped. `ending` is a line's end in /proc/self/maps
/// (proc(5)), newline included; its first byte occurs in it only once. Signal-safe.
#[cfg(target_os = "linux")]
#[cold]
#[inline(never)]
pub(super) fn is_mapped(ending: &[u8]) -> bool {
    let (maps, flags) = (c"/proc/self/maps".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
    // SAFETY: a C string.
    let fd = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, maps, flags) };
    if fd < 0 {
        return false;
    }
    let mut matched = 0;
    let mut buffer = [0_u8; 128];
    while matched < ending.len() {
        // SAFETY: room for as many bytes.
        let count = unsafe { libc::syscall(libc::SYS_read, fd, buffer.as_mut_ptr(), buffer.len()) };
        let bytes =
            usize::try_from(count).ok().and_then(|count| buffer.get(..count)).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        for byte in bytes {
            if matched < ending.len() {
                let next = ending.get(matched) == Some(byte);
                matched =
                    if next { matched + 1 } else { usize::from(ending.first() == Some(byte)) };
            }
        }
    }
    // SAFETY: ours.
    unsafe { libc::syscall(libc::SYS_close, fd) };
    matched == ending.len()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_mapped(_ending: &[u8]) -> bool {
    false
}

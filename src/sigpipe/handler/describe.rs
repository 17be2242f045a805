//! What the handler asks the kernel about a descriptor and a thread: signal-safe calls only.

use super::echo::Echo;
use crate::observe::Event;
use crate::observe::in_handler::{self, status};
use std::ffi::c_int;
use std::mem::MaybeUninit;

/// Whether `fd` is a pipe whose readers are gone or a socket whose connection is.
pub(super) fn is_broken(fd: c_int) -> bool {
    let mut poll = libc::pollfd { fd, events: 0, revents: 0 };
    // SAFETY: one pollfd; a timeout of 0 returns at once. POLLERR and POLLHUP need not be asked for.
    if unsafe { libc::poll(&raw mut poll, 1, 0) } != 1 {
        return false;
    }
    match status(fd).map(|status| status.st_mode & libc::S_IFMT) {
        // POLLHUP alone is the read end of a pipe without writers.
        Some(libc::S_IFIFO) => poll.revents & libc::POLLERR != 0,
        Some(libc::S_IFSOCK) => poll.revents & (libc::POLLERR | libc::POLLHUP) != 0,
        _ => false,
    }
}

/// Whether `fd` is a pipe or a socket.
pub(super) fn can_break(fd: c_int) -> bool {
    status(fd).is_some_and(|status| matches!(status.st_mode & libc::S_IFMT, libc::S_IFIFO | libc::S_IFSOCK))
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
    if let Some((fd, status)) = echo.fd.and_then(|fd| Some((fd, status(fd)?))) {
        event.fd = fd;
        event.inode = status.st_ino;
        event.fd_kind = match status.st_mode & libc::S_IFMT {
            libc::S_IFIFO => 1,
            libc::S_IFSOCK => 2,
            _ => 3,
        };
        describe_peer(&mut event);
    }
    event
}

/// The address of the other side, if there is one.
#[cfg(target_os = "linux")]
fn describe_peer(event: &mut Event) {
    if event.fd_kind != 2 {
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
        // When a connection is gone getpeername(2) says ENOTCONN. SO_PEERNAME still tells, as it does not look
        // at the state, but takes no more room than the address needs (`sk_getsockopt` in net/core/sock.c,
        // `inet_getname` in net/ipv4/af_inet.c).
        // SAFETY: as above; getsockopt(2) is signal-safe.
        unsafe {
            libc::getsockopt(event.fd, libc::SOL_SOCKET, libc::SO_PEERNAME, peer.cast(), &raw mut length)
        }
    };
    if status == 0 {
        event.peer_len = length.min(room as libc::socklen_t);
    }
}

#[cfg(target_os = "linux")]
fn socket_family(fd: c_int) -> Option<c_int> {
    let mut family = 0;
    let mut length = size_of::<c_int>() as libc::socklen_t;
    let place = (&raw mut family).cast();
    // SAFETY: room for one number; getsockopt(2) is signal-safe.
    let status = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_DOMAIN, place, &raw mut length) };
    (status == 0).then_some(family)
}

#[cfg(not(target_os = "linux"))]
fn describe_peer(_event: &mut Event) {}

/// Whether this handler runs on a signal stack as Go gives to its own threads: exactly 32 KiB
/// (`malg(32 * 1024)` in `mpreinit`, runtime/os_linux.go). Other threads have none or another size.
pub(super) fn on_go_signal_stack() -> bool {
    const GO_SIGNAL_STACK: usize = 32 * 1024;
    let mut stack = MaybeUninit::<libc::stack_t>::zeroed();
    // SAFETY: room for one struct, and no new stack is set.
    unsafe { libc::sigaltstack(std::ptr::null(), stack.as_mut_ptr()) };
    // SAFETY: zeroed is a valid value, and the call may have filled it.
    let stack = unsafe { stack.assume_init() };
    stack.ss_flags & libc::SS_ONSTACK != 0 && stack.ss_size == GO_SIGNAL_STACK
}

/// Whether a file whose path ends so is mapped. `ending` is a line's end in /proc/self/maps (proc(5)), newline
/// included; its first byte occurs in it only once. Signal-safe: open, read, close.
#[cfg(target_os = "linux")]
#[cold]
#[inline(never)]
pub(super) fn is_mapped(ending: &[u8]) -> bool {
    // SAFETY: a C string; open(2) is signal-safe.
    let fd = unsafe { libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if fd < 0 {
        return false;
    }
    let mut matched = 0;
    let mut buffer = [0_u8; 128];
    while matched < ending.len() {
        // SAFETY: room for as many bytes; read(2) is signal-safe.
        let count = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
        let bytes = usize::try_from(count).ok().and_then(|count| buffer.get(..count)).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        for byte in bytes {
            if matched < ending.len() {
                let next = ending.get(matched) == Some(byte);
                matched = if next { matched + 1 } else { usize::from(ending.first() == Some(byte)) };
            }
        }
    }
    // SAFETY: ours.
    unsafe { libc::close(fd) };
    matched == ending.len()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_mapped(_ending: &[u8]) -> bool {
    false
}

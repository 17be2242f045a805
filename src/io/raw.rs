//! The calls themselves, on numbers and pointers as C has them. Each returns a count or a negative
//! errno.

#[cfg(target_os = "linux")]
use super::method::pwritev2;
use super::method::{MSG_NOSIGNAL, Method, method, status};
use crate::sigpipe::GuardState;
use libc::{iovec, msghdr, size_t, sockaddr, socklen_t};
use std::ffi::{c_int, c_void};
use std::io;

/// `UIO_MAXIOV` of include/uapi/linux/uio.h, `IOV_MAX` elsewhere: 1,024 everywhere.
pub(super) const IOV_MAX: c_int = 1024;

/// A count or a negative errno as std says it.
pub(crate) fn result(status: isize) -> io::Result<usize> {
    usize::try_from(status).map_err(|_| io::Error::from_raw_os_error(-status as c_int))
}

/// Runs a plain call with SIGPIPE kept from this thread. Where the mask cannot be changed (seccomp)
/// it is the plain call: the last method.
#[cold]
#[inline(never)]
fn in_thread_guard(call: impl FnOnce() -> isize) -> isize {
    let guard = GuardState::enter();
    let status = status(call());
    if let Ok(guard) = guard {
        guard.leave();
    }
    status
}

/// Whether a quiet call was refused as such, with nothing written: the flag is unknown, this file
/// or socket takes none, it is no socket, or a seccomp filter forbids the call, perhaps since a
/// moment ago. The plain call then has the last word; what it says of a healthy descriptor (`EPERM`
/// of a sealed memfd) it says twice.
const fn is_refused(status: isize) -> bool {
    matches!(
        -status as c_int,
        libc::EOPNOTSUPP
            | libc::ENOTSOCK
            | libc::EPERM
            | libc::EACCES
            | libc::ENOSYS
            | libc::EINVAL
    )
}

const NOT_A_SOCKET: isize = -(libc::ENOTSOCK as isize);
#[cfg(not(target_os = "linux"))]
const NO_SUCH_FLAG: isize = -(libc::EOPNOTSUPP as isize);

#[cfg(not(target_os = "linux"))]
#[inline]
unsafe fn pwritev2(_fd: c_int, _parts: *const iovec, _count: c_int) -> isize {
    NO_SUCH_FLAG
}

/// # Safety
/// `length` bytes at `data`.
#[inline]
pub(crate) unsafe fn write(fd: c_int, data: *const c_void, length: size_t) -> isize {
    if length > isize::MAX as usize / 2 {
        // More than there are addresses: the kernel refuses it before it looks at the pipe: the
        // plain call has the right errno.
        // SAFETY: by this function's contract.
        return status(unsafe { libc::write(fd, data, length) });
    }
    let tried = match method() {
        // pwritev2(2) of nothing does nothing, but write(2) of nothing is an empty datagram.
        Method::Flag if length > 0 => {
            let part = iovec { iov_base: data.cast_mut(), iov_len: length };
            // SAFETY: one whole iovec with its bytes.
            unsafe { pwritev2(fd, &raw const part, 1) }
        }
        Method::Flag | Method::Message => {
            // SAFETY: by this function's contract.
            status(unsafe { libc::send(fd, data, length, MSG_NOSIGNAL) })
        }
        Method::Guard => NOT_A_SOCKET,
    };
    match tried {
        written @ 0.. => written,
        refused if is_refused(refused) => {
            // SAFETY: by this function's contract.
            in_thread_guard(move || unsafe { libc::write(fd, data, length) })
        }
        failed => failed,
    }
}

/// # Safety
/// `count` structs at `parts`, each with its bytes.
#[inline]
pub(crate) unsafe fn writev(fd: c_int, parts: *const iovec, count: c_int) -> isize {
    if !(1..=IOV_MAX).contains(&count) || parts.is_null() {
        // SAFETY: by this function's contract.
        return status(unsafe { libc::writev(fd, parts, count) });
    }
    let tried = match method() {
        // SAFETY: by this function's contract.
        Method::Flag => unsafe { pwritev2(fd, parts, count) },
        Method::Message => match socket_type(fd) {
            STREAM => {
                let message = message_of(parts, count);
                // SAFETY: a message of nothing but the caller's parts.
                match status(unsafe { libc::sendmsg(fd, &raw const message, MSG_NOSIGNAL) }) {
                    // Of nothing at all writev(2) says 0 on any socket. Nothing was sent: ask it.
                    0 | BROKEN | NOT_CONNECTED => NOT_A_SOCKET,
                    done => done,
                }
            }
            // Of nothing sendmsg(2) makes an empty datagram, and the parts are the kernel's to
            // read.
            0.. => NOT_A_SOCKET,
            error => error,
        },
        Method::Guard => NOT_A_SOCKET,
    };
    match tried {
        written @ 0.. => written,
        refused if is_refused(refused) => {
            // SAFETY: by this function's contract.
            in_thread_guard(move || unsafe { libc::writev(fd, parts, count) })
        }
        failed => failed,
    }
}

const STREAM: isize = libc::SOCK_STREAM as isize;
const BROKEN: isize = -(libc::EPIPE as isize);
const NOT_CONNECTED: isize = -(libc::ENOTCONN as isize);

/// What kind of socket it is, or a negative errno. Signal-safe.
fn socket_type(fd: c_int) -> isize {
    let (mut kind, mut size) = (0_i32, size_of::<i32>() as socklen_t);
    let room = (&raw mut kind).cast();
    // SAFETY: room for one number, which `size` says.
    let asked =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_TYPE, room, &raw mut size) };
    if asked < 0 { status(asked as isize) } else { kind as isize }
}

fn message_of(parts: *const iovec, count: c_int) -> msghdr {
    // SAFETY: pointers and numbers: zero is a value of each.
    let mut message: msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.cast_mut();
    message.msg_iovlen = count as _;
    message
}

/// Runs a call that takes `MSG_*` flags.
#[inline]
fn without_signal(flags: c_int, call: impl FnOnce(c_int) -> isize) -> isize {
    if MSG_NOSIGNAL == 0 || method() == Method::Guard {
        in_thread_guard(|| call(flags))
    } else {
        status(call(flags | MSG_NOSIGNAL))
    }
}

/// # Safety
/// `length` bytes at `data`.
#[inline]
pub(crate) unsafe fn send(fd: c_int, data: *const c_void, length: size_t, flags: c_int) -> isize {
    // SAFETY: by this function's contract.
    without_signal(flags, |flags| unsafe { libc::send(fd, data, length, flags) })
}

/// # Safety
/// `length` bytes at `data`; `address_length` at `address`, or null.
#[inline]
pub(crate) unsafe fn sendto(
    fd: c_int,
    data: *const c_void,
    length: size_t,
    flags: c_int,
    address: *const sockaddr,
    address_length: socklen_t,
) -> isize {
    // SAFETY: by this function's contract.
    without_signal(flags, |flags| unsafe {
        libc::sendto(fd, data, length, flags, address, address_length)
    })
}

/// # Safety
/// A whole message at `message`.
#[cfg(feature = "capi")]
#[inline]
pub(crate) unsafe fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> isize {
    // SAFETY: by this function's contract.
    without_signal(flags, |flags| unsafe { libc::sendmsg(fd, message, flags) })
}

/// # Safety
/// `count` whole messages at `messages`.
#[cfg(all(target_os = "linux", feature = "capi"))]
#[inline]
pub(crate) unsafe fn sendmmsg(
    fd: c_int,
    messages: *mut libc::mmsghdr,
    count: u32,
    flags: c_int,
) -> isize {
    // SAFETY: by this function's contract. musl takes the flags unsigned.
    without_signal(flags, |flags| unsafe { libc::sendmmsg(fd, messages, count, flags as _) }
        as isize)
}

/// # Safety
/// A number at `offset`, or null.
#[cfg(target_os = "linux")]
pub(crate) unsafe fn sendfile(
    out: c_int,
    file: c_int,
    offset: *mut libc::off_t,
    count: size_t,
) -> isize {
    // SAFETY: by this function's contract.
    in_thread_guard(|| unsafe { libc::sendfile(out, file, offset, count) })
}

/// # Safety
/// A number at each offset, or null.
#[cfg(target_os = "linux")]
pub(crate) unsafe fn splice(
    from: c_int,
    from_offset: *mut libc::loff_t,
    to: c_int,
    to_offset: *mut libc::loff_t,
    length: size_t,
    flags: u32,
) -> isize {
    // SAFETY: by this function's contract.
    in_thread_guard(|| unsafe { libc::splice(from, from_offset, to, to_offset, length, flags) })
}

/// `SO_NOSIGPIPE` and `F_SETNOSIGPIPE`, where there are such.
#[cfg(target_vendor = "apple")]
pub(crate) fn set_nosigpipe(fd: c_int) -> isize {
    /// `F_SETNOSIGPIPE`, sys/fcntl.h: works for pipes and sockets alike.
    const F_SETNOSIGPIPE: c_int = 73;
    // SAFETY: a flag and a number; a bad descriptor is an error.
    status(unsafe { libc::fcntl(fd, F_SETNOSIGPIPE, 1) } as isize)
}

#[cfg(any(target_os = "freebsd", target_os = "netbsd", target_os = "dragonfly"))]
pub(crate) fn set_nosigpipe(fd: c_int) -> isize {
    let on: c_int = 1;
    let length = size_of::<c_int>() as socklen_t;
    // SAFETY: one number of that length; a bad descriptor is an error.
    status(unsafe {
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_NOSIGPIPE, (&raw const on).cast(), length)
    } as isize)
}

/// Where the processor shows which descriptor was written to, our handler knows the quiet ones.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) fn set_nosigpipe(fd: c_int) -> isize {
    use crate::sigpipe;
    // SAFETY: a number; a bad descriptor is an error.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags < 0 {
        return status(-1);
    }
    if !sigpipe::is_asked() {
        return -(libc::ENOTSUP as isize);
    }
    sigpipe::quiet::declare(fd).map_or_else(|error| -(error.errno() as isize), |()| 0)
}

#[cfg(not(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "dragonfly",
    all(target_os = "linux", target_arch = "x86_64")
)))]
pub(crate) fn set_nosigpipe(_fd: c_int) -> isize {
    -(libc::ENOTSUP as isize)
}

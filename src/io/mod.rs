//! Writers that cannot raise SIGPIPE, whatever the process's disposition, and that change none.
//!
//! For a library that writes on threads of processes that it does not own. In all else (partial
//! writes, `EINTR`, `O_NONBLOCK`, offsets, ancillary data, zero lengths, limits) each function is
//! the plain call.
//!
//! | what is written to | how | needs |
//! |---|---|---|
//! | anything | `pwritev2(…, RWF_NOSIGNAL)` | Linux 6.18, found out once |
//! | sockets, with `send*` or before 6.18 | `MSG_NOSIGNAL` | |
//! | pipes and others before 6.18, `sendfile`, `splice` | the plain call under a [`ThreadGuard`] | |
//! | sockets on macOS and the BSDs, any descriptor on Linux x86-64 | [`set_nosigpipe`] | on Linux: [`crate::init`] |
//!
//! [`NoSigpipe`] wraps a std writer, and with the feature `tokio` a tokio one, also below hyper.
//!
//! All are signal-safe, thread-safe and work in a forked child.
//!
//! [`ThreadGuard`]: crate::sigpipe::ThreadGuard

mod adaptor;
mod method;
pub(crate) mod raw;
#[cfg(feature = "tokio")]
mod tokio;

#[cfg(feature = "tokio")]
pub use self::tokio::Readiness;
pub use adaptor::NoSigpipe;
#[cfg(target_os = "linux")]
#[doc(hidden)]
pub use method::{Method, force};

use std::ffi::c_int;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd};

/// write(2) without SIGPIPE. Returns the bytes written.
///
/// # Errors
/// As write(2); a broken pipe or socket is [`io::ErrorKind::BrokenPipe`].
///
/// ```
/// let (reader, writer) = std::io::pipe()?;
/// drop(reader);
/// let error = sigward::io::write(&writer, b"x").unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "RWF_NOSIGNAL")]
#[doc(alias = "pwritev2")]
#[doc(alias = "sigward_write")]
pub fn write(fd: impl AsFd, buffer: &[u8]) -> io::Result<usize> {
    // SAFETY: the slice holds that many bytes.
    raw::result(unsafe { raw::write(number(&fd), buffer.as_ptr().cast(), buffer.len()) })
}

/// writev(2) without SIGPIPE. Returns the bytes written; at most `IOV_MAX` (1,024) slices.
///
/// # Errors
/// As writev(2).
///
/// ```
/// use std::io::IoSlice;
/// let (_reader, writer) = std::io::pipe()?;
/// let parts = [IoSlice::new(b"one"), IoSlice::new(b"two")];
/// assert_eq!(sigward::io::write_vectored(&writer, &parts)?, 6);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "writev")]
#[doc(alias = "sigward_writev")]
pub fn write_vectored(fd: impl AsFd, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    // A number that is too large stays too large: EINVAL.
    let count = c_int::try_from(buffers.len()).unwrap_or(c_int::MAX);
    // SAFETY: IoSlice has the layout of iovec, by std's promise, and each slice holds its bytes.
    raw::result(unsafe { raw::writev(number(&fd), buffers.as_ptr().cast(), count) })
}

/// send(2) without SIGPIPE; `flags` are `MSG_*`. Returns the bytes sent.
///
/// # Errors
/// As send(2), `ENOTSOCK` for what is no socket among them.
#[doc(alias = "MSG_NOSIGNAL")]
#[doc(alias = "sigward_send")]
pub fn send(fd: impl AsFd, buffer: &[u8], flags: c_int) -> io::Result<usize> {
    // SAFETY: the slice holds that many bytes.
    raw::result(unsafe { raw::send(number(&fd), buffer.as_ptr().cast(), buffer.len(), flags) })
}

/// sendto(2) without SIGPIPE. Returns the bytes sent.
///
/// # Errors
/// As sendto(2).
#[doc(alias = "sendto")]
#[doc(alias = "sigward_sendto")]
pub fn send_to(
    fd: impl AsFd,
    buffer: &[u8],
    flags: c_int,
    address: &socket2::SockAddr,
) -> io::Result<usize> {
    let (data, to) = (buffer.as_ptr().cast(), address.as_ptr().cast());
    // SAFETY: the slice holds that many bytes, and the address its length.
    raw::result(unsafe {
        raw::sendto(number(&fd), data, buffer.len(), flags, to, address.len() as libc::socklen_t)
    })
}

/// sendfile(2) without SIGPIPE, from `offset`, which moves on, or from the file's own position.
/// Returns the bytes sent.
///
/// # Errors
/// As sendfile(2).
#[cfg(target_os = "linux")]
#[doc(alias = "sigward_sendfile")]
pub fn sendfile(
    out: impl AsFd,
    file: impl AsFd,
    offset: Option<&mut u64>,
    count: usize,
) -> io::Result<usize> {
    let offset = offset.map_or(std::ptr::null_mut(), |offset| std::ptr::from_mut(offset).cast());
    // SAFETY: null, or a number that lives as long as the call.
    raw::result(unsafe { raw::sendfile(number(&out), number(&file), offset, count) })
}

/// splice(2) without SIGPIPE; `flags` are `SPLICE_F_*`. Returns the bytes moved.
///
/// # Errors
/// As splice(2).
#[cfg(target_os = "linux")]
#[doc(alias = "sigward_splice")]
pub fn splice(from: impl AsFd, to: impl AsFd, length: usize, flags: u32) -> io::Result<usize> {
    let none = std::ptr::null_mut();
    // SAFETY: no offsets are given.
    raw::result(unsafe { raw::splice(number(&from), none, number(&to), none, length, flags) })
}

/// Makes every write to this socket or pipe quiet, by any code: `SO_NOSIGPIPE` (macOS, FreeBSD,
/// NetBSD), `F_SETNOSIGPIPE` (macOS pipes), and on Linux x86-64 our handler, in which such a
/// SIGPIPE ends whatever stands behind.
///
/// On Linux it is the *number* that is quiet, for as long as it stands for the same pipe or socket:
/// not a duplicate, and not what the number is given to after a close. It holds while our handler
/// is asked; what another library installs above it and does not pass on is that library's. A
/// forked child has it as well, for the descriptors that it inherits.
///
/// # Errors
/// `EBADF`; `ENOTSUP` where the system has nothing of the kind, on Linux before [`crate::init`] and
/// on other processors, which do not show the descriptor.
#[doc(alias = "SO_NOSIGPIPE")]
#[doc(alias = "F_SETNOSIGPIPE")]
#[doc(alias = "sigward_set_nosigpipe")]
pub fn set_nosigpipe(fd: impl AsFd) -> io::Result<()> {
    raw::result(raw::set_nosigpipe(number(&fd))).map(drop)
}

fn number(fd: &impl AsFd) -> c_int {
    fd.as_fd().as_raw_fd()
}

//! `NoSigpipe`: a std (or tokio) writer whose writes raise nothing.

use super::raw;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// Wraps anything with a file descriptor: `TcpStream`, `UnixStream`, `PipeWriter`, `ChildStdin`,
/// `File`.
///
/// [`Write`] goes to the descriptor itself, so wrap the innermost writer and put any `BufWriter`
/// around this. Reading and everything else is the inner value's. `write_vectored` is one vectored
/// call.
///
/// Thread-safe as far as the inner value is; works in a forked child.
///
/// ```
/// use sigward::io::NoSigpipe;
/// use std::io::Write;
/// let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
/// drop(theirs);
/// let mut quiet = NoSigpipe::new(ours);
/// assert_eq!(quiet.write(b"x").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct NoSigpipe<T>(T);

impl<T> NoSigpipe<T> {
    /// Wraps `inner`.
    pub const fn new(inner: T) -> Self {
        Self(inner)
    }

    /// The wrapped value. Writing through it may raise SIGPIPE again.
    pub const fn get_ref(&self) -> &T {
        &self.0
    }

    /// The wrapped value, mutable.
    pub const fn get_mut(&mut self) -> &mut T {
        &mut self.0
    }

    /// Unwraps it.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T: AsFd> Write for NoSigpipe<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        super::write(&self.0, buffer)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        write_slices(self.0.as_fd().as_raw_fd(), buffers)
    }

    /// Nothing is kept back here, nor in what has a descriptor of its own.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Like std's own writers: more slices than the kernel takes are written in part, not refused.
pub(super) fn write_slices(fd: RawFd, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let count = buffers.len().min(raw::IOV_MAX as usize) as std::ffi::c_int;
    // SAFETY: IoSlice has the layout of iovec, by std's promise, and each slice holds its bytes.
    raw::result(unsafe { raw::writev(fd, buffers.as_ptr().cast(), count) })
}

impl<T: Read> Read for NoSigpipe<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(buffers)
    }
}

impl<T: AsFd> AsFd for NoSigpipe<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<T: AsRawFd> AsRawFd for NoSigpipe<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl<T> From<T> for NoSigpipe<T> {
    fn from(inner: T) -> Self {
        Self(inner)
    }
}

//! `NoSigpipe` around tokio's writers: the same readiness, quiet calls, and vectored writes that
//! are one call.
//!
//! tokio's own `write` on sockets is quiet already; its `write_vectored`, which hyper and rustls
//! use, is not.

use super::NoSigpipe;
use super::adaptor::write_slices;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream, unix::pipe};

/// What tokio's writers have in common: they can say when they are ready, and forget it when a call
/// would block. Implemented for tokio's `TcpStream`, `UnixStream` and `pipe::Sender`.
pub trait Readiness: AsFd + AsRawFd {
    /// Ready to write, or wakes the task when it is.
    ///
    /// # Errors
    /// As tokio's method of the same name.
    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Runs `call`; if it would block, the readiness is forgotten.
    ///
    /// # Errors
    /// Those of `call`, and `WouldBlock`.
    fn try_write_with(&self, call: impl FnMut() -> io::Result<usize>) -> io::Result<usize>;
}

macro_rules! socket {
    ($type:ty) => {
        impl Readiness for $type {
            fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                <$type>::poll_write_ready(self, context)
            }

            fn try_write_with(&self, call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
                self.try_io(Interest::WRITABLE, call)
            }
        }
    };
}
socket!(TcpStream);
socket!(UnixStream);

impl Readiness for pipe::Sender {
    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_write_ready(self, context)
    }

    fn try_write_with(&self, call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
        self.try_io(call)
    }
}

impl<T: Readiness> NoSigpipe<T> {
    fn poll_call(
        &self,
        context: &mut Context<'_>,
        mut call: impl FnMut(i32) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let inner = self.get_ref();
        loop {
            ready!(inner.poll_write_ready(context))?;
            match inner.try_write_with(|| call(inner.as_raw_fd())) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl<T: Readiness + AsyncWrite + Unpin> AsyncWrite for NoSigpipe<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_call(context, |fd| write_slices(fd, &[IoSlice::new(buffer)]))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_call(context, |fd| write_slices(fd, buffers))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.as_mut().get_mut().get_mut()).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.as_mut().get_mut().get_mut()).poll_shutdown(context)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for NoSigpipe<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(self.as_mut().get_mut().get_mut()).poll_read(context, buffer)
    }
}

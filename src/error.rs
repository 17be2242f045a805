//! What can go wrong while a seat is taken or left, each with what to do next.

use std::ffi::c_int;
use std::fmt;

/// Why the library could not do what it was asked to do. Nothing is half-done when one comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// An argument makes no sense: a null pointer, an options struct of an unknown size, an unknown
    /// policy. C: `-EINVAL`.
    InvalidArgument,
    /// Every entry point of the process's fixed pool is in use by another predecessor. C:
    /// `-ENOSPC`.
    NoEntryPoint,
    /// The call came from a handler that interrupted the same call on the same thread, which
    /// cannot go on before the handler returns. C: `-EDEADLK`.
    Reentered,
    /// Other threads kept changing the disposition while it was being changed here, or one is in
    /// the middle of registering a map and does not go on (a debugger has stopped it). C:
    /// `-EAGAIN`.
    Contended,
    /// This operating system or processor does not show what the policy needs. C: `-ENOTSUP`.
    Unsupported,
    /// The kernel refused: the errno of sigaction(2), for example `EPERM` from a seccomp filter.
    System(c_int),
}

impl Error {
    /// The errno value (positive) that stands for this error at the C interface.
    #[must_use]
    pub const fn errno(self) -> c_int {
        match self {
            Self::InvalidArgument => libc::EINVAL,
            Self::NoEntryPoint => libc::ENOSPC,
            Self::Reentered => libc::EDEADLK,
            Self::Contended => libc::EAGAIN,
            Self::Unsupported => libc::ENOTSUP,
            Self::System(errno) => errno,
        }
    }

    /// The errno that the last failed libc call left behind.
    pub(crate) fn last() -> Self {
        Self::System(crate::sys::call::errno())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::InvalidArgument => {
                "an argument makes no sense: set `size` to sizeof the struct and check pointers and constants"
            }
            Self::NoEntryPoint => {
                "every entry point of this process is in use: too many handlers were stacked above ours; \
                 find who installs them anew and again"
            }
            Self::Reentered => {
                "called from a signal handler that interrupted the same call: call it outside handlers"
            }
            Self::Contended => {
                "other threads are in the middle of the same change: call again when they have finished"
            }
            Self::Unsupported => {
                "not available on this system: use sigpipe::ignore or the writers that raise nothing"
            }
            Self::System(errno) => {
                return write!(
                    formatter,
                    "the kernel refused to change the disposition: {}",
                    std::io::Error::from_raw_os_error(*errno)
                );
            }
        };
        formatter.write_str(text)
    }
}

impl std::error::Error for Error {}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        Self::from_raw_os_error(error.errno())
    }
}

//! What can go wrong with a guarded map, each with what to do next.

use crate::sigbus::fault::{Cause, Fault};
use crate::sigbus::identity::Unmappable;
use crate::sigbus::registry::Refused;
use crate::sys::call::Failed;
use std::ffi::c_int;
use std::fmt;

/// `ENODATA`, where there is one.
#[cfg(not(any(target_os = "freebsd", target_os = "openbsd")))]
pub(crate) const NO_DATA: c_int = libc::ENODATA;
#[cfg(any(target_os = "freebsd", target_os = "openbsd"))]
pub(crate) const NO_DATA: c_int = libc::ENOATTR;

/// Why a map could not be made, or what it has lost. Nothing is half-done when one comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are gone. C: `-EFAULT`; for writes the errno of the cause.
    Lost(Fault),
    /// The file was changed in place since it was mapped, or its name belongs to another file (or
    /// none) now: map it anew with `refresh`. C: `-ESTALE`.
    Changed {
        /// Whether another file has its name.
        replaced: bool,
    },
    /// The file is empty: there is nothing to map. C: `-ENODATA`.
    Empty,
    /// A directory (C: `-EISDIR`), or a pipe, socket or device (C: `-ENODEV`).
    NotAFile {
        /// Which of both.
        errno: c_int,
    },
    /// The map would begin or end beyond the file's end. C: `-ENXIO`.
    PastEnd {
        /// The file's length in bytes.
        length: u64,
    },
    /// Offset and length together are more than any file has, or than memory can hold. C:
    /// `-EOVERFLOW`.
    Overflow,
    /// The map has no room to grow so far in place. C: `-ENOMEM`, which mremap(2) says when it may
    /// not move.
    Capacity {
        /// How many bytes it can have at most.
        capacity: u64,
    },
    /// The file could not be given blocks for the bytes that the map was to grow by: it is as it
    /// was, and so is the map. C: as [`file::Error::errno`](crate::file::Error::errno) (`-ENOSPC`,
    /// `-EDQUOT`, `-EFBIG`, `-EOPNOTSUPP`, …).
    Reserve(crate::file::Error),
    /// Part of these addresses is guarded already. C: `-EEXIST`.
    Overlap,
    /// The mapping holds code: zeros in its place would be run. C: `-EACCES`.
    Executable,
    /// The map is read-only. C: `-EBADF`.
    ReadOnly,
    /// Maps are still registered. C: `-EBUSY`.
    Busy,
    /// An argument makes no sense. C: `-EINVAL`.
    Invalid(&'static str),
    /// The kernel refused this system call. C: the errno.
    System {
        /// Its name.
        call: &'static str,
        /// What it answered.
        errno: c_int,
    },
    /// A snapshot could not be taken. C: the errno of that error.
    File(crate::file::Error),
    /// The seat for SIGBUS could not be taken.
    Signal(crate::Error),
}

impl Error {
    /// The errno value (positive) that stands for this error at the C interface.
    #[must_use]
    pub const fn errno(&self) -> c_int {
        match self {
            Self::Lost(_) => libc::EFAULT,
            Self::Changed { .. } => libc::ESTALE,
            Self::Empty => NO_DATA,
            Self::PastEnd { .. } => libc::ENXIO,
            Self::Overflow => libc::EOVERFLOW,
            Self::Capacity { .. } => libc::ENOMEM,
            Self::Overlap => libc::EEXIST,
            Self::Executable => libc::EACCES,
            Self::ReadOnly => libc::EBADF,
            Self::Busy => libc::EBUSY,
            Self::Invalid(_) => libc::EINVAL,
            Self::NotAFile { errno } | Self::System { errno, .. } => *errno,
            Self::Reserve(error) | Self::File(error) => error.errno(),
            Self::Signal(error) => error.errno(),
        }
    }

    /// The errno of what has been lost, for writers: `ENOSPC` on a full disk.
    #[must_use]
    pub const fn errno_of_cause(&self) -> c_int {
        match self {
            Self::Lost(fault) => fault.error,
            other => other.errno(),
        }
    }

    /// What std says of a failed system call.
    pub(crate) fn of(error: &std::io::Error, call: &'static str) -> Self {
        Self::System { call, errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }

    /// The last failed system call's.
    pub(crate) fn system(call: &'static str) -> Self {
        Self::System { call, errno: crate::sys::call::errno() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Lost(fault) => return write!(out, "{fault}{}", advice(fault)),
            Self::Changed { replaced: true } => {
                "another file, or none, has the map's path now: refresh the map"
            }
            Self::Changed { replaced: false } => {
                "the file was changed since it was mapped: refresh the map"
            }
            Self::Empty => "the file is empty: map it when something is in it",
            Self::NotAFile { errno: libc::EISDIR } => "a directory cannot be mapped: name a file",
            Self::NotAFile { .. } => {
                "a pipe, socket or device cannot be guarded: name a regular file"
            }
            Self::PastEnd { length } => {
                return write!(
                    out,
                    "the map would reach beyond the file's end at byte {length}: extend the file first"
                );
            }
            Self::Overflow => "offset and length together are too large",
            Self::Capacity { capacity } => {
                return write!(
                    out,
                    "the map has room for {capacity} bytes: open it with more capacity"
                );
            }
            Self::Reserve(error) => return write!(out, "the file cannot grow: {error}"),
            Self::Overlap => {
                "part of these addresses is guarded already: close the other map first"
            }
            Self::Executable => {
                "the mapping is executable: zeros in the place of code would be run"
            }
            Self::ReadOnly => "the map is read-only: open it for writing",
            Self::Busy => "maps are still open, or files adopted: close them first",
            Self::Invalid(what) => what,
            Self::System { call, errno } => {
                return write!(out, "{call}: {}", std::io::Error::from_raw_os_error(*errno));
            }
            Self::File(error) => return error.fmt(out),
            Self::Signal(error) => return write!(out, "the seat for SIGBUS: {error}"),
        };
        out.write_str(text)
    }
}

fn advice(fault: &Fault) -> &'static str {
    match fault.cause() {
        Cause::Truncated { .. } => ": refresh the map when the file is whole",
        Cause::NoSpace => ": make room, then refresh the map and write again",
        Cause::Io(_) | Cause::Hardware => ": see the kernel's log, then refresh the map",
        Cause::Unknown => ": refresh the map",
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Signal(error) => Some(error),
            Self::Reserve(error) | Self::File(error) => Some(error),
            _ => None,
        }
    }
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        Self::Signal(error)
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoMemory => Self::System { call: "mmap", errno: libc::ENOMEM },
            Refused::OutOfReach => Self::System { call: "mmap", errno: libc::ENOTSUP },
            Refused::Reentered => Self::Signal(crate::Error::Reentered),
            Refused::Busy => Self::Signal(crate::Error::Contended),
        }
    }
}

impl From<Unmappable> for Error {
    fn from(why: Unmappable) -> Self {
        match why {
            Unmappable::NotAFile { errno } => Self::NotAFile { errno },
            Unmappable::Failed(failed) => failed.into(),
        }
    }
}

impl From<Failed> for Error {
    fn from(Failed { call, errno }: Failed) -> Self {
        Self::System { call, errno }
    }
}

impl From<crate::file::Error> for Error {
    fn from(error: crate::file::Error) -> Self {
        Self::File(error)
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let kind = Self::from_raw_os_error(error.errno_of_cause()).kind();
        Self::new(kind, error)
    }
}

//! What can go wrong with a log, each with what to do next.

use crate::sys::call::Failed;
use crate::{file, mapping};
use std::ffi::c_int;
use std::fmt;

/// Why a log could not be opened, or a record not appended, made durable or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Somebody else writes to this log. C: `-EBUSY`.
    Busy,
    /// The file is something else than a log. C: `-EILSEQ`.
    NotALog,
    /// A log of a later format. C: `-EPROTONOSUPPORT`.
    Version {
        /// The number that it has.
        found: u32,
    },
    /// What was durable once is not there any more, from this position on. Nothing was changed. C:
    /// `-EBADMSG`.
    Damaged {
        /// Bytes from the start of the file.
        offset: u64,
    },
    /// The record has more than [`MAX_RECORD`](super::MAX_RECORD) bytes. C: `-EMSGSIZE`.
    TooLong {
        /// How many it has.
        length: usize,
    },
    /// The log has used up the addresses that it was opened with
    /// ([`LogOptions::capacity`](super::LogOptions::capacity)). C: `-EFBIG`.
    Full {
        /// That many bytes.
        capacity: u64,
    },
    /// This is a forked child: the log is its parent's. C: `-EPERM`.
    Forked,
    /// The file has been unlinked, renamed or replaced: what is appended is in a file that nobody
    /// finds under the log's name. What was flushed is on the disk in that file. C: `-ESTALE`.
    Moved,
    /// Writing to the disk has failed before, so nobody knows what is there above the durable
    /// watermark: open the log anew. C: the errno.
    Unsynced {
        /// Everything below is on the disk: bytes from the start of the file.
        durable: u64,
        /// What fdatasync(2) answered.
        errno: c_int,
    },
    /// No blocks could be had; the record is not appended and everything else as before. C:
    /// `-ENOSPC`, `-EDQUOT`, `-EFBIG`, `-EOPNOTSUPP`.
    Space(file::Error),
    /// The map: bytes are lost (C: the errno of the cause), or it could not be made.
    Map(mapping::Error),
    /// The kernel refused this system call. C: the errno.
    System {
        /// Its name.
        call: &'static str,
        /// What it answered.
        errno: c_int,
    },
}

impl Error {
    /// The errno value (positive) that stands for this error at the C interface.
    #[must_use]
    pub const fn errno(&self) -> c_int {
        match self {
            Self::Busy => libc::EBUSY,
            Self::NotALog => libc::EILSEQ,
            Self::Version { .. } => libc::EPROTONOSUPPORT,
            Self::Damaged { .. } => libc::EBADMSG,
            Self::TooLong { .. } => libc::EMSGSIZE,
            Self::Full { .. } => libc::EFBIG,
            Self::Forked => libc::EPERM,
            Self::Moved => libc::ESTALE,
            Self::Unsynced { errno, .. } | Self::System { errno, .. } => *errno,
            Self::Space(error) => error.errno(),
            Self::Map(error) => error.errno_of_cause(),
        }
    }

    /// What the standard library says a call has failed with.
    pub(super) fn of(call: &'static str, error: &std::io::Error) -> Self {
        Self::System { call, errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        Self::System { call: failed.call, errno: failed.errno }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => out.write_str("another writer has this log open: one at a time"),
            Self::NotALog => out.write_str("the file is no log: name another one"),
            Self::Version { found } => {
                write!(out, "the log has format {found}, which this library does not know")
            }
            Self::Damaged { offset } => write!(
                out,
                "the log is damaged at byte {offset}, below what was durable once: copy what is whole out of it with salvage, or \
                 restore the file from elsewhere"
            ),
            Self::TooLong { length } => {
                write!(out, "a record of {length} bytes: the longest has {}", super::MAX_RECORD)
            }
            Self::Full { capacity } => {
                write!(
                    out,
                    "the log has used its {capacity} bytes of addresses: open it with a larger capacity"
                )
            }
            Self::Forked => out.write_str(
                "the log belongs to the process that opened it: open it anew in the child",
            ),
            Self::Moved => out.write_str(
                "the log's file has lost its name (unlinked, renamed, replaced): open the log anew",
            ),
            Self::Unsynced { durable, errno } => write!(
                out,
                "writing to the disk failed ({}), what is there from byte {durable} on nobody knows: open the log anew",
                std::io::Error::from_raw_os_error(*errno)
            ),
            Self::Space(file::Error::NoPromise) => out
                .write_str("this file system cannot promise blocks: open the log with slow_zeros"),
            Self::Space(error) => write!(out, "{error}"),
            Self::Map(mapping::Error::Lost(fault)) => write!(out, "{fault}: open the log anew"),
            Self::Map(error) => write!(out, "{error}"),
            Self::System { call, errno } => {
                write!(out, "{call}: {}", std::io::Error::from_raw_os_error(*errno))
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Space(error) => Some(error),
            Self::Map(error) => Some(error),
            _ => None,
        }
    }
}

impl From<mapping::Error> for Error {
    fn from(error: mapping::Error) -> Self {
        Self::Map(error)
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let kind = Self::from_raw_os_error(error.errno()).kind();
        Self::new(kind, error)
    }
}

//! What can go wrong with a reservation, a replacement, a snapshot or a lease, each with what to do
//! next.

use crate::sys::call::Failed;
use std::ffi::c_int;
use std::fmt;

/// "Replaced, but not yet on the disk": no errno says so, and errnos end at 4095.
pub(crate) const UNSYNCED: c_int = 4097;

/// Why nothing was reserved, replaced, taken or leased. Except for [`Error::Unsynced`] and
/// [`Error::Broken`], the file is as it was and nothing is left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// This file system has no way to promise blocks. C: `-EOPNOTSUPP`.
    NoPromise,
    /// The file would be larger than the process may make one (`RLIMIT_FSIZE`). C: `-EFBIG`, and no
    /// SIGXFSZ.
    SizeLimit {
        /// The limit in bytes.
        limit: u64,
    },
    /// A directory (C: `-EISDIR`), a pipe (C: `-ESPIPE` or `-ENODEV`), or a socket or device (C:
    /// `-ENODEV`).
    NotAFile {
        /// Which of them.
        errno: c_int,
    },
    /// Offset and length together are more than any file has. C: `-EOVERFLOW`.
    Overflow,
    /// An argument makes no sense. C: `-EINVAL`.
    Invalid(&'static str),
    /// The file to be replaced belongs to somebody else, and the new one could not be given to
    /// them. C: `-EPERM`.
    Owner {
        /// The user that it would have to belong to.
        user: u32,
        /// The group.
        group: u32,
    },
    /// The source was written to while it was copied: the copy may be half of one and half of the
    /// other. C: `-ESTALE`.
    SourceChanged,
    /// The file **is** replaced, but the folder could not be written to the disk: after a power
    /// failure the old file may be back. C: `-SIGWARD_EUNSYNCED`.
    Unsynced {
        /// What fsync(2) answered.
        errno: c_int,
    },
    /// Somebody has the file open for writing, or waits to open it so: no lease can be had now. C:
    /// `-EAGAIN`.
    HasWriter,
    /// A lease may be taken by the file's owner only, and with `CAP_LEASE`. C: `-EACCES`, as for a
    /// file that may not be read.
    NotOwner,
    /// This file system, or this system, has no leases. C: `-EOPNOTSUPP`.
    NoLeases,
    /// The lease was broken by force before it was given up, or its descriptors were closed by
    /// somebody else: the file may have changed meanwhile. C: `-ESTALE`.
    Broken,
    /// The file is larger than was allowed; nothing of it is kept. C: `-EFBIG`.
    TooLarge {
        /// The file's length in bytes, or as much as was found to be in it.
        size: u64,
        /// What was allowed.
        limit: u64,
    },
    /// The caller's progress function has stopped it; nothing is kept. C: `-ECANCELED`.
    Cancelled,
    /// The kernel refused this system call. C: the errno (`-ENOSPC`, `-EDQUOT`, `-EACCES`,
    /// `-EPERM`, …).
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
            Self::NoPromise | Self::NoLeases => libc::EOPNOTSUPP,
            Self::HasWriter => libc::EAGAIN,
            Self::NotOwner => libc::EACCES,
            Self::SizeLimit { .. } | Self::TooLarge { .. } => libc::EFBIG,
            Self::Cancelled => libc::ECANCELED,
            Self::Overflow => libc::EOVERFLOW,
            Self::Invalid(_) => libc::EINVAL,
            Self::Owner { .. } => libc::EPERM,
            Self::SourceChanged | Self::Broken => libc::ESTALE,
            Self::Unsynced { .. } => UNSYNCED,
            Self::NotAFile { errno } | Self::System { errno, .. } => *errno,
        }
    }

    pub(super) const fn system(call: &'static str, errno: c_int) -> Self {
        Self::System { call, errno }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NoPromise => {
                "this file system cannot promise blocks: write zeros (reserve_slowly), or guard the map"
            }
            Self::SizeLimit { limit } => {
                return write!(
                    out,
                    "the file would pass the limit of {limit} bytes: raise RLIMIT_FSIZE"
                );
            }
            Self::NotAFile { errno: libc::EISDIR } => "a directory: name a file",
            Self::NotAFile { .. } => "a pipe, socket or device: name a regular file",
            Self::Overflow => "offset and length together are too large",
            Self::Invalid(what) => what,
            Self::Owner { user, group } => {
                return write!(
                    out,
                    "the file belongs to user {user}, group {group}, and the new one may not be given to them: \
                     run as that user, or allow any owner"
                );
            }
            Self::SourceChanged => {
                "the source was changed while it was copied, again and again: try again when it is whole"
            }
            Self::Unsynced { errno } => {
                return write!(
                    out,
                    "the file is replaced, but its folder is not on the disk ({}): see the kernel's log",
                    std::io::Error::from_raw_os_error(*errno)
                );
            }
            Self::HasWriter => {
                "somebody has the file open for writing: take the lease when it is closed, or read through a guarded map"
            }
            Self::NotOwner => {
                "the file is somebody else's: take the lease as its owner, or with CAP_LEASE"
            }
            Self::NoLeases => {
                "no leases here (the file system, or /proc/sys/fs/leases-enable): read through a guarded map"
            }
            Self::Broken => {
                "the lease was broken by force, so the file may have changed while it was read: read it again"
            }
            Self::TooLarge { size, limit } => {
                return write!(
                    out,
                    "the file has {size} bytes, and {limit} are allowed: raise the limit, or read it by parts"
                );
            }
            Self::Cancelled => "stopped by the progress function: nothing is kept",
            Self::System { call, errno } => {
                return write!(
                    out,
                    "{call}: {}{}",
                    std::io::Error::from_raw_os_error(*errno),
                    advice(*errno)
                );
            }
        };
        out.write_str(text)
    }
}

fn advice(errno: c_int) -> &'static str {
    match errno {
        libc::ENOSPC => ": make room; nothing has changed",
        libc::EDQUOT => ": the quota is used up; nothing has changed",
        libc::EBUSY => ": something is mounted on the file, so no other can take its name",
        libc::ENOMEM => ": more than the memory that is left; read it by parts, or set a limit",
        libc::EROFS => ": mounted read-only",
        _ => "",
    }
}

impl std::error::Error for Error {}

impl From<Failed> for Error {
    fn from(Failed { call, errno }: Failed) -> Self {
        Self::System { call, errno }
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let errno = if let Error::Unsynced { errno } = error { errno } else { error.errno() };
        let kind = Self::from_raw_os_error(errno).kind();
        Self::new(kind, error)
    }
}

//! Which file a map is of, and whether it has been changed since: device, inode, length, change
//! time.
//!
//! Any write(2), truncation or change of owner or mode moves the change time (`st_ctime`,
//! inode(7)); writes through a shared map move it when a clean page is first written. Before Linux
//! 6.13 a change within the same clock tick as the mapping (some milliseconds) leaves the time as
//! it was.

use crate::observe::in_handler::status;
use crate::sys::call::{Failed, errno};
use crate::sys::times::changed;
use std::ffi::{CStr, c_int};
use std::mem::MaybeUninit;

/// What fstat(2) tells of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) length: u64,
    /// `st_blksize`: on hugetlbfs the size of a huge page.
    pub(crate) block: u64,
    /// Blocks of 512 bytes that the file has.
    pub(crate) blocks: u64,
    /// Whether it has a name anywhere.
    pub(crate) named: bool,
    /// Seconds and nanoseconds of the last change.
    pub(crate) changed: (i64, i64),
}

impl Identity {
    /// Of nothing that exists: for maps without a descriptor.
    pub(crate) const UNKNOWN: Self =
        Self { device: 0, inode: 0, length: 0, block: 0, blocks: 0, named: false, changed: (0, 0) };

    /// Signal-safe.
    #[allow(clippy::unnecessary_cast, reason = "the fields' types differ between systems")]
    pub(crate) fn of(status: &libc::stat) -> Self {
        Self {
            device: status.st_dev as u64,
            inode: status.st_ino as u64,
            length: status.st_size as u64,
            block: status.st_blksize as u64,
            blocks: status.st_blocks as u64,
            named: status.st_nlink != 0,
            changed: changed(status),
        }
    }

    /// Whether both are one file, changed or not. Signal-safe.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        self.device == other.device && self.inode == other.inode
    }
}

/// Somebody has closed our descriptor, and its number is another file's.
pub(crate) const NOT_OURS: Failed = Failed { call: "fstat", errno: libc::EBADF };

/// Why something is not to be mapped.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unmappable {
    /// A folder (`EISDIR`), or no regular file (`ENODEV`).
    NotAFile { errno: c_int },
    /// The kernel does not tell what it is.
    Failed(Failed),
}

impl From<Failed> for Unmappable {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

/// What a path names now.
pub(crate) fn of_path(path: &CStr) -> Result<Identity, c_int> {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: a NUL-terminated path and room for one struct.
    if unsafe { libc::stat(path.as_ptr(), status.as_mut_ptr()) } != 0 {
        return Err(errno());
    }
    // SAFETY: the call returned 0, so it filled the struct.
    Ok(Identity::of(unsafe { status.assume_init_ref() }))
}

/// What a descriptor names, if it is something that can be mapped.
pub(crate) fn of_mappable(descriptor: c_int) -> Result<Identity, Unmappable> {
    // (The system call itself is three times as quick as what glibc makes of it.)
    mappable(&status(descriptor).ok_or_else(|| Failed::last("fstat"))?)
}

/// Whether it is something that can be mapped.
pub(crate) fn mappable(status: &libc::stat) -> Result<Identity, Unmappable> {
    match status.st_mode & libc::S_IFMT {
        libc::S_IFREG => Ok(Identity::of(status)),
        libc::S_IFDIR => Err(Unmappable::NotAFile { errno: libc::EISDIR }),
        _ => Err(Unmappable::NotAFile { errno: libc::ENODEV }),
    }
}

//! How much a reservation is worth on this file's file system.

use super::super::reserve::Promise;
use super::room::FileSystem;
use crate::sys::call::{errno, magic_path};
use crate::sys::constants::file_systems::FUSE;
use crate::sys::constants::{FS_IOC_GETFLAGS, FS_NOCOW_FL};
use crate::sys::passing::Passing;
use std::ffi::{c_int, c_long};
use std::os::fd::{AsRawFd, BorrowedFd};

/// `struct file_clone_range`.
#[repr(C)]
struct CloneRange {
    source: i64,
    source_offset: u64,
    source_length: u64,
    offset: u64,
}

const FICLONERANGE: u64 = 0x4020_940d;

/// After an allocation that could not say whether the blocks are shared.
///
/// A file system where files can share blocks has to copy on write, and the one that lets itself be
/// told to unshare (xfs) was told. Asking what the file can do, and not for the file system's name,
/// sees through overlay.
pub(super) fn promise(file: BorrowedFd<'_>, system: Option<&FileSystem>) -> Promise {
    if system.is_some_and(|system| system.kind == FUSE) {
        return Promise::Unproven;
    }
    let shares = match clones(file.as_raw_fd()) {
        // Opened for writing only, or to append.
        Err(libc::EBADF) => Passing::open(&magic_path(file), libc::O_RDWR)
            .map_or(Err(libc::EBADF), |file| clones(file.fd)),
        other => other,
    };
    match shares {
        Err(libc::EOPNOTSUPP | libc::ENOTTY | libc::ENOSYS) => Promise::Full,
        _ if is_never_copied(file) => Promise::Full,
        _ => Promise::FirstWriteOnly,
    }
}

/// Asks for a clone that no file system can make, of one byte that begins no block.
fn clones(number: c_int) -> Result<(), c_int> {
    let range = CloneRange { source: number.into(), source_offset: 1, source_length: 1, offset: 0 };
    // SAFETY: a whole request.
    if unsafe { libc::ioctl(number, FICLONERANGE as _, &raw const range) } == 0 {
        return Ok(());
    }
    match errno() {
        libc::EINVAL => Ok(()),
        errno => Err(errno),
    }
}

/// `chattr +C`.
fn is_never_copied(file: BorrowedFd<'_>) -> bool {
    inode_flags(file).is_some_and(|flags| flags & FS_NOCOW_FL != 0)
}

/// What chattr(1) sets; none where that cannot be asked.
pub(in crate::file) fn inode_flags(file: BorrowedFd<'_>) -> Option<c_int> {
    let mut flags: c_long = 0;
    // SAFETY: room for the flags, an int, in a long (ioctl_iflags(2)).
    let done = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_GETFLAGS as _, &raw mut flags) } == 0;
    done.then_some(flags as c_int)
}

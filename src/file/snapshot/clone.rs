//! Blocks shared with the source, in a file that never has a name.

use super::super::replace::contents;
use crate::sys::call::{kind_of_file, magic_path, open_at};
use crate::sys::constants::file_systems::{BTRFS, XFS};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// None where that cannot be had, for whatever reason: the file system shares no blocks, the folder
/// is not ours to write in, is mounted read-only or on a full disk. A copy in memory needs none of
/// it.
pub(super) fn clone(source: BorrowedFd<'_>) -> Option<OwnedFd> {
    let folder = folder_of(source)?;
    let nameless = libc::O_TMPFILE | libc::O_EXCL | libc::O_RDWR | libc::O_NOFOLLOW;
    // Nobody may open it again by way of /proc; O_EXCL: nobody can give it a name.
    let file = open_at(None, &folder, nameless, 0).ok()?;
    contents::clone(source, file.as_fd()).then_some(file)
}

/// Whether a clone has all of a write or none of it: xfs and btrfs lock both files, and their maps,
/// for as long as it takes (`xfs_reflink_remap_prep`, `btrfs_remap_file_range` in the kernel's fs).
pub(super) fn is_at_one_moment(file: BorrowedFd<'_>) -> bool {
    matches!(kind_of_file(file), Some(XFS | BTRFS))
}

/// The folder of the file itself, which may not be that of the link that was named.
fn folder_of(source: BorrowedFd<'_>) -> Option<CString> {
    let link = magic_path(source);
    let path = std::fs::read_link(Path::new(std::ffi::OsStr::from_bytes(link.as_bytes()))).ok()?;
    CString::new(path.parent()?.as_os_str().as_bytes()).ok()
}

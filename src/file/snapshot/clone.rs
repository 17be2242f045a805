//! Blocks shared with the source, in a file that never has a name.

use super::super::replace::contents;
use crate::sys::call::{self, magic_path, open_at};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Magic numbers of statfs(2).
const XFS: u64 = 0x5846_5342;
const BTRFS: u64 = 0x9123_683e;

/// None where that cannot be had, for whatever reason: the file system shares no blocks, the folder is not ours to write in, is
/// mounted read-only or on a full disk. A copy in memory needs none of it.
pub(super) fn clone(source: BorrowedFd<'_>) -> Option<OwnedFd> {
    let folder = folder_of(source)?;
    let nameless = libc::O_TMPFILE | libc::O_EXCL | libc::O_RDWR | libc::O_NOFOLLOW;
    // Nobody may open it again by way of /proc; O_EXCL: nobody can give it a name.
    let file = open_at(None, &folder, nameless, 0).ok()?;
    contents::clone(source, file.as_fd()).then_some(file)
}

/// Whether a clone has all of a write or none of it: xfs and btrfs lock both files, and their maps, for as long as it takes
/// (`xfs_reflink_remap_prep`, `btrfs_remap_file_range` in the kernel's fs).
pub(super) fn is_at_one_moment(file: BorrowedFd<'_>) -> bool {
    matches!(kind_of(file), Some(XFS | BTRFS))
}

/// The number of the file system's kind.
pub(super) fn kind_of(file: BorrowedFd<'_>) -> Option<u64> {
    nix::sys::statfs::fstatfs(file).ok().map(|system| call::kind_of(&system))
}

/// The folder of the file itself, which may not be that of the link that was named.
fn folder_of(source: BorrowedFd<'_>) -> Option<CString> {
    let link = magic_path(source);
    let path = std::fs::read_link(Path::new(std::ffi::OsStr::from_bytes(link.as_bytes()))).ok()?;
    CString::new(path.parent()?.as_os_str().as_bytes()).ok()
}

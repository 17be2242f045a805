//! What it rests on that a copy is of one moment: see [`Moment`].

use super::super::error::Error;
#[cfg(target_os = "linux")]
use super::CHUNK;
use super::Frozen;
#[cfg(target_os = "linux")]
use crate::sys::call::{kind_of_file, open_again, retried};
#[cfg(target_os = "linux")]
use crate::sys::constants::file_systems::{BTRFS, EXT, OVERLAY, TMPFS, XFS};
#[cfg(target_os = "linux")]
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
#[cfg(target_os = "linux")]
use nix::sys::uio::pread;
use std::fs::File;
use std::os::fd::BorrowedFd;
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, OwnedFd};

/// What a snapshot is worth when somebody writes to the file by write(2) meanwhile. Of stores
/// through a shared map the times tell only now and then, whatever it says here.
///
/// | file system | how a change is seen | [`Moment`] |
/// |---|---|---|
/// | xfs, btrfs, and overlay on them, by a clone | it waits: a clone locks writers out | `Proven` |
/// | tmpfs, ext2, ext3, ext4, and overlay, whose layers are taken for such; xfs and btrfs in memory | the change time moves at the beginning of each write(2), which holds a lock to its end that we wait for | `Proven` |
/// | FUSE, NFS, SMB, 9P, Ceph, FAT, exFAT, NTFS, f2fs, bcachefs, ZFS, and whatever else | times and length, asked of the server and not of the kernel's memory; and the file is read a second time, past the page cache, and compared | `Unproven` |
/// | /proc, /sys and what else makes its contents when it is read | nothing | `Unproven` |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Moment {
    /// All or nothing of every write is in it: the file system keeps writers away from a clone, or
    /// the file's times tell of each of them.
    Proven,
    /// What the file system says of times is worth something that nobody here knows (FUSE, network
    /// file systems, others): they had not moved, and the file was the same when it was read a
    /// second time. A file of /proc is read once.
    Unproven,
}

/// Those whose times tell of each write.
#[cfg(target_os = "linux")]
const KNOWN: [u64; 5] = [TMPFS, EXT, XFS, BTRFS, OVERLAY];

/// Of a file on this file system.
#[cfg(target_os = "linux")]
pub(super) fn of(file: BorrowedFd<'_>) -> Moment {
    let kind = kind_of_file(file);
    if kind.is_some_and(|kind| KNOWN.contains(&kind)) { Moment::Proven } else { Moment::Unproven }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn of(_file: BorrowedFd<'_>) -> Moment {
    Moment::Unproven
}

/// Whether the file still has the bytes of its copy, asked past the page cache: that may have some
/// from before a change and some from after.
#[cfg(target_os = "linux")]
pub(super) fn is_same_again(source: &File, copy: &Frozen) -> Result<bool, Error> {
    let copy = copy.file.as_fd();
    let past = past_cache(source);
    let source = past.as_ref().map_or(source.as_fd(), AsFd::as_fd);
    let mut rooms = vec![0_u8; 2 * CHUNK + ALIGNED];
    let start = rooms.as_ptr().align_offset(ALIGNED);
    let rooms = rooms.get_mut(start..start + 2 * CHUNK).unwrap_or_default();
    let (one, other) = rooms.split_at_mut(CHUNK);
    let mut at = 0;
    loop {
        let (got, there) = (read(source, one, at)?, read(copy, other, at)?);
        if one.get(..got) != other.get(..there) {
            return Ok(false);
        }
        if got < CHUNK {
            return Ok(true);
        }
        at += got as u64;
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_same_again(source: &File, copy: &Frozen) -> Result<bool, Error> {
    use std::os::unix::fs::FileExt;
    let mut again = vec![0; copy.bytes.len() + 1];
    let got = source
        .read_at(&mut again, 0)
        .map_err(|error| crate::sys::call::Failed::of("read", &error))?;
    Ok(again.get(..got) == Some(&copy.bytes[..]))
}

/// What O_DIRECT asks for at most.
#[cfg(target_os = "linux")]
const ALIGNED: usize = 4096;

/// As much as there is, up to the room's end.
#[cfg(target_os = "linux")]
fn read(file: BorrowedFd<'_>, room: &mut [u8], at: u64) -> Result<usize, Error> {
    let mut got = 0;
    while let Some(rest) = room.get_mut(got..).filter(|rest| !rest.is_empty()) {
        let from = (at + got as u64) as _;
        match retried(|| pread(file, rest, from)).map_err(|errno| Error::system("read", errno))? {
            0 => break,
            count => got += count,
        }
    }
    Ok(got)
}

/// The file, read without the page cache, where that works; else the cache has forgotten it, unless
/// others have it mapped.
#[cfg(target_os = "linux")]
fn past_cache(source: &File) -> Option<OwnedFd> {
    let direct = open_again(source.as_fd(), libc::O_RDONLY | libc::O_DIRECT).ok();
    let mut rooms = vec![0_u8; 2 * ALIGNED];
    let start = rooms.as_ptr().align_offset(ALIGNED);
    let room = rooms.get_mut(start..start + ALIGNED).unwrap_or_default();
    let direct = direct.filter(|file| read(file.as_fd(), room, 0).is_ok());
    if direct.is_none() {
        // All of the file.
        let _ = posix_fadvise(source, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }
    direct
}

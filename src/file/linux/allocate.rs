//! One reservation: what is asked of the file system, in which order.

use super::super::error::Error;
use super::super::reserve::Promise;
use super::extents::{extents, gaps};
use super::promise::promise;
use super::room::FileSystem;
use crate::sys::call::{again, status};
use crate::sys::constants::file_systems::{BTRFS, ZFS};
use crate::sys::pages::page_size;
use crate::sys::undisturbed::undisturbed;
use std::ffi::c_int;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Blocks of ext4 may come in clusters (bigalloc): one at either end of a gap may be there already.
const CLUSTERS: u64 = 128 << 10;

/// A range to be reserved.
pub(in crate::file) struct Reservation<'a> {
    pub(super) file: BorrowedFd<'a>,
    /// What has to have blocks: whole folios, as far as the file reaches then.
    pub(super) range: Range<u64>,
    /// Where the caller's range ends.
    pub(super) end: u64,
    /// The file's length in bytes when the call began, and its blocks of 512.
    pub(super) length: u64,
    pub(super) blocks: u64,
}

impl<'a> Reservation<'a> {
    pub(in crate::file) fn of(file: BorrowedFd<'a>, offset: u64, len: u64) -> Result<Self, Error> {
        if len == 0 {
            return Err(Error::Invalid("a length of 0: there is nothing to reserve"));
        }
        let end = offset
            .checked_add(len)
            .filter(|end| i64::try_from(*end).is_ok())
            .ok_or(Error::Overflow)?;
        let before = status(file)?;
        match before.st_mode & libc::S_IFMT {
            libc::S_IFREG => {}
            libc::S_IFDIR => return Err(Error::NotAFile { errno: libc::EISDIR }),
            libc::S_IFIFO => return Err(Error::NotAFile { errno: libc::ESPIPE }),
            _ => return Err(Error::NotAFile { errno: libc::ENODEV }),
        }
        let length = before.st_size as u64;
        let limit = size_limit();
        if end > length && end > limit {
            return Err(Error::SizeLimit { limit });
        }
        let unit = if keeps_list(file) { largest_folio() } else { page() };
        let upto = end.next_multiple_of(unit).min(length.max(end));
        Ok(Self {
            file,
            range: offset - offset % unit..upto,
            end,
            length,
            blocks: before.st_blocks as u64,
        })
    }

    pub(in crate::file) fn make(&self) -> Result<Promise, Error> {
        let system = FileSystem::of(self.file);
        if system.is_some_and(|system| system.kind == ZFS) {
            return Err(Error::NoPromise); // it checks for room, and keeps none
        }
        let unshared =
            self.allocate(system.as_ref()).map_err(|errno| self.error("fallocate", errno))?;
        Ok(if unshared { Promise::Full } else { promise(self.file, system.as_ref()) })
    }

    /// Whether the blocks are known to be this file's alone.
    fn allocate(&self, system: Option<&FileSystem>) -> Result<bool, c_int> {
        let keep = libc::FALLOC_FL_KEEP_SIZE;
        let unshared = match self.fallocate(libc::FALLOC_FL_UNSHARE_RANGE | keep, &self.range) {
            Ok(()) => true,
            // EPERM: a file that is `chattr +a` lets itself be allocated, but not unshared.
            Err(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::EPERM) => {
                if system.is_some_and(|system| !self.may_fit(system)) {
                    return Err(libc::ENOSPC);
                }
                match self.fallocate(keep, &self.range) {
                    // NFS grows the file or does nothing.
                    Err(libc::EOPNOTSUPP | libc::ENOSYS) => self.fallocate(0, &self.range)?,
                    other => other?,
                }
                false
            }
            Err(errno) => return Err(errno),
        };
        if self.end > self.length {
            self.fallocate(0, &(self.end - 1..self.end))?;
        }
        Ok(unshared)
    }

    fn fallocate(&self, mode: c_int, range: &Range<u64>) -> Result<(), c_int> {
        let (start, len) = (range.start as i64, (range.end - range.start) as i64);
        undisturbed(|| {
            // SAFETY: no pointers.
            again(|| unsafe { libc::fallocate64(self.file.as_raw_fd(), mode, start, len) }.into())
                .map(drop)
        })
    }

    pub(super) fn error(&self, call: &'static str, errno: c_int) -> Error {
        match errno {
            libc::EOPNOTSUPP | libc::ENOSYS => Error::NoPromise,
            // The limit may have been lowered between our question and the call.
            errno => over_size_limit(errno, self.end, call),
        }
    }
}

/// The error for a call that would have made a file reach to `end`.
pub(in crate::file) fn over_size_limit(errno: c_int, end: u64, call: &'static str) -> Error {
    let limit = size_limit();
    // Above it: the file system's own largest size.
    if errno == libc::EFBIG && end > limit {
        Error::SizeLimit { limit }
    } else {
        Error::system(call, errno)
    }
}

/// Bytes of the largest piece of page cache that a store can make dirty at once
/// (`MAX_PAGECACHE_ORDER` in the kernel's include/linux/pagemap.h: as much as one entry of a page
/// middle directory maps, and 2,048 pages at most).
fn largest_folio() -> u64 {
    page() * (page() / 8).min(2048)
}

/// Whether it is a file system with blocks on a disk. tmpfs has no list of them, and takes them
/// page by page.
fn keeps_list(file: BorrowedFd<'_>) -> bool {
    extents(file, &(0..1), false).is_ok()
}

/// Bytes of a page of memory.
pub(super) fn page() -> u64 {
    page_size() as u64
}

/// `RLIMIT_FSIZE` in bytes.
fn size_limit() -> u64 {
    let mut limit = libc::rlimit64 { rlim_cur: u64::MAX, rlim_max: u64::MAX };
    // SAFETY: room for one struct; where the call fails it stays as it is.
    unsafe { libc::getrlimit64(libc::RLIMIT_FSIZE, &raw mut limit) };
    limit.rlim_cur
}

impl Reservation<'_> {
    /// Whether `system`, which was asked before, may have blocks for all that the range has none
    /// for. What others take meanwhile counts as there: a refusal is never wrong.
    fn may_fit(&self, system: &FileSystem) -> bool {
        // btrfs takes all or nothing, and is vague about what is free.
        if system.kind == BTRFS || system.has(self.range.end - self.range.start) {
            return true;
        }
        // tmpfs and others without a list give back what they have taken.
        let Ok(taken) = extents(self.file, &self.range, false) else { return true };
        let gaps = gaps(&self.range, &taken);
        let needed = gaps.iter().map(|gap| (gap.end - gap.start).saturating_sub(CLUSTERS));
        system.has(needed.fold(0, u64::saturating_add))
    }
}

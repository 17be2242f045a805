//! Blocks before bytes: what [`reserve`] promises, and how nothing is lost when that cannot be
//! promised.
//!
//! | step | why so |
//! |---|---|
//! | fallocate(2) itself, never posix_fallocate(3) | glibc's emulation writes for minutes and leaves what it wrote |
//! | `RLIMIT_FSIZE` is asked first | the kernel says it with SIGXFSZ |
//! | `FALLOC_FL_UNSHARE_RANGE` first | blocks that are shared with another file (xfs) are copied by the next write, which needs room |
//! | else `FALLOC_FL_KEEP_SIZE` | the length changes only when all blocks are there: ext4 would leave the file extended |
//! | the length last, by fallocate of the last byte | it cannot make a file shorter that somebody has made longer meanwhile, as ftruncate(2) can |
//! | holes beside the range get blocks, too, up to 2 MiB to either side | a store makes a whole folio of the page cache dirty (xfs, ext4): if a hole lies in it, that needs blocks |
//! | where a refusal would keep what it has taken (ext4), statfs(2) and the list of extents are asked first | a request that cannot be met takes nothing |
//! | nothing is ever punched or cut | whoever has looked whether a block is unused knows nothing any more when it is punched: somebody's bytes may be in it |

use super::error::Error;
use std::os::fd::AsFd;

#[cfg(target_os = "linux")]
use super::linux::Reservation;

/// How far a reservation reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Promise {
    /// No write into the range fails for lack of space, however often the same bytes are written.
    Full,
    /// The file system copies on write (btrfs, unless the file is `chattr +C`): a block that was
    /// never written takes one write. Another one into the same block, also of other bytes, needs
    /// new room as soon as the kernel has written the first to the disk, and on a full disk it does
    /// that at once. Write whole pages once, or guard the map. Before Linux 6.17 (seen on 6.1 and
    /// 6.12) a store through a map asks btrfs for room of its own, whatever is reserved, in files
    /// that are `chattr +C` as well: there only the guard helps.
    FirstWriteOnly,
    /// The file system is a program (FUSE, virtiofs) that has said yes, and nobody can ask what it
    /// keeps of that: some refuse any write on a full disk, also where they have reserved
    /// (fuse2fs). A store through a map asks for no room there and does not fail; a flush of it
    /// does, or fsync(2).
    Unproven,
}

/// Gives every byte of `offset..offset + len` its block, so that writes there, also through a map,
/// cannot fail for lack of space; the file is as long as the range reaches then, or longer. Bytes
/// that are there stay as they are, holes read as zeros. Holes beside the range are given blocks,
/// too, as far as a store into it can need them (2 MiB on most machines).
///
/// The promise ends when a hole is punched into the range, the file is cut, or its blocks are
/// shared with another file (a reflink, a snapshot). `file` must be open for writing; its position
/// is not used. Blocks are not written to the disk: fsync(2) does.
///
/// On failure the file is as long as it was and has the bytes that it had, with all that others
/// have written meanwhile: through maps, through descriptors, in other processes, also beyond the
/// old end. Blocks may have come: nothing is ever punched or cut to give them back. Where the file
/// system keeps what a refused call had found (ext4), room is asked for first, so that this happens
/// only if others take it meanwhile, or to a quota. They serve later growth; ftruncate(2) to the
/// file's own length frees those beyond its end, if nobody else writes. The times may have moved.
///
/// Signals of this thread wait until the call is done. Thread-safe, works in a forked child; not
/// for signal handlers.
///
/// # Errors
/// [`Error::System`] with `ENOSPC`, `EDQUOT` (quota), `EPERM` (a memfd sealed against growth, an
/// immutable file), `EBADF` (not open for writing); [`Error::SizeLimit`], [`Error::NoPromise`],
/// [`Error::NotAFile`], [`Error::Overflow`], [`Error::Invalid`] for a length of 0.
///
/// # References
/// fallocate(2).
#[doc(alias = "fallocate")]
#[doc(alias = "posix_fallocate")]
#[doc(alias = "sigward_reserve")]
pub fn reserve(file: impl AsFd, offset: u64, len: u64) -> Result<Promise, Error> {
    #[cfg(target_os = "linux")]
    return Reservation::of(file.as_fd(), offset, len)?.make();
    #[cfg(not(target_os = "linux"))]
    return unsupported(&file.as_fd(), offset, len);
}

/// As [`reserve`]; where the file system cannot promise (ext2, some network and user-space file
/// systems), appends zeros, has holes of the range filled by page faults that change no byte, and
/// all of it written to the disk: a minute for some gigabytes. Others may write into the file
/// meanwhile, and append to it.
///
/// Room is asked for first. If others take it meanwhile, or a quota ends, what was appended stays,
/// as zeros: the file is longer then although the call has failed. The same after a crash in
/// between.
///
/// # Errors
/// As [`reserve`]. [`Error::NoPromise`] remains where zeros take no space (ZFS) or holes cannot be
/// told, and for holes before Linux 5.14. `EACCES` for holes of a file that may not be read.
#[doc(alias = "sigward_reserve_slowly")]
pub fn reserve_slowly(file: impl AsFd, offset: u64, len: u64) -> Result<Promise, Error> {
    reserve_with_pauses(&file, offset, len, &mut || {})
}

/// [`reserve_slowly`] with `pause` between any two of its steps.
pub(crate) fn reserve_with_pauses(
    file: &impl AsFd,
    offset: u64,
    len: u64,
    pause: &mut dyn FnMut(),
) -> Result<Promise, Error> {
    #[cfg(target_os = "linux")]
    return Reservation::of(file.as_fd(), offset, len)?.make_slowly(pause);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = pause;
        return unsupported(&file.as_fd(), offset, len);
    }
}

/// There is no such call on other systems, and no list of holes.
#[cfg(not(target_os = "linux"))]
fn unsupported(
    _file: &std::os::fd::BorrowedFd<'_>,
    _offset: u64,
    len: u64,
) -> Result<Promise, Error> {
    if len == 0 {
        Err(Error::Invalid("a length of 0: nothing to reserve"))
    } else {
        Err(Error::NoPromise)
    }
}

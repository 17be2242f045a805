//! Why a page is lost: asked of the file, whose descriptor the map keeps. Bare system calls only.

use super::MEMORY;
use super::present::{DAMAGED, are_there};
use crate::chain::Fault as Delivered;
use crate::observe::in_handler::status;
use crate::sigbus::fault::{Cause, Fault};
use crate::sigbus::identity::Identity;
use crate::sigbus::kept;
#[cfg(target_os = "linux")]
use crate::sigbus::outside::NEXT_TO_NOTHING;
use crate::sigbus::registry::{Facts, Slot};
use std::ffi::c_int;
use std::ops::Range;

/// What a look at the file has shown.
pub(super) enum Finding {
    /// The page can be had again, as it was: nothing is lost.
    Healed,
    /// The file has all of it, and the system has no page of this size for a private copy: the
    /// writer's death, as without us. A patch would throw away what is there.
    NoRoom,
    /// Bytes are lost.
    Lost {
        /// Cause and errno.
        fault: Fault,
        /// Address of the first lost byte.
        from: usize,
        /// Pages that have to be replaced; none if the kernel has others there by now.
        pages: Range<usize>,
    },
}

/// Looks for the cause of a fault in a map.
#[inline(never)]
pub(super) fn find(slot: &Slot, delivered: &Delivered) -> Finding {
    let facts = slot.facts();
    let page = page_of(facts, delivered.address);
    if delivered.code == MEMORY {
        let size = facts.granule.max(1_usize.checked_shl(delivered.shift).unwrap_or(0));
        let start = (delivered.address / size * size).max(facts.pages.start);
        let pages = start..(start + size).min(facts.pages.end);
        return lost(Cause::Hardware, DAMAGED, start, pages);
    }
    // Before the file is looked at: the map may be growing.
    let end_wanted = slot.end_in_file();
    let file = kept::current(facts);
    if file.is_none() && facts.descriptor >= 0 && status(facts.descriptor).is_none() {
        // The file system is gone from under it: the daemon of a FUSE one has died (ENOTCONN), a
        // server has lost it (ESTALE).
        if let Err(errno) = read_byte(facts, &page) {
            return lost(Cause::Io(errno), errno, page.start, page);
        }
    }
    // A descriptor that somebody closed and that is another file's now says nothing.
    let Some(file) = file else {
        return without_descriptor(facts, delivered, page);
    };
    let end = end_of_file(facts, file.length);
    let first_lost = round_up(end - facts.pages.start, facts.granule) + facts.pages.start;
    if delivered.address >= first_lost {
        let cause = Cause::Truncated { len_now: file.length };
        return lost(cause, libc::EFAULT, end, first_lost..facts.pages.end);
    }
    in_file(facts, delivered, &file, page, file.length >= end_wanted)
}

/// The file reaches beyond the page; `is_long` if it reaches as far as it did.
fn in_file(
    facts: &Facts,
    delivered: &Delivered,
    file: &Identity,
    page: Range<usize>,
    is_long: bool,
) -> Finding {
    let write = delivered.write.unwrap_or(false);
    let needs_space = write && facts.sharing == libc::MAP_SHARED;
    if needs_space && facts.can_reserve {
        let reserved = reserve(facts, file.length, &page);
        if let Err(errno @ (libc::ENOSPC | libc::EDQUOT)) = reserved {
            return lost(Cause::NoSpace, errno, page.start, page);
        }
        if are_there(&page, true) {
            return Finding::Healed;
        }
        // Somebody has made the file immutable.
        if reserved == Err(libc::EPERM) {
            return lost(Cause::Io(libc::EPERM), libc::EPERM, page.start, page);
        }
    } else if are_there(&page, needs_space) {
        if write && !needs_space && !are_there(&page, true) {
            return Finding::NoRoom;
        }
        // What is written through the map itself moves the time of change: then that is no sign.
        let as_mapped = facts.is_written_through() || file.changed == facts.identity.changed;
        if is_long && as_mapped {
            return Finding::Healed;
        }
        // It was cut and is long enough again: what is there now are other bytes, and where it was
        // cut nobody knows.
        let cause = Cause::Truncated { len_now: file.length };
        return lost(cause, libc::EFAULT, facts.data, page.start..page.start);
    }
    if let Err(errno) = read_byte(facts, &page) {
        return lost(Cause::Io(errno), errno, page.start, page);
    }
    if is_full(facts.descriptor) {
        return lost(Cause::NoSpace, libc::ENOSPC, page.start, page);
    }
    lost(Cause::Unknown, libc::EFAULT, page.start, page)
}

fn without_descriptor(facts: &Facts, delivered: &Delivered, page: Range<usize>) -> Finding {
    if are_there(&page, delivered.write.unwrap_or(false)) {
        // There again, but nobody can say whether it is the same.
        return lost(Cause::Unknown, libc::EFAULT, facts.data, page.start..page.start);
    }
    lost(Cause::Unknown, libc::EFAULT, page.start, page)
}

fn lost(cause: Cause, errno: c_int, from: usize, pages: Range<usize>) -> Finding {
    Finding::Lost { fault: Fault::of(cause, errno), from, pages }
}

/// A page that looks as if it were there, and is not.
pub(super) fn unknown(facts: &Facts, address: usize) -> Finding {
    let page = page_of(facts, address);
    lost(Cause::Unknown, libc::EFAULT, page.start, page)
}

/// The page, or huge page, of an address.
pub(super) fn page_of(facts: &Facts, address: usize) -> Range<usize> {
    let start = facts.pages.start + (address - facts.pages.start) / facts.granule * facts.granule;
    start..(start + facts.granule).min(facts.pages.end)
}

/// The address where the file ends, at most the end of the map.
fn end_of_file(facts: &Facts, length: u64) -> usize {
    let in_map = length.saturating_sub(facts.file_offset).min(facts.pages.len() as u64);
    facts.pages.start + in_map as usize
}

fn round_up(length: usize, granule: usize) -> usize {
    length.div_ceil(granule) * granule
}

/// Asks for the page's blocks, without making the file longer: the errno tells whether there is
/// space.
///
/// Only up to the file's end, so that no RLIMIT_FSIZE is met. As bare system calls, here and below:
/// the C library's functions are cancellation points.
fn reserve(facts: &Facts, length: u64, page: &Range<usize>) -> Result<(), c_int> {
    let offset = file_offset(facts, page);
    reserve_at(facts.descriptor, offset, (page.len() as u64).min(length.saturating_sub(offset)))
}

/// As [`reserve`], of a file that was just found to be the mapped one.
#[cfg(target_os = "linux")]
pub(crate) fn reserve_at(descriptor: c_int, offset: u64, count: u64) -> Result<(), c_int> {
    let mode = libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: numbers only.
    match unsafe { libc::syscall(libc::SYS_fallocate, descriptor, mode, offset, count) } {
        0 => Ok(()),
        _ => Err(crate::sys::call::errno()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn reserve_at(_descriptor: c_int, _offset: u64, _count: u64) -> Result<(), c_int> {
    Err(libc::EOPNOTSUPP)
}

/// Reads the page's first byte from the file: an input/output error shows again.
fn read_byte(facts: &Facts, page: &Range<usize>) -> Result<(), c_int> {
    read_byte_at(facts.descriptor, file_offset(facts, page))
}

/// Reads one byte of a file, for the sake of its error.
#[cfg(target_os = "linux")]
pub(crate) fn read_byte_at(descriptor: c_int, offset: u64) -> Result<(), c_int> {
    let mut byte = 0_u8;
    // SAFETY: room for one byte.
    let read = unsafe { libc::syscall(libc::SYS_pread64, descriptor, &raw mut byte, 1, offset) };
    if read >= 0 {
        return Ok(());
    }
    match crate::sys::call::errno() {
        // The descriptor cannot read so (O_DIRECT, or for writing only): no news.
        libc::EINVAL | libc::EBADF | libc::EINTR | libc::EAGAIN => Ok(()),
        errno => Err(errno),
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn read_byte_at(_descriptor: c_int, _offset: u64) -> Result<(), c_int> {
    Ok(())
}

fn file_offset(facts: &Facts, page: &Range<usize>) -> u64 {
    facts.file_offset + (page.start - facts.pages.start) as u64
}

/// Whether the file system has next to nothing left.
#[cfg(target_os = "linux")]
pub(crate) fn is_full(descriptor: c_int) -> bool {
    let mut room = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: room for one struct; a bare system call.
    if unsafe { libc::fstatfs(descriptor, room.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: the call returned 0, so it filled the struct.
    let room = unsafe { room.assume_init_ref() };
    room.f_blocks != 0 && room.f_bavail.saturating_mul(room.f_bsize as u64) <= NEXT_TO_NOTHING
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn is_full(_descriptor: c_int) -> bool {
    false
}

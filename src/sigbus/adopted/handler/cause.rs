//! Why a page of an adopted file is lost. Bare system calls only.
//!
//! The kept descriptor is asked, or the path if it still names the file. Where neither can say, the
//! cause is unknown; the page is replaced all the same.

use super::super::entry::Entry;
use super::super::kept::Silent;
use super::super::name::{in_maps, opened};
use super::area::Area;
use crate::chain::Fault as Delivered;
use crate::sigbus::fault::{Cause, Fault};
use crate::sigbus::handler::present::{DAMAGED, are_there};
use crate::sigbus::handler::{MEMORY, cause::is_full, cause::read_byte_at, cause::reserve_at};
use crate::sigbus::identity::Identity;
use crate::sys::passing::Passing;
use std::ffi::{CStr, c_int};
use std::mem::MaybeUninit;
use std::ops::Range;

/// What a look at the file has shown.
pub(super) enum Finding {
    /// The page can be had again, as it was: nothing is lost.
    Healed,
    /// Bytes are lost, from `fault.offset` in the file on.
    Lost {
        fault: Fault,
        /// The addresses around the page that are lost as well; none if the kernel has others there
        /// by now.
        end: Option<Range<usize>>,
    },
}

/// Looks for the cause of a fault in `page`. `renamed`: the file is the one that has the adopted
/// path now.
#[inline(never)]
pub(super) fn find(
    entry: &Entry,
    renamed: bool,
    area: &Area,
    delivered: &Delivered,
    page: &Range<usize>,
) -> Finding {
    let offset = area.offset_at(page.start);
    if delivered.code == MEMORY {
        let size = page.len().max(1_usize.checked_shl(delivered.shift).unwrap_or(0));
        let start = (delivered.address / size * size).max(area.start);
        let pages = start..(start + size).min(area.end);
        return lost(Cause::Hardware, DAMAGED, area.offset_at(start), Some(pages));
    }
    let write = delivered.write.unwrap_or(false);
    let file = match File::of(entry, renamed, area) {
        Ok(file) => file,
        Err(Some(errno)) => return lost(Cause::Io(errno), errno, offset, Some(page.clone())),
        Err(None) => {
            // There again, but nobody can say whether it is the same.
            let pages = (!are_there(page, write)).then(|| page.clone());
            return lost(Cause::Unknown, libc::EFAULT, offset, pages);
        }
    };
    let length = file.identity.length;
    if offset >= length {
        let first = length.saturating_sub(area.offset).min((area.end - area.start) as u64) as usize;
        let first = area.start + first.next_multiple_of(page.len());
        let start = entry.range.map_or(length, |range| length.max(range.offset));
        return lost(
            Cause::Truncated { len_now: length },
            libc::EFAULT,
            start,
            Some(first..area.end),
        );
    }
    if are_there(page, write && area.shared) {
        let (is_long, changed) = entry.compare(&file.identity);
        if area.is_written_through() || is_long && !changed && !renamed {
            return Finding::Healed;
        }
        // It was cut and is long enough again: what is there now are other bytes, and where it was
        // cut nobody knows.
        let start = entry.range.map_or(0, |range| range.offset);
        return lost(Cause::Truncated { len_now: length }, libc::EFAULT, start, None);
    }
    let pages = Some(page.clone());
    if let Err(errno) = file.read_byte(offset) {
        return lost(Cause::Io(errno), errno, offset, pages);
    }
    if write && area.is_written_through() {
        match file.reserve(offset, page.len()) {
            Err(errno @ (libc::ENOSPC | libc::EDQUOT)) => {
                return lost(Cause::NoSpace, errno, offset, pages);
            }
            Ok(()) if are_there(page, true) => return Finding::Healed,
            _ => {}
        }
    }
    if file.is_full() {
        return lost(Cause::NoSpace, libc::ENOSPC, offset, pages);
    }
    lost(Cause::Unknown, libc::EFAULT, offset, pages)
}

fn lost(cause: Cause, errno: c_int, offset: u64, end: Option<Range<usize>>) -> Finding {
    Finding::Lost { fault: Fault { offset, ..Fault::of(cause, errno) }, end }
}

/// The mapped file, as something that can be asked.
struct File<'a> {
    identity: Identity,
    way: Way<'a>,
}

enum Way<'a> {
    /// A kept descriptor that is certainly the file's.
    Kept(c_int),
    /// A path that names the file now.
    Path(&'a CStr),
}

impl<'a> File<'a> {
    /// None, or what the file system answers, if it cannot be asked.
    #[inline(never)]
    fn of(entry: &'a Entry, renamed: bool, area: &Area) -> Result<Self, Option<c_int>> {
        if !renamed {
            match entry.kept.current(&entry.identity) {
                Ok(identity) => return Ok(Self { identity, way: Way::Kept(entry.kept.number()) }),
                Err(Silent::Errno(errno)) => return Err(Some(errno)),
                Err(Silent::None | Silent::NotOurs) => {}
            }
        }
        let path = entry.shown.as_deref().ok_or(None)?;
        let identity = named(path).ok_or(None)?;
        let is = if renamed {
            // Where the kernel's names are not those of stat(2), the path is all there is to go by.
            identity.inode == area.file.1 || in_maps(identity.device) != area.file.0
        } else {
            identity.is_same_file(&entry.identity)
        };
        if is { Ok(Self { identity, way: Way::Path(path) }) } else { Err(None) }
    }

    fn open(&self) -> Result<Passing, c_int> {
        self.open_for(libc::O_RDONLY)
    }

    fn open_for(&self, access: c_int) -> Result<Passing, c_int> {
        match self.way {
            Way::Kept(fd) => opened(fd, access),
            Way::Path(path) => Passing::open(path, access),
        }
    }

    /// Asks for the block of a page that a store has not got, without making the file longer: only
    /// the answer tells a full disk from a quota.
    fn reserve(&self, offset: u64, length: usize) -> Result<(), c_int> {
        let file = self.open_for(libc::O_RDWR)?;
        reserve_at(
            file.fd,
            offset,
            (length as u64).min(self.identity.length.saturating_sub(offset)),
        )
    }

    /// An input/output error shows again.
    fn read_byte(&self, offset: u64) -> Result<(), c_int> {
        match self.open() {
            Ok(file) => read_byte_at(file.fd, offset),
            // No descriptor left, no right to read, a lease, no /proc: no news of the page.
            Err(
                libc::EMFILE
                | libc::ENFILE
                | libc::EACCES
                | libc::EPERM
                | libc::EAGAIN
                | libc::ENOENT,
            ) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn is_full(&self) -> bool {
        match self.way {
            Way::Kept(fd) => is_full(fd),
            Way::Path(_) => self.open().is_ok_and(|file| is_full(file.fd)),
        }
    }
}

#[inline(never)]
fn named(path: &CStr) -> Option<Identity> {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: a NUL-terminated path and room for one struct; stat(2) is signal-safe.
    let failed = unsafe { libc::stat(path.as_ptr(), status.as_mut_ptr()) } != 0;
    // SAFETY: the call returned 0, so it filled the struct.
    (!failed).then(|| Identity::of(unsafe { status.assume_init_ref() }))
}

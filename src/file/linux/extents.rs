//! Which parts of a file have blocks, by FIEMAP (Documentation/filesystems/fiemap.rst).
//!
//! lseek(2) with SEEK_HOLE will not do: to it, blocks that were reserved and not yet written are a
//! hole.

use crate::sys::call::again;
use std::ffi::c_int;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A run of blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::file) struct Extent {
    /// In bytes from the start of the file.
    pub(super) range: Range<u64>,
}

/// `struct fiemap`, with room for this many extents.
const ROOM: usize = 64;
#[repr(C)]
struct Request {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    room: u32,
    reserved: u32,
    extents: [RawExtent; ROOM],
}

/// `struct fiemap_extent`.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawExtent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

/// `FS_IOC_FIEMAP`.
const FIEMAP: u64 = 0xc020_660b;
/// Dirty pages are written first, so that what was written says so.
const SYNC: u32 = 1;
const LAST: u32 = 1;

/// The extents that touch `range`, cut to it, in order. With `settled`, what was written through
/// page cache and maps is on the disk first. `EOPNOTSUPP` or `ENOTTY` where the file system has no
/// such list.
pub(in crate::file) fn extents(
    file: BorrowedFd<'_>,
    range: &Range<u64>,
    settled: bool,
) -> Result<Vec<Extent>, c_int> {
    let mut found = Vec::new();
    let mut request = Request {
        start: range.start,
        length: 0,
        flags: if settled { SYNC } else { 0 },
        mapped: 0,
        room: ROOM as u32,
        reserved: 0,
        extents: [RawExtent {
            logical: 0,
            physical: 0,
            length: 0,
            reserved64: [0; 2],
            flags: 0,
            reserved: [0; 3],
        }; ROOM],
    };
    while request.start < range.end {
        request.length = range.end - request.start;
        request.mapped = 0;
        let at = &raw mut request;
        // SAFETY: a whole request; the kernel fills at most the room that it names.
        again(|| i64::from(unsafe { libc::ioctl(file.as_raw_fd(), FIEMAP as _, at) }))?;
        let mapped = request.extents.get(..request.mapped as usize).unwrap_or_default();
        let Some(last) = mapped.last() else { break };
        found.extend(mapped.iter().filter_map(|raw| {
            let cut = raw.logical.max(range.start)..(raw.logical + raw.length).min(range.end);
            (!cut.is_empty()).then_some(Extent { range: cut })
        }));
        if last.flags & LAST != 0 {
            break;
        }
        request.start = (last.logical + last.length).max(request.start + 1);
    }
    Ok(found)
}

/// The parts of `range` that none of `extents`, which are in order, has.
pub(super) fn gaps(range: &Range<u64>, extents: &[Extent]) -> Vec<Range<u64>> {
    let mut gaps = Vec::new();
    let mut at = range.start;
    for extent in extents {
        if extent.range.start >= range.end {
            break;
        }
        if extent.range.start > at {
            gaps.push(at..extent.range.start);
        }
        at = at.max(extent.range.end);
    }
    if at < range.end {
        gaps.push(at..range.end);
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(range: Range<u64>) -> Extent {
        Extent { range }
    }

    #[test]
    fn gaps_are_what_is_left() {
        let extents = [extent(0..4), extent(8..12), extent(12..16), extent(20..24)];
        let left = |range| {
            gaps(&range, &extents).into_iter().map(|gap| (gap.start, gap.end)).collect::<Vec<_>>()
        };
        assert_eq!(left(0..24), [(4, 8), (16, 20)]);
        assert_eq!(left(2..6), [(4, 6)]);
        assert_eq!(left(9..15), []);
        assert_eq!(left(18..30), [(18, 20), (24, 30)]);
        assert_eq!(left(30..31), [(30, 31)]);
    }
}

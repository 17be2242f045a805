//! Whether a range can be adopted: it is wholly mapped, from one file, and nobody guards it yet.

use crate::mapping::Error;
use crate::sigbus::adopted::entry::Range;
use crate::sigbus::adopted::handler::area::{self, Area, area_at};
use crate::sigbus::adopted::list::LockedList;
use crate::sigbus::adopted::name;
use crate::sigbus::identity::Identity;
use crate::sigbus::registry;
use crate::sys::pages::page_size;
use std::ffi::c_int;

const NOT_MAPPED: Error = Error::Invalid("the range is not wholly mapped from a file");

/// How the kernel names the file, and bytes of a page.
pub(super) fn check(
    held: &mut LockedList<'static>,
    range: &Range,
    file: Option<(c_int, &Identity)>,
) -> Result<((u64, u64), usize), Error> {
    let Range { address, length, offset } = *range;
    if address == 0 || length == 0 {
        return Err(Error::Invalid("there is nothing to guard in an empty range"));
    }
    if address % page_size() != 0 {
        return Err(Error::Invalid("the address is not aligned to a page"));
    }
    let end = address.checked_add(length).and_then(|end| end.checked_next_multiple_of(page_size()));
    let end = end.filter(|end| isize::try_from(end - address).is_ok()).ok_or(Error::Overflow)?;
    offset.checked_add(length as u64).ok_or(Error::Overflow)?;
    let named = file.map(|(fd, identity)| name::of(fd, identity, held.scratch())).transpose()?;
    let area = one_mapping(held, address, end, offset)?;
    if named.is_some_and(|(name, _)| name != area.file) {
        return Err(Error::Invalid("the descriptor is not that of the mapped file"));
    }
    if registry::guarded_in(&(address..end))?.is_some() || held.has_range(range, area.file) {
        return Err(Error::Overlap);
    }
    let granule = named.map_or(area.page, |(_, granule)| granule).max(page_size());
    let granule = if area.page == 0 && named.is_none() { kernel_page(address)? } else { granule };
    if granule > page_size() && area.is_written_through() {
        return Err(Error::System { call: "adopt", errno: libc::EOPNOTSUPP });
    }
    Ok((area.file, granule))
}

/// The mapping that the range begins in; all that it reaches into shows the bytes that follow.
fn one_mapping(
    held: &mut LockedList<'static>,
    start: usize,
    end: usize,
    offset: u64,
) -> Result<Area, Error> {
    let first =
        area_at(start, held.scratch()).filter(|area| area.file != (0, 0)).ok_or(NOT_MAPPED)?;
    if first.offset_at(start) != offset {
        return Err(Error::Invalid("the mapping begins elsewhere in the file"));
    }
    let mut last = first;
    loop {
        if last.protection & libc::PROT_EXEC != 0 {
            return Err(Error::Executable);
        }
        if last.end >= end {
            return Ok(first);
        }
        let next = area_at(last.end, held.scratch()).ok_or(NOT_MAPPED)?;
        let follows = next.file == last.file && next.offset == last.offset_at(last.end);
        if !follows || next.shared != first.shared {
            return Err(NOT_MAPPED);
        }
        last = next;
    }
}

/// Bytes of a page of the mapping at `address`, for kernels before `PROCMAP_QUERY`:
/// /proc/self/smaps says it.
fn kernel_page(address: usize) -> Result<usize, Error> {
    let smaps =
        std::fs::read("/proc/self/smaps").map_err(|error| Error::of(&error, "/proc/self/smaps"))?;
    let mut inside = false;
    for line in smaps.split(|byte| *byte == b'\n') {
        if let Some((area, _)) = area::parse(line) {
            inside = (area.start..area.end).contains(&address);
        } else if let Some(rest) = line.strip_prefix(b"KernelPageSize:").filter(|_| inside) {
            let digits = rest.iter().filter(|byte| byte.is_ascii_digit());
            let kib = digits.fold(0_usize, |value, digit| value * 10 + usize::from(digit - b'0'));
            return Ok((kib << 10).max(page_size()));
        }
    }
    Ok(page_size())
}

//! All mappings and patches of an adopted file, as /proc/self/maps shows them.

use crate::mapping::Error;
use crate::sigbus::adopted::entry::Entry;
use crate::sigbus::adopted::handler::area::{Area, parse};
use crate::sigbus::adopted::handler::zero::{self, Patch};
use crate::sigbus::adopted::kept::{self, Silent};
use crate::sigbus::adopted::name::opened;
use crate::sigbus::identity;
use crate::sys::passing::Passing;
use std::ffi::c_int;

/// Every mapping of this process for which `of` has something to say; it sees the path as well.
fn mappings<T>(mut of: impl FnMut(&Area, &[u8]) -> Option<T>) -> Result<Vec<T>, Error> {
    let maps =
        std::fs::read("/proc/self/maps").map_err(|error| Error::of(&error, "/proc/self/maps"))?;
    let found = maps.split(|byte| *byte == b'\n').filter_map(|line| {
        let (area, path) = parse(line)?;
        of(&area, line.get(path..).unwrap_or_default())
    });
    Ok(found.collect())
}

/// How many mappings show the file or patches of it; neighbours that differ in that only are one.
pub(super) fn count(entry: &Entry) -> usize {
    let shown = entry.shown.as_deref().map(std::ffi::CStr::to_bytes);
    let areas = mappings(|area, path| {
        let offset = if let Some(patch) = Patch::of(area) {
            (patch.number == entry.number).then_some(patch.offset)
        } else {
            let is = area.file == entry.file || area.file.1 != 0 && Some(path) == shown;
            (is && area.protection & libc::PROT_EXEC == 0).then_some(area.offset)
        }?;
        is_in_range(entry, area, offset).then_some((area.start, area.end, offset, area.protection))
    });
    let mut last = None;
    let mut count = 0;
    for (start, end, offset, protection) in areas.unwrap_or_default() {
        count += usize::from(last != Some((start, offset, protection)));
        last = Some((end, offset + (end - start) as u64, protection));
    }
    count
}

fn is_in_range(entry: &Entry, area: &Area, offset: u64) -> bool {
    entry.range.is_none_or(|range| {
        let end = offset + (area.end - area.start) as u64;
        let at = area.start.wrapping_add(range.offset.wrapping_sub(offset) as usize);
        range.offset < end && offset < range.offset + range.length as u64 && at == range.address
    })
}

/// Maps the file over every patch of it, and forgets the loss. Under the lock of the list.
pub(super) fn heal(entry: &Entry) -> Result<(), Error> {
    let patches = mappings(|area, _| {
        let patch = Patch::of(area).filter(|patch| patch.number == entry.number)?;
        Some((*area, patch))
    })?;
    // A descriptor that is not ours any more must not be mapped, and says that the host has closed
    // it.
    let now = match entry.kept.current(&entry.identity) {
        Ok(now) => now,
        Err(Silent::NotOurs) => return Err(identity::NOT_OURS.into()),
        Err(Silent::Errno(errno)) => return Err(Error::System { call: "fstat", errno }),
        Err(Silent::None) if entry.range.is_some() => return Err(NO_DESCRIPTOR),
        Err(Silent::None) => kept::of_path(entry.path.as_deref().ok_or(NO_DESCRIPTOR)?)?,
    };
    if patches.is_empty()
        && entry.fault().is_some_and(|fault| fault.address != 0)
        && !zero::is_open()
    {
        return Err(Error::Invalid("without /dev/zero the lost pages cannot be found again"));
    }
    if patches.iter().any(|(_, patch)| patch.by_path) {
        // Which file it was that had the path then, nobody knows any more.
        return Err(Error::Changed { replaced: true });
    }
    for (area, patch) in patches {
        map_file_over(entry, &area, patch)?;
    }
    entry.forget();
    entry.nothing_is_sunk();
    entry.note(&now);
    Ok(())
}

const NO_DESCRIPTOR: Error = Error::Invalid("without a descriptor the file cannot be mapped again");

fn map_file_over(entry: &Entry, area: &Area, patch: Patch) -> Result<(), Error> {
    let write = patch.shared && area.protection & libc::PROT_WRITE != 0;
    let file = readable(entry, if write { libc::O_RDWR } else { libc::O_RDONLY })
        .map_err(|errno| Error::System { call: "open", errno })?;
    let sharing = if patch.shared { libc::MAP_SHARED } else { libc::MAP_PRIVATE };
    let offset = libc::off_t::try_from(patch.offset).map_err(|_| Error::Overflow)?;
    let (place, kind) = (area.start as *mut libc::c_void, sharing | libc::MAP_FIXED);
    // SAFETY: pages of our own patch, in the place of the file's.
    let pages =
        unsafe { libc::mmap(place, area.end - area.start, area.protection, kind, file.fd, offset) };
    if pages == libc::MAP_FAILED { Err(Error::system("mmap")) } else { Ok(()) }
}

/// The file, open to be mapped; by its path, only if that names it.
fn readable(entry: &Entry, access: c_int) -> Result<Passing, c_int> {
    if entry.kept.current(&entry.identity).is_ok() {
        return opened(entry.kept.number(), access);
    }
    let file = Passing::open(entry.path.as_deref().ok_or(libc::EBADF)?, access)?;
    let now = identity::of_mappable(file.fd).map_err(|why| Error::from(why).errno())?;
    if now.is_same_file(&entry.identity) { Ok(file) } else { Err(libc::ESTALE) }
}

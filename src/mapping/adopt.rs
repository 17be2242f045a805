//! Guarding mappings that somebody else made: one by its address, or every one of a file in this process.
//!
//! The owner goes on to own them. If it unmaps one without telling, a later fault at its addresses is somebody else's: before
//! a page is replaced, the handler asks the kernel whether the file is still there (`handler/area.rs`).

use super::error::Error;
use super::fault::Fault;
use super::handler::area::{Area, area_at, parse, reach};
use super::handler::backing::{has_name, is_patch, new_offset};
use super::identity::{self, Identity};
use super::map::Map;
use super::options::MapOptions;
use super::registry::pin::pin;
use super::registry::{self, Facts, Slot, find};
use super::{granule_of, open, page_size, seat, spare};
use std::ffi::CStr;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::path::Path;

impl Map {
    /// Guards a mapping that somebody else made: memmap2's, SQLite's, Go's `syscall.Mmap`. The map does not own the pages:
    /// dropping it leaves them, lost ones as zeros. With the file's descriptor (a duplicate is kept) causes can be told.
    /// `address` must be aligned to a page; `length` may end anywhere; `file_offset` is where in the file `address` is.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the range is empty, not aligned, not mapped, not of one file or not of this file,
    /// [`Error::Executable`], [`Error::Overlap`] if part of it is guarded already, [`Error::Overflow`], [`Error::System`].
    ///
    /// # Safety
    /// While the map lives, lost pages of the range read as zeros without a signal: whoever reads them by other ways has to
    /// look at [`Map::check`] afterwards, or accept the zeros.
    pub unsafe fn adopt(
        address: *mut u8,
        length: usize,
        file: Option<BorrowedFd<'_>>,
        file_offset: u64,
    ) -> Result<Self, Error> {
        seat::guard()?;
        spare::fill();
        let own = file.map(copy).transpose()?;
        adopt_owned(address.addr(), length, own, file_offset, None)
    }
}

fn adopt_owned(
    address: usize,
    length: usize,
    file: Option<OwnedFd>,
    file_offset: u64,
    over: Option<&'static Slot>,
) -> Result<Map, Error> {
    if address == 0 || length == 0 {
        return Err(Error::Invalid("there is nothing to guard in an empty range"));
    }
    if !address.is_multiple_of(page_size()) {
        return Err(Error::Invalid("the address is not aligned to a page"));
    }
    let identity = file.as_ref().map(|file| identity::of_mappable(file.as_raw_fd())).transpose()?;
    let granule = match (&file, &identity) {
        (Some(file), Some(identity)) => granule_of(file.as_raw_fd(), identity.block)?,
        _ => page_size(),
    };
    let end = address.checked_add(length).and_then(|end| end.checked_next_multiple_of(granule));
    let end = end.filter(|end| isize::try_from(end - address).is_ok()).ok_or(Error::Overflow)?;
    file_offset.checked_add(length as u64).ok_or(Error::Overflow)?;
    let area = one_mapping(address..end, file_offset)?;
    let mut can_reserve = false;
    if let Some(file) = &file {
        if name_in_maps(file.as_fd())? != area.file {
            return Err(Error::Invalid("the descriptor is not that of the mapped file"));
        }
        can_reserve = is_open_for_writing(file) && area.shared && area.protection & libc::PROT_WRITE != 0;
    }
    let facts = Facts {
        pages: address..end,
        data: address,
        length,
        capacity: length,
        grows: false,
        file_offset,
        descriptor: file.map_or(-1, IntoRawFd::into_raw_fd),
        can_reserve,
        protection: area.protection,
        sharing: if area.shared { libc::MAP_SHARED } else { libc::MAP_PRIVATE },
        adopted: true,
        retired: false,
        patch_offset: new_offset(),
        area_file: area.file,
        granule,
        identity: identity.unwrap_or(Identity::UNKNOWN),
        path: std::ptr::null(),
    };
    forget_stale(&facts.pages);
    Map::register(&facts, MapOptions::new(), over)
}

/// The mapping that the whole range belongs to: neighbours count as one if they differ in nothing but their place.
fn one_mapping(range: Range<usize>, file_offset: u64) -> Result<Area, Error> {
    const NOT_MAPPED: Error = Error::Invalid("the range is not wholly mapped from a file");
    let first = area_at(range.start).filter(|area| area.file != (0, 0)).ok_or(NOT_MAPPED)?;
    if first.protection & libc::PROT_EXEC != 0 {
        return Err(Error::Executable);
    }
    if first.offset + (range.start - first.start) as u64 != file_offset {
        return Err(Error::Invalid("the mapping begins elsewhere in the file"));
    }
    let mut last = first;
    while last.end < range.end {
        let next = area_at(last.end).ok_or(NOT_MAPPED)?;
        let follows = next.file == last.file && next.offset == last.offset + (last.end - last.start) as u64;
        if !follows || next.shared != first.shared {
            return Err(NOT_MAPPED);
        }
        if next.protection & libc::PROT_EXEC != 0 {
            return Err(Error::Executable);
        }
        if next.protection != first.protection {
            return Err(Error::Invalid("parts of the range have different rights: adopt them one by one"));
        }
        last = next;
    }
    Ok(first)
}

/// How /proc/self/maps names this file: the kernel's own names, which on btrfs and overlayfs are not those of stat(2).
fn name_in_maps(file: BorrowedFd<'_>) -> Result<(u64, u64), Error> {
    let granule = granule_of(file.as_raw_fd(), identity::of_mappable(file.as_raw_fd())?.block)?;
    let (access, kind) = (libc::PROT_READ, libc::MAP_PRIVATE);
    // SAFETY: a new mapping that is only looked at from outside.
    let look = unsafe { libc::mmap(std::ptr::null_mut(), granule, access, kind, file.as_raw_fd(), 0) };
    if look == libc::MAP_FAILED {
        return Err(Error::system("mmap"));
    }
    let area = area_at(look.addr());
    // SAFETY: the mapping just made.
    unsafe { libc::munmap(look, granule) };
    area.map(|area| area.file).ok_or(Error::System { call: "/proc/self/maps", errno: libc::ENOENT })
}

fn is_open_for_writing(file: &OwnedFd) -> bool {
    // SAFETY: an open descriptor; asks only.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    flags >= 0 && flags & libc::O_ACCMODE != libc::O_RDONLY
}

/// Adopted maps whose owner has unmapped them stand in nobody's way. They lose no more than the addresses in the range: their
/// owner may have kept others.
fn forget_stale(range: &Range<usize>) {
    let mut at = range.start;
    while let Some(address) = registry::guarded_in(&(at..range.end)) {
        let Some(pinned) = pin(|| find(address), Slot::wiped) else { continue };
        let (slot, facts) = (pinned.slot, pinned.slot.facts());
        let (stale, end) = super::handler::quietly(slot, || match reach(slot, address) {
            Some(reach) => (false, reach.pages.end),
            None => (true, area_at(address).map_or(address + facts.granule, |area| area.end)),
        });
        at = end.min(facts.pages.end).min(range.end);
        if stale {
            registry::forget(slot, &(address..at));
        }
    }
}

/// Maps the file's own pages over the patches of an adopted map again.
pub(super) fn heal(map: &Map) -> Result<(), Error> {
    let facts = map.facts();
    if facts.descriptor < 0 || !has_name() {
        return Err(Error::Invalid(
            "without a descriptor, or without /dev/zero, the file cannot be mapped again",
        ));
    }
    let slot = map.slot();
    super::handler::quietly(slot, || {
        for patch in with_patches(map) {
            map_file_over(facts, &patch)?;
        }
        slot.forget();
        Ok(())
    })
}

/// Maps the file over what is left of a patch: its owner may have put something else over parts of it.
fn map_file_over(facts: &Facts, patch: &Range<usize>) -> Result<(), Error> {
    let mut at = patch.start;
    while at < patch.end {
        let Some(area) = area_at(at) else {
            at += facts.granule;
            continue;
        };
        let end = area.end.min(patch.end);
        if is_patch(&area, facts, at) {
            let offset = facts.file_offset + (at - facts.pages.start) as u64;
            let offset = libc::off_t::try_from(offset).map_err(|_| Error::Overflow)?;
            let (place, kind) = (at as *mut libc::c_void, facts.sharing | libc::MAP_FIXED);
            // SAFETY: pages of our own patch, in the place of the file's.
            let pages =
                unsafe { libc::mmap(place, end - at, facts.protection, kind, facts.descriptor, offset) };
            if pages == libc::MAP_FAILED {
                return Err(Error::system("mmap"));
            }
        }
        at = end;
    }
    Ok(())
}

/// Whether the addresses of an adopted map still show what they did: its file at its offset, or patches of it.
fn is_still_its_own(map: &Map) -> bool {
    let (facts, slot) = (map.facts(), map.slot());
    let stands = |address: usize| {
        slot.is_patched(address) || area_at(address).is_some_and(|area| area.shows(facts, address))
    };
    let (start, last) = (facts.pages.start, facts.pages.end - facts.granule);
    [start, last].iter().all(|address| find(*address).is_some_and(|found| std::ptr::eq(found, slot)))
        && slot.patches().all(|patch| is_patch_at(facts, patch.start))
        && stands(start)
        && stands(last)
}

fn is_patch_at(facts: &Facts, address: usize) -> bool {
    area_at(address).is_some_and(|area| is_patch(&area, facts, address))
}

/// Where patches of a map may be: if there are more than can be remembered, anywhere.
fn with_patches(map: &Map) -> impl Iterator<Item = Range<usize>> {
    let slot = map.slot();
    slot.patches().chain(slot.is_scattered().then(|| map.facts().pages.clone()))
}

/// Whether any of an adopted map's patches is still there, be it in part: its zeros must be told of, and healed.
fn has_patches(map: &Map) -> bool {
    let facts = map.facts();
    with_patches(map).any(|patch| {
        let mut at = patch.start;
        while at < patch.end {
            let area = area_at(at);
            if area.is_some_and(|area| is_patch(&area, facts, at)) {
                return true;
            }
            at = area.map_or(at + facts.granule, |area| area.end);
        }
        false
    })
}

fn copy(file: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    file.try_clone_to_owned().map_err(|error| Error::of(&error, "fcntl"))
}

/// The parts of a range that no map is registered for, those left out whose owner has unmapped them.
fn unguarded(range: &Range<usize>) -> Vec<Range<usize>> {
    forget_stale(range);
    let mut parts = Vec::new();
    let mut at = range.start;
    while let Some(gap) = registry::gap_in(&(at..range.end)) {
        at = registry::guarded_in(&(gap..range.end)).unwrap_or(range.end);
        parts.push(gap..at);
    }
    parts
}

/// Every mapping of one file in this process, guarded: for libraries that map by themselves (SQLite, bbolt, LMDB).
///
/// Lost pages read as zeros there, and the library is not asked: look at [`Adopted::status`] where its answers matter, and
/// take what it said since as void if something is lost. When it maps anew, [`Adopted::rescan`] follows.
///
/// Thread-safe; in a forked child the maps are guarded as well; not for signal handlers.
#[derive(Debug)]
pub struct Adopted {
    file: ManuallyDrop<OwnedFd>,
    identity: Identity,
    maps: Vec<Map>,
}

impl Drop for Adopted {
    fn drop(&mut self) {
        // Somebody may have closed the descriptor, and its number may be another file's.
        let now = identity::of_mappable(self.file.as_raw_fd());
        if now.is_ok_and(|now| now.is_same_file(&self.identity)) {
            // SAFETY: used no more.
            unsafe { ManuallyDrop::drop(&mut self.file) };
        }
    }
}

/// Guards every mapping of the file at `path` that this process has now, executable ones left out. There may be none yet:
/// see [`Adopted::rescan`].
///
/// # Errors
/// As [`Map::open`], but an empty file will do; [`Error::System`] if /proc/self/maps cannot be read.
pub fn adopt_file(path: impl AsRef<Path>) -> Result<Adopted, Error> {
    adopt_path(&identity::c_path(path.as_ref())?)
}

pub(crate) fn adopt_path(path: &CStr) -> Result<Adopted, Error> {
    seat::guard()?;
    spare::fill();
    // For writing if that is allowed: then a full disk can be told from other causes.
    let (file, identity) = open::open(path, true).or_else(|_| open::open(path, false))?;
    let mut adopted = Adopted { file: ManuallyDrop::new(file), identity, maps: Vec::new() };
    adopted.rescan()?;
    Ok(adopted)
}

impl Adopted {
    /// Guards mappings of the file that are new, lets go of those that are gone, and says how many there are now.
    ///
    /// # Errors
    /// As [`adopt_file`]; then those that were guarded still are.
    pub fn rescan(&mut self) -> Result<usize, Error> {
        let name = name_in_maps(self.file.as_fd())?;
        // One that is gone but has left patches behind still has a loss to tell of, and to heal.
        self.maps.retain(|map| is_still_its_own(map) || has_patches(map));
        let maps = std::fs::read("/proc/self/maps").map_err(|error| Error::of(&error, "/proc/self/maps"))?;
        let areas = maps.split(|byte| *byte == b'\n').filter_map(parse);
        for area in areas.filter(|area| area.file == name && area.protection & libc::PROT_EXEC == 0) {
            let range = area.start..area.end;
            // One that was made longer where it is: guarded anew as a whole, unless it has a loss to remember.
            let shorter = self.maps.iter_mut().find(|map| {
                let facts = map.facts();
                facts.pages.start == range.start && facts.pages.end < range.end && map.status().is_none()
            });
            if let Some(shorter) = shorter {
                let over = Some(shorter.slot());
                match adopt_owned(range.start, range.len(), Some(copy(self.file.as_fd())?), area.offset, over)
                {
                    Ok(longer) => *shorter = longer,
                    // What follows it is guarded as another map, or all of it is gone since we read.
                    Err(Error::Overlap | Error::Invalid(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            for part in unguarded(&range) {
                let offset = area.offset + (part.start - range.start) as u64;
                match adopt_owned(part.start, part.len(), Some(copy(self.file.as_fd())?), offset, None) {
                    Ok(map) => self.maps.push(map),
                    // Guarded meanwhile, or gone since we read.
                    Err(Error::Overlap | Error::Invalid(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(self.maps.len())
    }

    /// How many mappings are guarded.
    #[must_use]
    pub fn count(&self) -> usize {
        self.maps.len()
    }

    /// The loss at the lowest offset *in the file*, which is what its `offset` says; none while all is intact. Signal-safe.
    #[must_use]
    pub fn status(&self) -> Option<Fault> {
        let faults = self.maps.iter().filter_map(|map| {
            let fault = map.status()?;
            Some(Fault { offset: fault.offset + map.facts().file_offset, ..fault })
        });
        faults.min_by_key(|fault| fault.offset)
    }

    /// Maps the file's own pages over the patches again: what it has now is seen, and what was written to the patches is gone.
    /// Nobody may be reading meanwhile, and the owner has not unmapped any of them without a rescan.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn heal(&mut self) -> Result<(), Error> {
        self.maps.iter().try_for_each(heal)
    }
}

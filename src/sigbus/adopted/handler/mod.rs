//! One SIGBUS in a mapping that somebody else made, inside the handler.
//!
//! ```text
//!   which file is mapped? ─▶ adopted? ─▶ cause ─▶ tell ─▶ shared, writable? ─▶ zeros ─▶ run again
//!                              no ▼                             yes ▼
//!                                 └────── the predecessor ◀── last words
//! ```
//!
//! A lost page of a shared writable mapping is not replaced, unless a sink was asked for: a store
//! that survives the death of its process does not survive writes that silently go nowhere (LMDB,
//! SQLite's -shm).

pub(crate) mod area;
mod cause;
pub(crate) mod zero;

use super::entry::Entry;
use super::list::{self, Chain, LockedList, Marked};
use crate::chain::Fault as Delivered;
use crate::observe::{Event, counters, last_words};
use crate::sigbus::fault::Fault;
use crate::sigbus::handler::progress::is_stuck;
use crate::sigbus::handler::{Met, describe, present, zeros};
use crate::sys::mask::Mask;
use crate::sys::process::thread_id;
use area::{Area, area_at, path_at};
use cause::Finding;
use std::ops::Range;
use zero::Patch;

/// Whether anything is adopted.
pub(crate) fn is_any() -> bool {
    !list::is_empty()
}

/// Makes the faulting instruction go on, if it was in a mapping of an adopted file. All signals are
/// blocked.
#[inline(never)]
pub(crate) fn settle(met: &Met<'_>) -> bool {
    if list::is_empty() {
        return false;
    }
    match list::hold(met.thread) {
        Some(mut held) => resolve(&mut held, met),
        // Another thread has been at it for long: its file system does not answer. Running the
        // instruction again comes back here.
        None => true,
    }
}

/// Whether a fault at `address` would be looked after. Signal-safe.
pub(crate) fn is_guarded(address: usize) -> bool {
    if list::is_empty() {
        return false;
    }
    let signals = Mask::block_all();
    let guarded = list::hold(thread_id()).is_some_and(|mut held| {
        let area = area_at(address, held.scratch());
        area.is_some_and(|area| {
            Patch::of(&area).is_some() || find(&mut held, &area, address).is_some()
        })
    });
    signals.restore();
    guarded
}

fn resolve(held: &mut LockedList<'_>, met: &Met<'_>) -> bool {
    let delivered = met.fault;
    let Some(area) = area_at(delivered.address, held.scratch()) else { return false };
    let page = page_of(&area, delivered.address, crate::sys::pages::page_size());
    if let Some(patch) = Patch::of(&area) {
        // From before another thread's patch; or the patch itself is damaged, and a new one takes
        // its place.
        let again = is_there(&page, delivered) || {
            let patch = Patch { offset: Patch::offset_in(area.offset_at(page.start)), ..patch };
            // SAFETY: pages of a patch, which the kernel has just refused to the program.
            unsafe { zeros::put(&page, area.protection, patch.source(), || true) }
        };
        return again && !is_stuck(met);
    }
    if area.file == (0, 0) {
        // Anonymous memory. It raises no such signal: a patch has come here since, without a name.
        return is_there(&page, delivered) && !is_stuck(met);
    }
    if area.protection & libc::PROT_EXEC != 0 {
        return false;
    }
    let Some(found) = find(held, &area, delivered.address) else {
        // It is somebody else's fault, or the owner has mapped another file here since.
        return is_there(&page, delivered) && !is_stuck(met);
    };
    let Some(first) = found.entries.iter().next() else { return false };
    let page = page_of(&area, delivered.address, first.granule);
    match cause::find(first, found.by_path, &area, delivered, &page) {
        Finding::Healed => {
            counters::HEALED.add();
            !is_stuck(met)
        }
        Finding::Lost { mut fault, end } => {
            describe::complete(&mut fault, delivered);
            found.entries.iter().for_each(|entry| entry.publish(&fault));
            let lost = end.map(|end| stretch(first, &area, &page, end));
            let deadly = lost.as_ref().is_some_and(|lost| {
                area.is_written_through()
                    && !found.entries.iter().any(|entry| entry.may_sink(lost.len()))
            });
            tell(&found, first, &fault, delivered, deadly);
            match lost {
                Some(_) if deadly => false,
                Some(lost) => replace(first, &area, &lost, found.by_path),
                None => !is_stuck(met),
            }
        }
    }
}

/// The adopted files that a mapping belongs to.
struct Found<'a> {
    entries: Marked<'a>,
    /// The mapped file is another one than was adopted, and has its path now.
    by_path: bool,
}

/// Those that were adopted as this file; else those whose path it has now.
#[inline(never)]
fn find<'a>(held: &mut LockedList<'a>, area: &Area, address: usize) -> Option<Found<'a>> {
    let covers = |held: &mut LockedList<'a>, entry: &Entry| {
        entry.file == area.file
            && entry.covers(area, address, |place| shows(held, entry, area, address, place))
    };
    if let Some(entries) = held.mark(covers, Chain::of_file(area.file)) {
        return Some(Found { entries, by_path: false });
    }
    if !list::has_paths() {
        return None;
    }
    // The path is in the room that belongs to the lock, and nothing asks again meanwhile.
    let (chain, length) =
        path_at(address, held.scratch()).map(|path| (Chain::of_path(path), path.len()))?;
    let named = |held: &mut LockedList<'a>, entry: &Entry| {
        let shown = entry
            .shown
            .as_deref()
            .map(std::ffi::CStr::to_bytes)
            .filter(|shown| shown.len() == length);
        shown.is_some() && shown == held.scratch().path()
    };
    held.mark(named, chain).map(|entries| Found { entries, by_path: true })
}

/// Whether `place` shows the byte of the file that `address` shows, or the zeros that took its
/// place.
#[inline(never)]
fn shows(
    held: &mut LockedList<'_>,
    entry: &Entry,
    area: &Area,
    address: usize,
    place: usize,
) -> bool {
    let offset = area.offset_at(address);
    area_at(place, held.scratch()).is_some_and(|there| match Patch::of(&there) {
        Some(patch) => {
            patch.number == entry.number && Patch::offset_in(there.offset_at(place)) == offset
        }
        None => there.file == area.file && there.offset_at(place) == offset,
    })
}

/// The page, or huge page, of an address.
fn page_of(area: &Area, address: usize, granule: usize) -> Range<usize> {
    let size = if area.page == 0 { granule } else { area.page };
    let start = address / size * size;
    start.max(area.start)..(start + size).min(area.end)
}

fn is_there(page: &Range<usize>, delivered: &Delivered) -> bool {
    present::are_there(page, delivered.write.unwrap_or(false))
}

/// How much to replace: `page`, and what else is lost up to `lost`.
fn stretch(entry: &Entry, area: &Area, page: &Range<usize>, lost: Range<usize>) -> Range<usize> {
    let more = (entry.stride() - 1).saturating_mul(page.len());
    let start = page.start.saturating_sub(more).max(lost.start).max(area.start);
    start.min(page.start)..page.end.saturating_add(more).min(lost.end).min(area.end).max(page.end)
}

#[inline(never)]
fn replace(entry: &Entry, area: &Area, pages: &Range<usize>, by_path: bool) -> bool {
    let (number, offset) = (entry.number, area.offset_at(pages.start));
    let patch = Patch { number, offset, shared: area.shared, by_path };
    // SAFETY: pages of a mapping of the adopted file, which the kernel has just refused to the
    // program.
    unsafe { zeros::put(pages, area.protection, patch.source(), || true) }
}

/// One event for each cause and adoption, and last words if the process is to end.
#[inline(never)]
fn tell(found: &Found<'_>, first: &Entry, fault: &Fault, delivered: &Delivered, deadly: bool) {
    // All of them are asked: each remembers.
    let news = found.entries.iter().fold(false, |news, entry| entry.is_news(fault, deadly) | news);
    if !news {
        return;
    }
    let path = first.path.as_deref().map_or(std::ptr::null(), std::ffi::CStr::as_ptr);
    let mut event = Event::blank(libc::SIGBUS);
    describe::event(&mut event, fault, delivered, first.kept.number(), first.identity.inode, path);
    if deadly {
        last_words::of_loss(&event);
        crate::observe::ring::push(&event);
    } else {
        describe::report(&event);
    }
}

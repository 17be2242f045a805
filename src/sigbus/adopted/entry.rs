//! One adopted file, or range of one: how its mappings are known, and what they have lost.

use super::handler::area::Area;
use super::handler::zero::Patch;
use super::kept::Kept;
use crate::sigbus::fault::{Fault, Record};
use crate::sigbus::identity::Identity;
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

/// A part of a file that was mapped at an address when it was adopted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) address: usize,
    pub(crate) length: usize,
    /// In the file.
    pub(crate) offset: u64,
}

impl Range {
    /// The address that showed this byte of the file, if the range has it.
    pub(crate) fn address_of(&self, offset: u64) -> Option<usize> {
        let into = offset.checked_sub(self.offset)?;
        (into < self.length as u64).then(|| self.address + into as usize)
    }
}

/// What handlers know of it. They look at it under the lock of the list only.
pub(crate) struct Entry {
    /// The next one in its bucket of files, and of paths.
    pub(crate) next: [AtomicPtr<Entry>; 2],
    /// Whether it is meant by the fault that is being looked at: under the lock only.
    pub(crate) marked: AtomicBool,
    /// How the kernel names the file in /proc/self/maps; never changed while the entry is in the
    /// list.
    pub(crate) file: (u64, u64),
    pub(crate) identity: Identity,
    pub(crate) kept: Kept,
    /// None: every mapping of the file.
    pub(crate) range: Option<Range>,
    /// What the user called it; for a relative path also from where.
    pub(crate) path: Option<CString>,
    /// The path that the kernel shows for the file's mappings, as long as it has that name.
    pub(crate) shown: Option<CString>,
    /// What its patches are known by; 0: they are anonymous.
    pub(crate) number: u32,
    /// Bytes of a page of its mappings where the kernel does not say.
    pub(crate) granule: usize,
    /// Lowest lost offset in the file, or `u64::MAX`.
    lowest: AtomicU64,
    record: Record,
    /// Causes that an event was written for; a bit each.
    told: AtomicU32,
    /// How many bytes of lost pages in shared writable mappings may be private memory, and how many
    /// are.
    pub(crate) sink: AtomicU64,
    sunk: AtomicU64,
    /// Faults since the last loss was taken: how many pages are replaced at once depends on it.
    faults: AtomicU32,
    /// Length and change time of the file that `verify` compares with.
    pub(crate) noted: [AtomicU64; 3],
}

impl Entry {
    pub(crate) fn new(file: (u64, u64), identity: Identity, kept: Kept) -> Self {
        let entry = Self {
            next: [const { AtomicPtr::new(std::ptr::null_mut()) }; 2],
            marked: AtomicBool::new(false),
            file,
            identity,
            kept,
            range: None,
            path: None,
            shown: None,
            number: number(),
            granule: crate::sys::pages::page_size(),
            lowest: AtomicU64::new(u64::MAX),
            record: Record::new(),
            told: AtomicU32::new(0),
            sink: AtomicU64::new(0),
            sunk: AtomicU64::new(0),
            faults: AtomicU32::new(0),
            noted: [const { AtomicU64::new(0) }; 3],
        };
        entry.note(&identity);
        entry
    }

    /// Remembers how the file is now.
    pub(crate) fn note(&self, identity: &Identity) {
        let (seconds, nanoseconds) = identity.changed;
        let values = [identity.length, seconds as u64, nanoseconds as u64];
        for (word, value) in self.noted.iter().zip(values) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Whether the file is as long as it was, and whether it was changed in any way. Signal-safe.
    pub(crate) fn compare(&self, now: &Identity) -> (bool, bool) {
        let [length, seconds, nanoseconds] =
            self.noted.each_ref().map(|word| word.load(Ordering::Relaxed));
        let changed = (seconds as i64, nanoseconds as i64) != now.changed;
        (now.length >= length, changed || now.length != length)
    }

    /// Whether the mapping at `address` is adopted with it; of a range the page at its address, or
    /// wherever the owner has moved it to. `shows` says whether another address shows a byte of
    /// this file. Signal-safe.
    pub(crate) fn covers(
        &self,
        area: &Area,
        address: usize,
        shows: impl FnOnce(usize) -> bool,
    ) -> bool {
        let Some(range) = self.range else { return true };
        match range.address_of(area.offset_at(address)) {
            Some(place) => place == address || !shows(place),
            None => false,
        }
    }

    /// Says that everything from `fault.offset` on may be lost: before any page changes.
    /// Signal-safe; only under the lock of the list.
    pub(crate) fn publish(&self, fault: &Fault) {
        if fault.offset < self.lowest.load(Ordering::Relaxed) {
            self.record.write(fault);
        }
        self.lowest.fetch_min(fault.offset, Ordering::AcqRel);
    }

    /// The loss at the lowest offset. Signal-safe.
    pub(crate) fn fault(&self) -> Option<Fault> {
        // The owner's accesses come before this look.
        fence(Ordering::SeqCst);
        let offset = self.lowest.load(Ordering::Acquire);
        (offset != u64::MAX).then(|| self.record.read(offset))
    }

    /// Where `lowest` is.
    #[cfg(feature = "capi")]
    pub(crate) fn word(&self) -> *const u64 {
        self.lowest.as_ptr()
    }

    /// As if nothing had been lost. Only under the lock of the list.
    pub(crate) fn forget(&self) {
        self.lowest.store(u64::MAX, Ordering::Release);
        self.record.clear();
        self.told.store(0, Ordering::Relaxed);
        self.faults.store(0, Ordering::Relaxed);
    }

    /// True the first time for each cause until the loss is taken, and the first time that it is to
    /// end the process. Signal-safe.
    pub(crate) fn is_news(&self, fault: &Fault, deadly: bool) -> bool {
        let bit = 1 << (fault.cause.clamp(0, 15) + if deadly { 16 } else { 0 });
        self.told.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    /// How many pages to replace at once: one, and more if it goes on. The owner may be unmapping
    /// the pages behind the one that was met, so the first are replaced one by one; but a large
    /// file that is lost whole must not cost an area of the process's limited number for each page.
    /// Signal-safe.
    pub(crate) fn stride(&self) -> usize {
        const EACH: u32 = 64;
        1 << (self.faults.fetch_add(1, Ordering::Relaxed) / EACH).min(20)
    }

    /// Whether so many bytes more may be private memory. Signal-safe; only under the lock of the
    /// list.
    pub(crate) fn may_sink(&self, bytes: usize) -> bool {
        let sunk = self.sunk.load(Ordering::Relaxed) + bytes as u64;
        let may = sunk <= self.sink.load(Ordering::Relaxed);
        if may {
            self.sunk.store(sunk, Ordering::Relaxed);
        }
        may
    }

    /// The file's pages are there again.
    pub(crate) fn nothing_is_sunk(&self) {
        self.sunk.store(0, Ordering::Relaxed);
    }
}

/// The next number for patches. When all have been given out, patches are anonymous.
fn number() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let next = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
        (last < Patch::LAST).then_some(last + 1)
    });
    next.map_or(0, |last| last + 1)
}

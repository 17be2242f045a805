//! One guarded map: what it is, what it has lost, which of its pages are patches. Slots live for
//! ever and are used again.

use super::super::fault::{Fault, Record};
use super::super::identity::Identity;
use super::poison::Poison;
use super::wiped::Wiped;
use std::cell::UnsafeCell;
use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// What does not change while a map is registered.
#[derive(Clone)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts")]
pub(crate) struct Facts {
    /// Whole pages; of a map that grows all that it may ever reach.
    pub(crate) pages: Range<usize>,
    /// Where the user's bytes begin, and how many they are when the map is made: [`Slot::length`]
    /// tells how many they are now.
    pub(crate) data: usize,
    pub(crate) length: usize,
    /// How far the bytes may grow, from `data` on.
    pub(crate) capacity: usize,
    /// Whether the map may grow: then a file that is longer than the map, and its time of change,
    /// say nothing.
    pub(crate) grows: bool,
    /// Offset in the file of the first page.
    pub(crate) file_offset: u64,
    /// -1: none is kept.
    pub(crate) descriptor: c_int,
    /// Whether the descriptor was opened for writing, so that space can be asked for.
    pub(crate) can_reserve: bool,
    /// `PROT_*` and `MAP_SHARED` or `MAP_PRIVATE`.
    pub(crate) protection: c_int,
    pub(crate) sharing: c_int,
    /// Nobody's any more, and readable for ever.
    pub(crate) retired: bool,
    /// What can be replaced: a page, or a huge page.
    pub(crate) granule: usize,
    pub(crate) identity: Identity,
    /// Null, or the path, NUL-terminated; it belongs to the slot.
    pub(crate) path: *const c_char,
}

impl Facts {
    /// Where in the file the first of the user's bytes is.
    pub(crate) fn start_in_file(&self) -> u64 {
        self.file_offset + (self.data - self.pages.start) as u64
    }

    /// Whether what is written to the map goes to the file.
    pub(crate) fn is_written_through(&self) -> bool {
        self.sharing == libc::MAP_SHARED && self.protection & libc::PROT_WRITE != 0
    }
}

/// As many separate patched places a map can have that are told apart; more are patched page by
/// page.
const PATCHES: usize = 8;

#[repr(C, align(64))]
pub(crate) struct Slot {
    /// First: C and Go read it without asking us.
    poison: Poison,
    /// Where the user's bytes begin: as the facts say, beside what every read needs.
    data: AtomicPtr<u8>,
    /// How many they are now. It only becomes larger while the map is registered.
    length: AtomicUsize,
    /// How many of the map's bytes, from the first on, were given blocks by growing.
    promised: AtomicU64,
    /// How many of those keep their blocks, whatever is written.
    kept: AtomicU64,
    facts: UnsafeCell<MaybeUninit<Facts>>,
    wiped: AtomicPtr<Wiped>,
    pub(super) next_free: AtomicPtr<Slot>,
    record: Record,
    /// Patched pages. `patched[..patched_count]` count; changed under the patch lock only.
    patched: [[AtomicUsize; 2]; PATCHES],
    patched_count: AtomicUsize,
    /// Causes that an event was written for; a bit each.
    told: AtomicU32,
    /// More places were patched than there is room to remember.
    scattered: AtomicBool,
    /// The page that was patched although it was recorded as patched.
    forced: AtomicUsize,
}

// SAFETY: `facts` are written only while the slot is free, under the registry's lock, and read only
// by who has registered the slot or pinned it.
unsafe impl Sync for Slot {}

impl Slot {
    /// Fills a free slot. Only under the registry's lock.
    pub(super) fn fill(&self, facts: Facts) {
        self.data.store(facts.data as *mut u8, Ordering::Relaxed);
        self.length.store(facts.length, Ordering::Release);
        self.promised.store(0, Ordering::Relaxed);
        self.kept.store(0, Ordering::Relaxed);
        // SAFETY: the slot is free: nobody reads its facts.
        unsafe { (*self.facts.get()).write(facts) };
        self.forget();
    }

    /// As if nothing had ever been lost.
    pub(crate) fn forget(&self) {
        self.patched_count.store(0, Ordering::Relaxed);
        self.forced.store(0, Ordering::Relaxed);
        self.scattered.store(false, Ordering::Relaxed);
        self.told.store(0, Ordering::Relaxed);
        self.record.clear();
        self.poison.clear();
    }

    pub(super) fn give_wiped(&self, wiped: &'static Wiped) {
        self.wiped.store(std::ptr::from_ref(wiped).cast_mut(), Ordering::Release);
    }

    pub(crate) fn wiped(&self) -> &'static Wiped {
        // SAFETY: set from a static reference before the slot was first handed out, and never
        // changed.
        unsafe { &*self.wiped.load(Ordering::Acquire) }
    }

    /// The map's facts. Only for those who have registered or pinned the slot. Signal-safe.
    pub(crate) fn facts(&self) -> &Facts {
        // SAFETY: a slot that somebody has registered or pinned is filled, and stays as it is.
        let facts = unsafe { &*self.facts.get() };
        // SAFETY: as above.
        unsafe { facts.assume_init_ref() }
    }

    /// Where the map's bytes begin. Only for those who have registered or pinned the slot.
    /// Signal-safe.
    #[inline]
    pub(crate) fn data(&self) -> *mut u8 {
        // Relaxed: it was there before the slot could be seen, and stays.
        self.data.load(Ordering::Relaxed)
    }

    /// How many bytes the map has now. Signal-safe.
    #[inline]
    pub(crate) fn length(&self) -> usize {
        // Acquire pairs with `lengthen`: whoever sees the length, sees a file that reaches so far.
        self.length.load(Ordering::Acquire)
    }

    /// The map has so many bytes from now on, or more: the file reaches so far already.
    pub(crate) fn lengthen(&self, length: usize) {
        self.length.fetch_max(length, Ordering::AcqRel);
    }

    /// Sets the length of a map that nobody reads yet.
    pub(crate) fn begin_with(&self, length: usize) {
        self.length.store(length, Ordering::Release);
    }

    /// How many bytes from the first on have been given blocks. Only under the lock for growing.
    pub(crate) fn promised(&self) -> u64 {
        self.promised.load(Ordering::Relaxed)
    }

    /// So many bytes have blocks, and `kept` of them keep those. Only under the lock for growing.
    pub(crate) fn promise(&self, length: u64, kept: u64) {
        self.promised.store(length, Ordering::Relaxed);
        // Release pairs with `kept`: whoever sees the number, sees a file with so many blocks.
        self.kept.store(kept, Ordering::Release);
    }

    /// How many bytes from the first on have blocks as long as nobody takes those away.
    pub(crate) fn kept(&self) -> u64 {
        self.kept.load(Ordering::Acquire)
    }

    /// Where in the file the map's bytes end now, or, of a map that does not grow, where the file
    /// ended. Signal-safe.
    pub(crate) fn end_in_file(&self) -> u64 {
        let facts = self.facts();
        if facts.grows {
            facts.start_in_file() + self.length() as u64
        } else {
            facts.identity.length
        }
    }

    /// The pages that have bytes of the map now, and the one at `address`. Signal-safe.
    pub(crate) fn pages_around(&self, address: usize) -> Range<usize> {
        let facts = self.facts();
        if !facts.grows {
            return facts.pages.clone();
        }
        let last = address.max(facts.data + self.length().saturating_sub(1)) - facts.pages.start;
        let end = facts.pages.start + (last / facts.granule + 1) * facts.granule;
        facts.pages.start..end.min(facts.pages.end)
    }

    /// The poison word.
    pub(crate) fn poison(&self) -> &Poison {
        &self.poison
    }

    /// Says that everything from `offset` on may be lost: before any page changes. Signal-safe;
    /// only under the patch lock.
    pub(crate) fn publish(&self, fault: &Fault) {
        if fault.offset < self.poison.lowest() {
            self.record.write(fault);
        }
        self.poison.publish(fault.offset);
    }

    /// The fault with the lowest lost offset.
    pub(crate) fn fault(&self) -> Option<Fault> {
        let offset = self.poison.lowest();
        (offset != u64::MAX).then(|| self.record.read(offset))
    }

    /// Whether `address` lies in a page that was replaced. Signal-safe; only under the patch lock.
    pub(crate) fn is_patched(&self, address: usize) -> bool {
        self.patches().any(|patch| patch.contains(&address))
    }

    /// The replaced ranges, in no order. Signal-safe.
    pub(crate) fn patches(&self) -> impl Iterator<Item = Range<usize>> {
        let count = self.patched_count.load(Ordering::Acquire);
        self.patched
            .iter()
            .take(count)
            .map(|[start, end]| start.load(Ordering::Relaxed)..end.load(Ordering::Relaxed))
    }

    /// Whether there are patches that nobody remembers: from then on single pages only are
    /// replaced, each because it is missing. Signal-safe; only under the patch lock.
    pub(crate) fn is_scattered(&self) -> bool {
        self.scattered.load(Ordering::Relaxed)
    }

    /// Whether there is room to note that `range` was replaced. Signal-safe; only under the patch
    /// lock.
    pub(crate) fn can_note(&self, range: &Range<usize>) -> bool {
        let count = self.patched_count.load(Ordering::Relaxed);
        let adjacent =
            || self.patches().any(|patch| patch.end == range.start || patch.start == range.end);
        !self.is_scattered() && (count < PATCHES || adjacent())
    }

    /// Notes that `range` was replaced, if there is room. Each step leaves the list whole, for a
    /// child that is forked in between. Signal-safe; only under the patch lock.
    pub(crate) fn note_patch(&self, range: &Range<usize>) {
        let count = self.patched_count.load(Ordering::Relaxed);
        for [start, end] in self.patched.iter().take(count) {
            if end.load(Ordering::Relaxed) == range.start {
                return end.store(range.end, Ordering::Relaxed);
            }
            if start.load(Ordering::Relaxed) == range.end {
                return start.store(range.start, Ordering::Relaxed);
            }
        }
        if let Some([start, end]) = self.patched.get(count) {
            start.store(range.start, Ordering::Relaxed);
            end.store(range.end, Ordering::Relaxed);
            self.patched_count.store(count + 1, Ordering::Release);
        } else {
            self.scattered.store(true, Ordering::Relaxed);
        }
    }

    /// True the first time for each cause: an event for each page of a large loss would push all
    /// others out of the ring. Signal-safe.
    pub(crate) fn is_news(&self, fault: &Fault) -> bool {
        let bit = 1 << fault.cause.clamp(0, 31);
        self.told.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    /// True the first time in a row for a page that is lost although it was recorded as patched.
    /// Signal-safe.
    pub(crate) fn force(&self, page: usize) -> bool {
        self.forced.swap(page, Ordering::Relaxed) != page
    }
}

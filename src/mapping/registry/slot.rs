//! One guarded map: what it is, what it has lost, which of its pages are patches. Slots live for ever and are used again.

use super::super::fault::{Fault, Record};
use super::super::identity::Identity;
use super::poison::Poison;
use super::wiped::Wiped;
use std::cell::UnsafeCell;
use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// What does not change while a map is registered.
#[derive(Clone)]
pub(crate) struct Facts {
    /// Whole pages.
    pub(crate) pages: Range<usize>,
    /// Where the user's bytes begin, and how many they are.
    pub(crate) data: usize,
    pub(crate) length: usize,
    /// Offset in the file of the first page.
    pub(crate) file_offset: u64,
    /// -1: none is kept.
    pub(crate) descriptor: c_int,
    /// Whether the descriptor was opened for writing, so that space can be asked for.
    pub(crate) can_reserve: bool,
    /// `PROT_*` and `MAP_SHARED` or `MAP_PRIVATE`.
    pub(crate) protection: c_int,
    pub(crate) sharing: c_int,
    /// Somebody else made the mapping and may take it away.
    pub(crate) adopted: bool,
    /// Nobody's any more, and readable for ever.
    pub(crate) retired: bool,
    /// For an adopted one: the offset in /dev/zero of its patches, its own alone.
    pub(crate) patch_offset: u64,
    /// For an adopted one: how the kernel names its file in /proc/self/maps.
    pub(crate) area_file: (u64, u64),
    /// What can be replaced: a page, or a huge page.
    pub(crate) granule: usize,
    pub(crate) identity: Identity,
    /// Null, or the path, NUL-terminated; it belongs to the slot.
    pub(crate) path: *const c_char,
}

impl Facts {
    /// Whether what is written to the map goes to the file.
    pub(crate) fn is_written_through(&self) -> bool {
        self.sharing == libc::MAP_SHARED && self.protection & libc::PROT_WRITE != 0
    }
}

/// As many separate patched places a map can have that are told apart; more are patched page by page.
const PATCHES: usize = 8;

#[repr(C, align(64))]
pub(crate) struct Slot {
    /// First: C and Go read it without asking us.
    poison: Poison,
    facts: UnsafeCell<MaybeUninit<Facts>>,
    wiped: AtomicPtr<Wiped>,
    pub(super) next_free: AtomicPtr<Slot>,
    record: Record,
    /// Patched pages. `patched[..patched_count]` count; changed under the patch lock only.
    patched: [[AtomicUsize; 2]; PATCHES],
    patched_count: AtomicUsize,
    /// More places were patched than there is room to remember.
    scattered: AtomicBool,
    /// The page that was patched although it was recorded as patched.
    forced: AtomicUsize,
}

// SAFETY: `facts` are written only while the slot is free, under the registry's lock, and read only by who has registered
// the slot or pinned it.
unsafe impl Sync for Slot {}

impl Slot {
    /// Fills a free slot. Only under the registry's lock.
    pub(super) fn fill(&self, facts: Facts) {
        // SAFETY: the slot is free: nobody reads its facts.
        unsafe { (*self.facts.get()).write(facts) };
        self.forget();
    }

    /// As if nothing had ever been lost.
    pub(crate) fn forget(&self) {
        self.patched_count.store(0, Ordering::Relaxed);
        self.forced.store(0, Ordering::Relaxed);
        self.scattered.store(false, Ordering::Relaxed);
        self.record.clear();
        self.poison.clear();
    }

    pub(super) fn give_wiped(&self, wiped: &'static Wiped) {
        self.wiped.store(std::ptr::from_ref(wiped).cast_mut(), Ordering::Release);
    }

    pub(crate) fn wiped(&self) -> &'static Wiped {
        // SAFETY: set from a static reference before the slot was first handed out, and never changed.
        unsafe { &*self.wiped.load(Ordering::Acquire) }
    }

    /// The map's facts. Only for who has registered the slot or pinned it. Signal-safe.
    pub(crate) fn facts(&self) -> &Facts {
        // SAFETY: a slot that somebody has registered or pinned is filled, and stays as it is.
        let facts = unsafe { &*self.facts.get() };
        // SAFETY: as above.
        unsafe { facts.assume_init_ref() }
    }

    /// The poison word.
    pub(crate) fn poison(&self) -> &Poison {
        &self.poison
    }

    /// Says that everything from `offset` on may be lost: before any page changes. Signal-safe; only under the patch lock.
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

    /// Whether there are patches that nobody remembers: from then on single pages only are replaced, each because it is
    /// missing. Signal-safe; only under the patch lock.
    pub(crate) fn is_scattered(&self) -> bool {
        self.scattered.load(Ordering::Relaxed)
    }

    /// Whether there is room to note that `range` was replaced. Signal-safe; only under the patch lock.
    pub(crate) fn can_note(&self, range: &Range<usize>) -> bool {
        let count = self.patched_count.load(Ordering::Relaxed);
        let adjacent = || self.patches().any(|patch| patch.end == range.start || patch.start == range.end);
        !self.is_scattered() && (count < PATCHES || adjacent())
    }

    /// Notes that `range` was replaced, if there is room. Each step leaves the list whole, for a child that is forked in
    /// between. Signal-safe; only under the patch lock.
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

    /// True the first time in a row for a page that is lost although it was recorded as patched. Signal-safe.
    pub(crate) fn force(&self, page: usize) -> bool {
        self.forced.swap(page, Ordering::Relaxed) != page
    }
}

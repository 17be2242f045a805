//! The bounded pool of entry points: whose each is, and who comes after
//! (`handler/trampolines.rs` has the functions whose addresses go into the kernel's table).
//!
//! Each has an address of its own, because one address both beneath and above another handler is a
//! circle, and each has a predecessor that stays as it was recorded. They are never given back:
//! some handler may hold the address for ever. They are used again only over the same predecessor.

use super::disposition::Disposition;
use super::handler::delivery::{Delivery, Verdict};
use super::handler::trampolines::ENTRY_POINTS;
use super::owner::Owner;
use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// First record, and as many lost races as one entry point can repair in its life.
const RECORDS: usize = 4;

/// One entry point: whose it is, and who comes after.
pub(crate) struct Entry {
    /// Null while free. Set once.
    owner: AtomicPtr<Owner>,
    /// Off after leaving: deliveries pass through.
    active: AtomicBool,
    /// Its number, by which its records are found.
    index: usize,
    /// How many records are published; the last one counts. A record never changes once published.
    published: AtomicUsize,
    /// The predecessor had `SA_RESETHAND` and has had its one call.
    spent: AtomicBool,
    /// The predecessor has written SIG_DFL in its own place.
    given_up: AtomicBool,
}

/// What an entry has recorded.
struct Records([UnsafeCell<MaybeUninit<Disposition>>; RECORDS]);

// SAFETY: a record is written only by the holder of the lock while the entry's `published` is no
// more than its number, and read only while it is more.
unsafe impl Sync for Records {}

impl Entry {
    const fn free(index: usize) -> Self {
        Self {
            index,
            owner: AtomicPtr::new(std::ptr::null_mut()),
            active: AtomicBool::new(false),
            published: AtomicUsize::new(0),
            spent: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
        }
    }

    /// Whose it is; none while the entry is free. Signal-safe.
    pub(super) fn owner(&self) -> Option<&'static Owner> {
        // SAFETY: null, or made from a `&'static Owner` in `claim`. Acquire pairs with its Release.
        unsafe { self.owner.load(Ordering::Acquire).as_ref() }
    }

    /// What stood here before. Signal-safe.
    pub(super) fn predecessor(&self) -> Option<&Disposition> {
        // Acquire pairs with the Release in `publish`.
        let last = self.published.load(Ordering::Acquire).checked_sub(1)?;
        let record = self.record(last)?;
        // SAFETY: published records are never written again, so a shared reference may live as long
        // as `self`.
        let record = unsafe { &*record.get() };
        // SAFETY: published records are initialised.
        Some(unsafe { record.assume_init_ref() })
    }

    fn record(&self, number: usize) -> Option<&'static UnsafeCell<MaybeUninit<Disposition>>> {
        RECORDS_OF.get(self.index)?.0.get(number)
    }

    /// What the owner says of a delivery; without one it passes through. Signal-safe.
    pub(super) fn decide(&self, delivery: &Delivery<'_>) -> Verdict {
        self.owner().map_or(Verdict::PassOn, |owner| (owner.decide)(delivery))
    }

    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    pub(super) fn set_active(&self, active: bool) {
        self.active.store(active, Ordering::Release);
    }

    /// For a predecessor with `SA_RESETHAND`: true the first time. Signal-safe.
    pub(super) fn spend(&self) -> bool {
        !self.spent.swap(true, Ordering::AcqRel)
    }

    /// The predecessor has been installed again.
    pub(super) fn rearm(&self) {
        self.spent.store(false, Ordering::Release);
    }

    pub(super) fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Acquire)
    }

    /// The predecessor has stepped back in favour of SIG_DFL. Signal-safe.
    pub(super) fn give_up_predecessor(&self) {
        self.given_up.store(true, Ordering::Release);
    }

    pub(super) fn has_given_up_predecessor(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// Whether a lost race could still be repaired here.
    pub(super) fn has_room(&self) -> bool {
        self.published.load(Ordering::Relaxed) < RECORDS
    }

    /// Records `predecessor` as what comes after. Only under the lock.
    pub(super) fn publish(&self, predecessor: &Disposition) {
        let next = self.published.load(Ordering::Relaxed);
        if let Some(record) = self.record(next) {
            // SAFETY: record `next` is unpublished, so nobody reads it; the lock keeps other
            // writers out.
            unsafe { (*record.get()).write(*predecessor) };
            self.published.store(next + 1, Ordering::Release);
        }
    }
}

static ENTRIES: [Entry; ENTRY_POINTS] = {
    let mut entries = [const { Entry::free(0) }; ENTRY_POINTS];
    let mut index = 0;
    while index < ENTRY_POINTS {
        entries[index].index = index;
        index += 1;
    }
    entries
};

/// Apart from the entries: who looks through all of those touches one page.
static RECORDS_OF: [Records; ENTRY_POINTS] =
    [const { Records([const { UnsafeCell::new(MaybeUninit::uninit()) }; RECORDS]) }; ENTRY_POINTS];

/// The entry with this number. Signal-safe.
pub(super) fn entry(index: usize) -> Option<&'static Entry> {
    ENTRIES.get(index)
}

/// All entries that are in use for `signal`, oldest first. Signal-safe.
#[inline]
pub(super) fn entries_for(signal: c_int) -> impl Iterator<Item = (usize, &'static Entry)> {
    ENTRIES
        .iter()
        .enumerate()
        .filter(move |(_, entry)| entry.owner().is_some_and(|owner| owner.signal == signal))
}

/// Signals that others need us for: each of them finds an entry, however many the others want.
const KEPT_FOR: [c_int; 3] = [libc::SIGPIPE, libc::SIGBUS, libc::SIGSEGV];

#[cold]
fn has_none(signal: c_int) -> bool {
    entries_for(signal).next().is_none()
}

/// Whether `signal` may have another entry without taking the only one from somebody else.
#[cold]
fn is_left_for(signal: c_int) -> bool {
    if KEPT_FOR.contains(&signal) && has_none(signal) {
        return true;
    }
    let kept = KEPT_FOR.into_iter().filter(|other| has_none(*other)).count();
    let left = ENTRIES.iter().filter(|entry| entry.owner().is_none()).count();
    left > kept
}

/// Takes a free entry for `owner`. Only under the lock; the caller publishes a predecessor next.
pub(super) fn claim(owner: &'static Owner) -> Option<usize> {
    if !is_left_for(owner.signal) {
        return None;
    }
    let free = ENTRIES.iter().position(|entry| entry.owner().is_none())?;
    ENTRIES.get(free)?.owner.store(std::ptr::from_ref(owner).cast_mut(), Ordering::Release);
    Some(free)
}

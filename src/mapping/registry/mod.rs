//! Which addresses are guarded: registering a map, finding it from an address, taking it away.

mod memory;
#[cfg(all(test, sigward_loom))]
mod model;
pub(crate) mod pin;
mod poison;
pub(crate) mod slot;
mod table;
pub(crate) mod wiped;

pub(crate) use slot::{Facts, Slot};
pub(crate) use table::find;

use super::handler::area::{keep_no_longer, keep_open};
use crate::observe::counters::MAPS;
use std::ops::Range;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::time::Duration;
use wiped::Wiped;

/// Maps of others among those that are registered.
static ADOPTED: AtomicU32 = AtomicU32::new(0);
/// Slots that nobody uses.
static FREE: AtomicPtr<Slot> = AtomicPtr::new(std::ptr::null_mut());
/// A lock in a page that fork clears: see [`wiped`].
static LOCK: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());

/// Why a range cannot be registered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Some page of it is guarded already.
    Overlap,
    /// The kernel has no memory for the registry.
    NoMemory,
    /// The addresses are beyond what the table reaches.
    OutOfReach,
}

/// How many maps are registered.
pub(crate) fn registered() -> u64 {
    MAPS.get()
}

/// Registers a map: from now on faults in it are caught. It may lie over an adopted one that it is the larger successor of:
/// there is no moment in which neither is found. That one stays to be withdrawn.
pub(crate) fn register(facts: Facts, over: Option<&'static Slot>) -> Result<&'static Slot, Refused> {
    let range = facts.pages.clone();
    if range.end > table::REACH {
        return Err(Refused::OutOfReach);
    }
    let held = Held::new().ok_or(Refused::NoMemory)?;
    let inner = over.map_or(range.end..range.end, |over| over.facts().pages.clone());
    let sides = [range.start..inner.start, inner.end..range.end];
    // The kernel has given no two mappings the same address: only one of others can stand there, after its time.
    let crowded = facts.adopted || ADOPTED.load(Ordering::Relaxed) > 0;
    while let Some((_, other)) = sides.iter().filter(|_| crowded).find_map(table::any_in) {
        // (In the table, so registered: its facts are there as long as we hold the lock.)
        if facts.adopted || !other.facts().adopted {
            return Err(Refused::Overlap);
        }
        // The kernel gave these addresses to a mapping of ours: the other one's owner has unmapped it without telling.
        table::remove(&other.facts().pages, other);
    }
    let slot = take_slot(&held).ok_or(Refused::NoMemory)?;
    slot.fill(facts);
    if !table::insert(&range, slot, over) {
        give_slot(&held, slot);
        return Err(Refused::NoMemory);
    }
    MAPS.add();
    if slot.facts().adopted && ADOPTED.fetch_add(1, Ordering::Relaxed) == 0 {
        keep_open();
    }
    Ok(slot)
}

/// Takes a map out of the registry and waits until no handler is at work on it. Then the caller may do with the memory what
/// it likes, and calls [`release`].
pub(crate) fn withdraw(slot: &'static Slot) {
    forget(slot, &slot.facts().pages);
    wait_until_quiet(slot);
    MAPS.subtract();
}

fn wait_until_quiet(slot: &Slot) {
    let mut spins = 0_u32;
    while !pin::is_quiet(slot.wiped()) {
        spins += 1;
        if spins < 100 { std::hint::spin_loop() } else { std::thread::sleep(Duration::from_micros(20)) }
    }
}

/// The first address in the range that is guarded.
pub(crate) fn guarded_in(range: &Range<usize>) -> Option<usize> {
    let _held = Held::new()?;
    table::any_in(range).map(|(address, _)| address)
}

/// The first address in the range that is not guarded.
pub(crate) fn gap_in(range: &Range<usize>) -> Option<usize> {
    let _held = Held::new()?;
    table::gap_in(range)
}

/// Takes a part of a map that is still registered out of the table: faults there are not caught any more.
pub(crate) fn forget(slot: &'static Slot, part: &Range<usize>) {
    if let Some(_held) = Held::new()
        && !table::remove(part, slot)
    {
        table::remove(&slot.facts().pages, slot);
    }
}

/// Takes a map away whose addresses stay as they are for ever: a fault from before is looked up there later, and runs again.
/// False if the registry has no memory: then the map stays registered.
pub(crate) fn retire(slot: &'static Slot) -> bool {
    static RETIRED: AtomicPtr<Slot> = AtomicPtr::new(std::ptr::null_mut());
    let range = slot.facts().pages.clone();
    {
        let Some(held) = Held::new() else { return false };
        if RETIRED.load(Ordering::Acquire).is_null() {
            let Some(new) = take_slot(&held) else { return false };
            let facts =
                Facts { retired: true, descriptor: -1, path: std::ptr::null(), ..slot.facts().clone() };
            new.fill(facts);
            RETIRED.store(std::ptr::from_ref(new).cast_mut(), Ordering::Release);
        }
        // SAFETY: a slot that lives for ever, filled above.
        let Some(retired) = (unsafe { RETIRED.load(Ordering::Acquire).as_ref() }) else { return false };
        if !table::insert(&range, retired, Some(slot)) {
            return false;
        }
    }
    wait_until_quiet(slot);
    MAPS.subtract();
    true
}

/// Gives a withdrawn slot back. Nobody may use it any more.
pub(crate) fn release(slot: &'static Slot) {
    if let Some(held) = Held::new() {
        if slot.facts().adopted && ADOPTED.fetch_sub(1, Ordering::Relaxed) == 1 {
            keep_no_longer();
        }
        give_slot(&held, slot);
    }
}

fn take_slot(held: &Held) -> Option<&'static Slot> {
    if FREE.load(Ordering::Relaxed).is_null() {
        more_slots(held)?;
    }
    // SAFETY: null, or a slot that lives for ever.
    let slot = unsafe { FREE.load(Ordering::Relaxed).as_ref() }?;
    FREE.store(slot.next_free.load(Ordering::Relaxed), Ordering::Relaxed);
    Some(slot)
}

fn give_slot(_held: &Held, slot: &'static Slot) {
    slot.next_free.store(FREE.load(Ordering::Relaxed), Ordering::Relaxed);
    FREE.store(std::ptr::from_ref(slot).cast_mut(), Ordering::Relaxed);
}

/// Makes slots in ever larger batches: 100,000 of them are a dozen areas.
fn more_slots(held: &Held) -> Option<()> {
    static BATCH: AtomicU32 = AtomicU32::new(32);
    let batch = BATCH.load(Ordering::Relaxed);
    BATCH.store((batch * 2).min(1 << 14), Ordering::Relaxed);
    let slots = memory::for_ever::<Slot>(batch as usize);
    let wiped = memory::wiped_on_fork::<Wiped>(batch as usize);
    if slots.is_null() || wiped.is_null() {
        return None;
    }
    for number in (0..batch as usize).rev() {
        // SAFETY: zeroed memory for `batch` slots that lives for ever; all of a slot's fields may be zero.
        let slot: &'static Slot = unsafe { &*slots.wrapping_add(number) };
        // SAFETY: likewise for the wiped words.
        slot.give_wiped(unsafe { &*wiped.wrapping_add(number) });
        give_slot(held, slot);
    }
    Some(())
}

/// The lock of the registry. No handler takes it.
struct Held(&'static AtomicU32);

impl Held {
    fn new() -> Option<Self> {
        let lock = lock_word()?;
        let mut spins = 0_u32;
        while lock.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            spins += 1;
            if spins < 100 { std::hint::spin_loop() } else { std::thread::sleep(Duration::from_micros(20)) }
        }
        Some(Self(lock))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

/// A word of its own that is 0 again in a forked child; null if the kernel has no memory.
#[cfg(target_os = "linux")]
pub(crate) fn word_wiped_on_fork() -> *mut AtomicU32 {
    memory::wiped_on_fork::<AtomicU32>(1)
}

/// Where the lock is: made by whoever comes first.
fn lock_word() -> Option<&'static AtomicU32> {
    if LOCK.load(Ordering::Acquire).is_null() {
        let made = memory::wiped_on_fork::<AtomicU32>(1);
        let lost =
            LOCK.compare_exchange(std::ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire).is_err();
        if lost && !made.is_null() {
            // SAFETY: ours alone: nobody has seen it.
            unsafe { libc::munmap(made.cast(), size_of::<AtomicU32>()) };
        }
    }
    // SAFETY: null, or zeroed memory that lives for ever.
    unsafe { LOCK.load(Ordering::Acquire).as_ref() }
}

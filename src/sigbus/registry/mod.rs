//! Which addresses are guarded: registering a map, finding it from an address, taking it away.

pub(crate) mod lock;
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

use crate::observe::counters::{LEAKED, MAPS};
use lock::{Held, Lock, NotHad};
use std::ops::Range;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use wiped::Wiped;

/// Slots that nobody uses.
static FREE: AtomicPtr<Slot> = AtomicPtr::new(std::ptr::null_mut());

/// Why a range cannot be registered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The kernel has no memory for the registry.
    NoMemory,
    /// The addresses are beyond what the table reaches.
    OutOfReach,
    /// This thread is in the middle of another change: it was interrupted by a fault whose handler
    /// came here, or has jumped out.
    Reentered,
    /// Another thread is in the middle of one and does not go on.
    Busy,
}

/// How long anybody waits for others here.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many maps are registered.
pub(crate) fn registered() -> u64 {
    MAPS.get()
}

/// Registers a map: from now on faults in it are caught.
pub(crate) fn register(facts: Facts) -> Result<&'static Slot, Refused> {
    let range = facts.pages.clone();
    if range.end > table::REACH {
        return Err(Refused::OutOfReach);
    }
    let held = hold()?;
    let slot = take_slot(&held).ok_or(Refused::NoMemory)?;
    slot.fill(facts);
    if !table::insert(&range, slot, None) {
        give_slot(slot);
        return Err(Refused::NoMemory);
    }
    MAPS.add();
    Ok(slot)
}

/// Takes a map out of the registry and waits until no handler is at work on it. Then the caller may
/// do with the memory what it likes, and calls [`release`].
///
/// False if a handler still is after a second: its file system does not answer, or it was killed in
/// a process that shares our memory; or if the registry's lock cannot be had. Then all that the
/// slot knows must stay as long as the process: the descriptor and the addresses.
pub(crate) fn withdraw(slot: &'static Slot) -> bool {
    let pages = &slot.facts().pages;
    let out =
        table::remove_own(pages, slot) || hold().is_ok_and(|_held| table::remove(pages, slot));
    let unpinned = out && wait_until_unpinned(slot);
    MAPS.subtract();
    if !unpinned {
        LEAKED.add();
    }
    unpinned
}

/// Waits, at most for a second: see [`withdraw`].
fn wait_until_unpinned(slot: &Slot) -> bool {
    const SPINS: usize = 100;
    for _ in 0..SPINS {
        if pin::is_unpinned(slot.wiped()) {
            return true;
        }
        std::hint::spin_loop();
    }
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_micros(20));
        if pin::is_unpinned(slot.wiped()) {
            return true;
        }
    }
    false
}

/// The first address in the range that is guarded.
pub(crate) fn guarded_in(range: &Range<usize>) -> Result<Option<usize>, Refused> {
    let _held = hold()?;
    Ok(table::any_in(range).map(|(address, _)| address))
}

/// Takes a map away whose addresses stay as they are for ever: a fault from before is looked up
/// there later, and runs again. False if the registry has no memory: then the map stays registered;
/// or if a handler is at work on it for ever, as in [`withdraw`].
pub(crate) fn retire(slot: &'static Slot) -> bool {
    static RETIRED: AtomicPtr<Slot> = AtomicPtr::new(std::ptr::null_mut());
    let range = slot.facts().pages.clone();
    {
        let Ok(held) = hold() else { return false };
        if RETIRED.load(Ordering::Acquire).is_null() {
            let Some(new) = take_slot(&held) else { return false };
            let facts = Facts {
                retired: true,
                descriptor: -1,
                path: std::ptr::null(),
                ..slot.facts().clone()
            };
            new.fill(facts);
            RETIRED.store(std::ptr::from_ref(new).cast_mut(), Ordering::Release);
        }
        // SAFETY: a slot that lives for ever, filled above.
        let Some(retired) = (unsafe { RETIRED.load(Ordering::Acquire).as_ref() }) else {
            return false;
        };
        if !table::insert(&range, retired, Some(slot)) {
            return false;
        }
    }
    MAPS.subtract();
    let unpinned = wait_until_unpinned(slot);
    if !unpinned {
        LEAKED.add();
    }
    unpinned
}

/// Gives a withdrawn slot back. Nobody may use it any more. One that a handler is at work on stays
/// as it is for ever.
pub(crate) fn release(slot: &'static Slot) {
    if !pin::is_unpinned(slot.wiped()) {
        return;
    }
    give_slot(slot);
}

fn take_slot(held: &LockedTable) -> Option<&'static Slot> {
    if FREE.load(Ordering::Relaxed).is_null() {
        more_slots(held)?;
    }
    loop {
        let first = FREE.load(Ordering::Acquire);
        // SAFETY: null, or a slot that lives for ever.
        let slot = unsafe { first.as_ref() }?;
        let next = slot.next_free.load(Ordering::Relaxed);
        // Slots are taken under the lock only, so the first one is still followed by what followed
        // it a moment ago.
        if FREE.compare_exchange(first, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            return Some(slot);
        }
    }
}

/// Needs no lock: see `take_slot`.
fn give_slot(slot: &'static Slot) {
    let this = std::ptr::from_ref(slot).cast_mut();
    let mut first = FREE.load(Ordering::Relaxed);
    loop {
        slot.next_free.store(first, Ordering::Relaxed);
        // Release: whoever takes it finds what was last written in it.
        match FREE.compare_exchange(first, this, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => first = now,
        }
    }
}

/// Makes slots in ever larger batches: 100,000 of them are a dozen areas.
fn more_slots(_held: &LockedTable) -> Option<()> {
    static BATCH: AtomicU32 = AtomicU32::new(32);
    let batch = BATCH.load(Ordering::Relaxed);
    BATCH.store((batch * 2).min(1 << 14), Ordering::Relaxed);
    let slots = memory::for_ever::<Slot>(batch as usize);
    let wiped = crate::sys::wiped::array::<Wiped>(batch as usize);
    if slots.is_null() || wiped.is_null() {
        return None;
    }
    for number in (0..batch as usize).rev() {
        // SAFETY: zeroed memory for `batch` slots that lives for ever; all of a slot's fields may
        // be zero.
        let slot: &'static Slot = unsafe { &*slots.wrapping_add(number) };
        // SAFETY: likewise for the wiped words.
        slot.give_wiped(unsafe { &*wiped.wrapping_add(number) });
        give_slot(slot);
    }
    Some(())
}

/// The lock of the registry. No handler takes it. Whoever has it does some stores and some calls of
/// mmap(2): one that does not end is of a thread that was stopped alone (ptrace(2)), or that gets
/// no processor.
struct LockedTable(#[allow(dead_code, reason = "held, not looked at")] Held<'static>);

fn hold() -> Result<LockedTable, Refused> {
    let lock = lock_word().ok_or(Refused::NoMemory)?;
    let since = Instant::now();
    lock.hold(|| since.elapsed() > PATIENCE).map(LockedTable).map_err(|why| match why {
        NotHad::Reentered => Refused::Reentered,
        NotHad::Busy => Refused::Busy,
    })
}

/// Where the lock is.
#[cfg(not(sigward_loom))]
fn lock_word() -> Option<&'static Lock> {
    crate::sys::wiped::words().map(|words| Lock::of(&words.registry))
}

/// The models have locks of their own.
#[cfg(sigward_loom)]
fn lock_word() -> Option<&'static Lock> {
    None
}

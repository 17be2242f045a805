//! The bounded pool of entry points: functions whose addresses go into the kernel's table.
//!
//! Each has an address of its own, because one address both beneath and above another handler is a
//! circle, and each has a predecessor that stays as it was recorded. They are never given back: some
//! handler may hold the address for ever. They are used again only over the same predecessor.

use super::disposition::Disposition;
use super::handler::{Delivery, Verdict};
use super::seat::Watch;
use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// How many different predecessors one process can have, all signals together.
pub const ENTRY_POINTS: usize = 16;

/// First record, and as many lost races as one entry point can repair in its life.
const RECORDS: usize = 4;

type Function = unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// One entry point: who watches there, and who comes after.
pub(crate) struct Entry {
    /// Null while free. Set once.
    watch: AtomicPtr<Watch>,
    /// Off after leaving: deliveries pass through.
    active: AtomicBool,
    /// How many records are published; the last one counts. A record never changes once published.
    published: AtomicUsize,
    records: [UnsafeCell<MaybeUninit<Disposition>>; RECORDS],
    /// The predecessor had `SA_RESETHAND` and has had its one call.
    spent: AtomicBool,
    /// The predecessor has written SIG_DFL in its own place.
    given_up: AtomicBool,
}

// SAFETY: `records[n]` is written only by the holder of the lock while `published <= n`, and read only
// while `published > n`.
unsafe impl Sync for Entry {}

impl Entry {
    const fn free() -> Self {
        Self {
            watch: AtomicPtr::new(std::ptr::null_mut()),
            active: AtomicBool::new(false),
            published: AtomicUsize::new(0),
            records: [const { UnsafeCell::new(MaybeUninit::uninit()) }; RECORDS],
            spent: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
        }
    }

    /// Who watches here; none while the entry is free. Signal-safe.
    pub(super) fn watch(&self) -> Option<&'static Watch> {
        // SAFETY: null, or made from a `&'static Watch` in `claim`. Acquire pairs with its Release.
        unsafe { self.watch.load(Ordering::Acquire).as_ref() }
    }

    /// What stood here before. Signal-safe.
    pub(super) fn predecessor(&self) -> Option<&Disposition> {
        // Acquire pairs with the Release in `publish`.
        let last = self.published.load(Ordering::Acquire).checked_sub(1)?;
        let record = self.records.get(last)?;
        // SAFETY: published records are never written again, so a shared reference may live as long as `self`.
        let record = unsafe { &*record.get() };
        // SAFETY: published records are initialised.
        Some(unsafe { record.assume_init_ref() })
    }

    /// What the watch says of a delivery; without one it passes through. Signal-safe.
    pub(super) fn decide(&self, delivery: &Delivery<'_>) -> Verdict {
        self.watch().map_or(Verdict::PassOn, |watch| (watch.decide)(delivery))
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
        if let Some(record) = self.records.get(next) {
            // SAFETY: record `next` is unpublished, so nobody reads it; the lock keeps other writers out.
            unsafe { (*record.get()).write(*predecessor) };
            self.published.store(next + 1, Ordering::Release);
        }
    }
}

static ENTRIES: [Entry; ENTRY_POINTS] = [const { Entry::free() }; ENTRY_POINTS];

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
macro_rules! functions {
    ($($index:literal)*) => {
        [$({
            unsafe extern "C" fn entry(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
                // SAFETY: the kernel, or a handler that stands above and passes on what it got, calls
                // with the arguments of an SA_SIGINFO handler.
                unsafe { super::handler::arrive(signal, info, context, $index) }
            }
            entry as Function
        }),*]
    };
}

/// The second and the third argument are compared with the stack pointer before they are believed, and what is left of the
/// stack is looked at before any of it is used.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
macro_rules! functions {
    ($($index:literal)*) => {
        [$({
            #[unsafe(naked)]
            unsafe extern "C" fn entry(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
                std::arch::naked_asm!(
                    "endbr64",
                    "mov rcx, rsp",
                    "mov r8d, {index}",
                    "jmp {arrive}",
                    index = const $index,
                    arrive = sym super::handler::arrive,
                )
            }
            entry as Function
        }),*]
    };
}

/// Where the second and the third argument are not to be believed before SP, x29 and x30 have been looked at.
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
macro_rules! functions {
    ($($index:literal)*) => {
        [$({
            #[unsafe(naked)]
            unsafe extern "C" fn entry(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
                std::arch::naked_asm!(
                    "hint #34", // bti c
                    "mov x3, sp",
                    "mov x4, x30",
                    "mov x5, x29",
                    "mov x6, #{index}",
                    "b {arrive}",
                    index = const $index,
                    arrive = sym super::handler::arrive,
                )
            }
            entry as Function
        }),*]
    };
}

static FUNCTIONS: [Function; ENTRY_POINTS] = functions!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

/// The entry with this number. Signal-safe.
pub(super) fn entry(index: usize) -> Option<&'static Entry> {
    ENTRIES.get(index)
}

/// All entries that are in use for `signal`, oldest first. Signal-safe.
pub(super) fn entries_for(signal: c_int) -> impl Iterator<Item = (usize, &'static Entry)> {
    ENTRIES
        .iter()
        .enumerate()
        .filter(move |(_, entry)| entry.watch().is_some_and(|watch| watch.signal == signal))
}

/// The address that goes into the kernel's table.
pub(super) fn address_of(index: usize) -> usize {
    FUNCTIONS.get(index).map_or(0, |function| *function as usize)
}

/// Which entry has this address. Signal-safe.
pub(super) fn index_of(address: usize) -> Option<usize> {
    FUNCTIONS.iter().position(|function| *function as usize == address)
}

/// Takes a free entry for `watch`. Only under the lock; the caller publishes a predecessor next.
pub(super) fn claim(watch: &'static Watch) -> Option<usize> {
    let free = ENTRIES.iter().position(|entry| entry.watch().is_none())?;
    ENTRIES.get(free)?.watch.store(std::ptr::from_ref(watch).cast_mut(), Ordering::Release);
    Some(free)
}

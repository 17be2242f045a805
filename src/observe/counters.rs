//! Counters, each one atomic addition. They start at zero in each process and never go back, but
//! for the number of maps.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter.
pub(crate) struct Counter(AtomicU64);

impl Counter {
    const fn zero() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds one. Signal-safe. Relaxed: nobody reads other memory because of a counter.
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one away.
    pub(crate) fn subtract(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub(crate) static DELIVERIES: Counter = Counter::zero();
pub(crate) static SWALLOWED: Counter = Counter::zero();
pub(crate) static CHAINED: Counter = Counter::zero();
pub(crate) static UNATTRIBUTED: Counter = Counter::zero();
pub(crate) static OVERWRITTEN: Counter = Counter::zero();
pub(crate) static RACES_REPAIRED: Counter = Counter::zero();
pub(crate) static CYCLES_CUT: Counter = Counter::zero();
pub(crate) static EVENTS_DROPPED: Counter = Counter::zero();

/// The only one that falls: maps that are registered now.
pub(crate) static MAPS: Counter = Counter::zero();
pub(crate) static FAULTS: Counter = Counter::zero();
pub(crate) static PATCHES: Counter = Counter::zero();
pub(crate) static HEALED: Counter = Counter::zero();
pub(crate) static LEAKED: Counter = Counter::zero();

/// All counters at about one moment: each is exact, their sum may be one delivery apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
#[repr(C)]
pub struct Counters {
    /// Signals that came to one of our entry points; twice when a runtime above forwards to ours
    /// beneath.
    pub deliveries: u64,
    /// SIGPIPEs that ended here: the write returned EPIPE and nothing else happened.
    pub swallowed: u64,
    /// Signals that were given to a predecessor, SIG_DFL and SIG_IGN included.
    pub chained: u64,
    /// Swallowed ones whose file descriptor could not be told for certain.
    pub unattributed: u64,
    /// How often something else, or a row of ours that somebody had changed, was found standing
    /// where ours had been on top.
    pub overwritten: u64,
    /// Races with other writers of the kernel's table, lost and put right.
    pub races_repaired: u64,
    /// Circles of handlers that were cut.
    pub cycles_cut: u64,
    /// Events that found their slot in the ring still being written by another thread.
    pub events_dropped: u64,
    /// SIGBUS that ended here: in a guarded map or in a checked copy.
    pub faults: u64,
    /// Ranges of lost pages that were replaced.
    pub patches: u64,
    /// Faults whose page was there again at a second look: nothing was lost.
    pub healed: u64,
    /// Guarded maps there are now.
    pub maps: u64,
    /// Maps that were closed while a handler was at work on them and did not end within a second:
    /// their addresses, descriptor and slot stay taken for ever.
    pub leaked: u64,
    /// Zero; room for later counters.
    pub(crate) reserved: [u64; 2],
    /// How many bytes of this struct the library knew and has filled.
    pub(crate) size: u64,
}

impl Counters {
    /// Reads all counters. Signal-safe, thread-safe; a forked child goes on from its parent's
    /// numbers.
    ///
    /// ```
    /// let before = sigward::Counters::read();
    /// assert!(sigward::Counters::read().deliveries >= before.deliveries);
    /// ```
    #[must_use]
    #[doc(alias = "sigward_read_counters")]
    pub fn read() -> Self {
        Self {
            deliveries: DELIVERIES.get(),
            swallowed: SWALLOWED.get(),
            chained: CHAINED.get(),
            unattributed: UNATTRIBUTED.get(),
            overwritten: OVERWRITTEN.get(),
            races_repaired: RACES_REPAIRED.get(),
            cycles_cut: CYCLES_CUT.get(),
            events_dropped: EVENTS_DROPPED.get(),
            faults: FAULTS.get(),
            patches: PATCHES.get(),
            healed: HEALED.get(),
            maps: MAPS.get(),
            leaked: LEAKED.get(),
            reserved: [0; 2],
            size: 0,
        }
    }
}

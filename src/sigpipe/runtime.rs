//! What is known of Go in this process: whether it is there, and where its code lies.
//!
//! Executables and libraries that Go made are found by their ELF notes (`elf`). Where the code of
//! a Go runtime lies, its package `sigward` tells us: an address in there can only be running
//! with a goroutine.

use crate::chain::Lock;
#[cfg(feature = "capi")]
use crate::error::Error;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How many Go runtimes one process can hold: an executable and its c-shared libraries.
const RUNTIMES: usize = 16;

/// Ranges of addresses that are added once and never removed.
struct Ranges([(AtomicUsize, AtomicUsize); RUNTIMES]);

impl Ranges {
    const fn none() -> Self {
        Self([const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; RUNTIMES])
    }

    /// Signal-safe.
    fn hold(&self, address: usize) -> bool {
        self.0.iter().any(|(low, high)| {
            // The end is published last: Acquire pairs with the Release in `add`.
            let high = high.load(Ordering::Acquire);
            address < high && address >= low.load(Ordering::Relaxed)
        })
    }

    /// The range that holds `address`. Signal-safe.
    fn around(&self, address: usize) -> Option<(usize, usize)> {
        let known = self.0.iter().map(|(low, high)| {
            let high = high.load(Ordering::Acquire);
            (low.load(Ordering::Relaxed), high)
        });
        known.into_iter().find(|(low, high)| (*low..*high).contains(&address))
    }

    /// Whether any range begins in `low..high`. Signal-safe.
    fn begin_in(&self, low: usize, high: usize) -> bool {
        self.0.iter().any(|(start, end)| {
            end.load(Ordering::Acquire) != 0 && (low..high).contains(&start.load(Ordering::Relaxed))
        })
    }

    /// Signal-safe.
    fn is_empty(&self) -> bool {
        self.0.first().is_none_or(|(_, high)| high.load(Ordering::Acquire) == 0)
    }

    /// Only under the lock of the chain. False if there is no room.
    fn add(&self, low: usize, high: usize) -> bool {
        for (known_low, known_high) in &self.0 {
            match known_high.load(Ordering::Relaxed) {
                0 => {
                    known_low.store(low, Ordering::Relaxed);
                    known_high.store(high, Ordering::Release);
                    return true;
                }
                known if known == high && known_low.load(Ordering::Relaxed) == low => return true,
                _ => {}
            }
        }
        false
    }
}

/// Go's code, as its own package told us.
static TEXT: Ranges = Ranges::none();
/// Whole executables and libraries that Go's linker made.
static OBJECTS: Ranges = Ranges::none();

/// Whether a Go runtime is in this process, as far as was looked. Signal-safe.
pub(super) fn go_is_here() -> bool {
    !OBJECTS.is_empty() || !TEXT.is_empty()
}

/// Whether `pc` lies in the code of a Go runtime that told us so. Signal-safe.
pub(super) fn is_go_code(pc: usize) -> bool {
    TEXT.hold(pc)
}

/// Whether `address` lies in an executable or library that Go's linker made. Signal-safe.
#[cfg(feature = "early")]
pub(super) fn is_in_go(address: usize) -> bool {
    OBJECTS.hold(address) || TEXT.hold(address)
}

/// Whether a handler at `address` is Go's own. Of an object whose Go code is known it must lie
/// there: C code of the same program is none of Go's. Signal-safe.
pub(super) fn is_go_handler(address: usize) -> bool {
    TEXT.hold(address)
        || OBJECTS.around(address).is_some_and(|(low, high)| !TEXT.begin_in(low, high))
}

/// Notes that Go's code lies in `low..high`.
#[cfg(feature = "capi")]
pub(crate) fn add_text(low: usize, high: usize) -> Result<(), Error> {
    if low == 0 || low >= high {
        return Err(Error::InvalidArgument);
    }
    let _held = crate::chain::lock()?;
    if TEXT.add(low, high) { Ok(()) } else { Err(Error::NoEntryPoint) }
}

/// Whether any loaded object is of Go's linker.
#[cfg(target_os = "linux")]
pub(crate) fn is_loaded() -> bool {
    let mut found = false;
    super::elf::each_go_object(|_, _| found = true);
    found
}

/// This process, or one that forked it, has looked.
static LOOKED: AtomicBool = AtomicBool::new(false);

/// Looks through all loaded objects for Go's note: once, and `again` where somebody's handler has
/// come since, as each Go runtime installs its own.
pub(super) fn look_for_go(_held: &Lock, again: bool) {
    if LOOKED.swap(true, Ordering::Relaxed) && !again {
        return;
    }
    // Elsewhere there is no filter that would have to know.
    #[cfg(target_os = "linux")]
    super::elf::each_go_object(|low, high| {
        OBJECTS.add(low, high);
    });
}

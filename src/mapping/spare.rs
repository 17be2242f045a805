//! Areas kept in reserve for a process at its limit of mappings (`vm.max_map_count`).
//!
//! Replacing part of a mapping makes one or two areas more, and at the limit the kernel refuses (ENOMEM), even where a whole
//! mapping is replaced. So some areas that nobody needs are made beforehand: a handler gives one back and tries again.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many patches in a row can be saved; [`fill`] makes them good again.
const SPARES: usize = 16;

/// Addresses of the areas; 0 is none.
static AREAS: [AtomicUsize; SPARES] = [const { AtomicUsize::new(0) }; SPARES];
/// Areas that lack.
static LACKING: AtomicUsize = AtomicUsize::new(SPARES);

/// Makes the areas that lack. Not for handlers; does nothing while none lacks.
pub(super) fn fill() {
    if LACKING.load(Ordering::Relaxed) == 0 {
        return;
    }
    for place in &AREAS {
        if place.load(Ordering::Relaxed) == 0 && !make(place) {
            return;
        }
    }
}

/// One area that does not melt into its neighbours: the second page of two, with other rights than the first.
fn make(place: &AtomicUsize) -> bool {
    let page = super::page_size();
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | super::NO_RESERVE;
    // SAFETY: a new mapping of our own.
    let area = unsafe { libc::mmap(std::ptr::null_mut(), 2 * page, libc::PROT_NONE, kind, -1, 0) };
    if area == libc::MAP_FAILED {
        return false;
    }
    let second = area.wrapping_byte_add(page);
    // SAFETY: the second page of the mapping just made.
    let split = unsafe { libc::mprotect(second, page, libc::PROT_READ) } == 0;
    let kept = split && place.compare_exchange(0, area.addr(), Ordering::AcqRel, Ordering::Relaxed).is_ok();
    if kept {
        LACKING.fetch_sub(1, Ordering::Relaxed);
    } else {
        // SAFETY: ours alone.
        unsafe { libc::munmap(area, 2 * page) };
    }
    kept
}

/// Gives a spare area back to the kernel; false if none is left. Signal-safe: munmap(2) is a bare system call.
pub(super) fn give_one_in_handler() -> bool {
    for place in &AREAS {
        let area = place.swap(0, Ordering::AcqRel);
        if area != 0 {
            LACKING.fetch_add(1, Ordering::Relaxed);
            // SAFETY: an area that `make` made and that only this call has now.
            return unsafe { libc::munmap(area as *mut libc::c_void, 2 * super::page_size()) } == 0;
        }
    }
    false
}

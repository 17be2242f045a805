//! Areas kept in reserve for a process at its limit of mappings (`vm.max_map_count`).
//!
//! Replacing part of a mapping makes one or two areas more, and at the limit the kernel refuses
//! (ENOMEM), even where a whole mapping is replaced. So some areas that nobody needs are made
//! beforehand: a handler gives one back and tries again.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many patches in a row can be saved; [`fill`] makes them good again.
const SPARES: usize = 16;
/// Pages of one: the second has other rights, so that no two areas melt together.
const PAGES: usize = 2;

/// Addresses of the areas; 0 is none.
static AREAS: [AtomicUsize; SPARES] = [const { AtomicUsize::new(0) }; SPARES];
/// Areas that lack.
static LACKING: AtomicUsize = AtomicUsize::new(SPARES);

/// Makes the areas that lack: before the first map, and after some were given back. Not for
/// handlers; does nothing while none lacks.
pub(crate) fn fill() {
    let lacking = LACKING.load(Ordering::Relaxed).min(SPARES);
    if lacking == 0 {
        return;
    }
    let size = PAGES * crate::sys::pages::page_size();
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | crate::sys::pages::NO_RESERVE;
    // One mapping for all, which the rights divide: each area is its own system call less.
    // SAFETY: a new mapping of our own.
    let all =
        unsafe { libc::mmap(std::ptr::null_mut(), lacking * size, libc::PROT_NONE, kind, -1, 0) };
    if all == libc::MAP_FAILED {
        return;
    }
    let mut places = AREAS.iter();
    for number in 0..lacking {
        let area = all.wrapping_byte_add(number * size);
        if !divide(area) || !places.any(|place| put(place, area)) {
            // SAFETY: what is left of the mapping just made, which nobody else has.
            unsafe { libc::munmap(area, (lacking - number) * size) };
            return;
        }
    }
}

/// Gives the second page of an area other rights. False at the limit of mappings.
fn divide(area: *mut libc::c_void) -> bool {
    let page = crate::sys::pages::page_size();
    // SAFETY: a page of a mapping that only `fill` has.
    unsafe { libc::mprotect(area.wrapping_byte_add(page), page, libc::PROT_READ) == 0 }
}

fn put(place: &AtomicUsize, area: *mut libc::c_void) -> bool {
    let put = place.compare_exchange(0, area.addr(), Ordering::AcqRel, Ordering::Relaxed).is_ok();
    if put {
        LACKING.fetch_sub(1, Ordering::Relaxed);
    }
    put
}

/// Gives a spare area back to the kernel; false if none is left. Signal-safe: munmap(2) is a bare
/// system call.
pub(crate) fn give_one_in_handler() -> bool {
    for place in &AREAS {
        let area = place.swap(0, Ordering::AcqRel);
        if area != 0 {
            LACKING.fetch_add(1, Ordering::Relaxed);
            // SAFETY: an area that `make` made and that only this call has now.
            return unsafe {
                libc::munmap(area as *mut libc::c_void, PAGES * crate::sys::pages::page_size())
            } == 0;
        }
    }
    false
}

//! Zeros in the place of lost pages. Bare system calls only.

use super::spare;
use crate::observe::counters;
use std::ffi::c_int;
use std::ops::Range;

/// Maps zeros over `pages`, with these rights: anonymous memory, or that of a descriptor from an
/// offset on. Before each try `still` says whether they are ours to replace; if not, there is
/// nothing to do.
///
/// # Safety
/// The kernel has just refused these pages to the program, and they belong to the map that the
/// fault was in.
pub(crate) unsafe fn put(
    pages: &Range<usize>,
    protection: c_int,
    source: Option<(c_int, u64)>,
    still: impl Fn() -> bool,
) -> bool {
    const ATTEMPTS: usize = 4;
    let mut kind = libc::MAP_PRIVATE | libc::MAP_FIXED | crate::sys::pages::NO_RESERVE;
    if source.is_none() {
        kind |= libc::MAP_ANONYMOUS;
    }
    let (fd, offset) = source.unwrap_or((-1, 0));
    let address = pages.start as *mut libc::c_void;
    for attempt in 0..ATTEMPTS {
        if !still() {
            return true;
        }
        // SAFETY: by this function's contract.
        let patch = unsafe {
            libc::mmap(address, pages.len(), protection, kind, fd, offset as libc::off_t)
        };
        if patch != libc::MAP_FAILED {
            counters::PATCHES.add();
            share_huge_zeros(protection, pages);
            return true;
        }
        match crate::sys::call::errno() {
            // At the process's limit of areas, or beyond RLIMIT_DATA, which counts private writable
            // memory only.
            libc::ENOMEM => {
                let given = spare::give_one_in_handler();
                let countable = protection & libc::PROT_WRITE != 0 && source.is_none();
                if attempt > 0 && countable {
                    kind ^= libc::MAP_PRIVATE | libc::MAP_SHARED;
                } else if !given && !countable {
                    return false;
                }
            }
            // Future mappings are locked (mlockall), and the limit counts these pages twice
            // meanwhile.
            libc::EAGAIN => {
                // SAFETY: pages of the map; changes no bytes.
                unsafe { libc::munlock(address, pages.len()) };
            }
            _ => return false,
        }
    }
    false
}

/// The kernel has one huge page of zeros for all who only read: 512 pages of a long patch for one
/// page fault, and no memory.
#[cfg(target_os = "linux")]
fn share_huge_zeros(protection: c_int, pages: &Range<usize>) {
    const HUGE: usize = 2 << 20;
    if pages.len() >= HUGE && protection & libc::PROT_WRITE == 0 {
        // SAFETY: pages of the patch just made; changes no bytes. A bare system call; a kernel that
        // cannot refuses.
        unsafe { libc::syscall(libc::SYS_madvise, pages.start, pages.len(), libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn share_huge_zeros(_protection: c_int, _pages: &Range<usize>) {}

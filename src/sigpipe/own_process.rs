//! Our process id without a system call for each signal: remembered in a page that the kernel clears in a forked child
//! (`MADV_WIPEONFORK`, madvise(2)).
//!
//! What is remembered must never be a parent's: the parent's own `kill -PIPE` would look like the kernel's SIGPIPE.

use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

/// Null while nothing is remembered, else in a page of its own.
static REMEMBERED: AtomicPtr<AtomicI32> = AtomicPtr::new(std::ptr::null_mut());

/// Whether `claimed` is our process id. Signal-safe.
pub(super) fn is_own(claimed: libc::pid_t) -> bool {
    // SAFETY: null, or the page below, which is never unmapped. Acquire pairs with the Release in `remember`.
    let remembered = unsafe { REMEMBERED.load(Ordering::Acquire).as_ref() };
    let known = remembered.is_some_and(|id| id.load(Ordering::Relaxed) == claimed && claimed != 0);
    // In a child that shares our memory (vfork) the page is the parent's: then this one asks, and writes nothing.
    known || std::process::id() as libc::pid_t == claimed
}

/// Remembers our process id. Only under the lock of the chain.
#[cfg(target_os = "linux")]
pub(super) fn remember(_held: &crate::chain::Lock) {
    let own = std::process::id() as libc::pid_t;
    // SAFETY: null, or the page below.
    if let Some(id) = unsafe { REMEMBERED.load(Ordering::Relaxed).as_ref() } {
        return id.store(own, Ordering::Relaxed);
    }
    // The kernel rounds up to its pages.
    let length = size_of::<AtomicI32>();
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping of our own.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), length, access, kind, -1, 0) };
    if page == libc::MAP_FAILED {
        return;
    }
    // SAFETY: the page just mapped.
    if unsafe { libc::madvise(page, length, libc::MADV_WIPEONFORK) } != 0 {
        // SAFETY: as above; nobody has seen it.
        unsafe { libc::munmap(page, length) };
        return;
    }
    let id = page.cast::<AtomicI32>();
    // SAFETY: zeroed memory is an atomic 0, aligned to a page.
    unsafe { &*id }.store(own, Ordering::Relaxed);
    REMEMBERED.store(id, Ordering::Release);
}

#[cfg(not(target_os = "linux"))]
pub(super) fn remember(_held: &crate::chain::Lock) {}

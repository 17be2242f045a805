//! Memory that lives for ever: slots, tables and wiped words, straight from the kernel.
//!
//! A handler may look at any of it at any time, so it is never given back; what is not in use waits in free lists.

use std::ffi::{c_int, c_void};

/// Room for `count` of `T`, all zeros, aligned to a page; null if the kernel has none.
pub(super) fn for_ever<T>(count: usize) -> *mut T {
    const { assert!(align_of::<T>() <= 4096) };
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let length = count * size_of::<T>();
    // SAFETY: a new mapping of our own.
    let area = unsafe { libc::mmap(std::ptr::null_mut(), length, access, kind, -1, 0) };
    if area == libc::MAP_FAILED { std::ptr::null_mut() } else { area.cast() }
}

/// As [`for_ever`], and zeros again in a forked child. On systems and kernels that cannot do that (before Linux 4.14) it is
/// ordinary memory: there a child forked in the middle of a fault of another thread may wait for it.
pub(super) fn wiped_on_fork<T>(count: usize) -> *mut T {
    let area = for_ever::<T>(count);
    if !area.is_null() {
        wipe_on_fork(area.cast(), count * size_of::<T>());
    }
    area
}

#[cfg(target_os = "linux")]
fn wipe_on_fork(area: *mut c_void, length: usize) -> c_int {
    // SAFETY: the mapping just made.
    unsafe { libc::madvise(area, length, libc::MADV_WIPEONFORK) }
}

#[cfg(not(target_os = "linux"))]
fn wipe_on_fork(_area: *mut c_void, _length: usize) -> c_int {
    -1
}

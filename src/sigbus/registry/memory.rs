//! Memory that lives for ever: slots, tables and wiped words, straight from the kernel.
//!
//! A handler may look at any of it at any time, so it is never given back; what is not in use waits
//! in free lists.

/// Room for `count` of `T`, all zeros, aligned to a page; null if the kernel has none.
pub(super) fn for_ever<T>(count: usize) -> *mut T {
    const { assert!(align_of::<T>() <= 4096) };
    let (access, kind) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let length = count * size_of::<T>();
    // SAFETY: a new mapping of our own.
    let area = unsafe { libc::mmap(std::ptr::null_mut(), length, access, kind, -1, 0) };
    if area == libc::MAP_FAILED { std::ptr::null_mut() } else { area.cast() }
}

//! Which process this is, told without a system call: a log belongs to the one that opened it.
//!
//! A forked child shares the file, its lock and its map with the parent. Were it to append, both would write over each other.
//! The word below lies in a page that the kernel clears in a child (`MADV_WIPEONFORK`, madvise(2)).

#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicU32, Ordering};

/// Of this process; another one in each forked child that opens logs, and 0 in one that does not.
#[cfg(target_os = "linux")]
pub(super) fn this() -> u32 {
    word().map_or_else(std::process::id, |word| word.load(Ordering::Relaxed))
}

/// As [`this`], for who opens a log.
#[cfg(target_os = "linux")]
pub(super) fn announce() -> u32 {
    if let Some(word) = word() {
        // Two threads of one process store the same.
        word.store(std::process::id(), Ordering::Relaxed);
    }
    this()
}

/// None on a kernel that does not know how (before 4.14): then the process is asked for its number each time.
#[cfg(target_os = "linux")]
fn word() -> Option<&'static AtomicU32> {
    static WORD: std::sync::OnceLock<Option<&'static AtomicU32>> = std::sync::OnceLock::new();
    *WORD.get_or_init(|| {
        const BYTES: usize = 4096; // the kernel takes whole pages
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), BYTES, access, kind, -1, 0) };
        if page == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: the page just made.
        if unsafe { libc::madvise(page, BYTES, libc::MADV_WIPEONFORK) } != 0 {
            // SAFETY: as above; nobody has seen it.
            unsafe { libc::munmap(page, BYTES) };
            return None;
        }
        // SAFETY: aligned, zeroed, never unmapped.
        Some(unsafe { &*page.cast::<AtomicU32>() })
    })
}

#[cfg(not(target_os = "linux"))]
pub(super) fn this() -> u32 {
    std::process::id()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn announce() -> u32 {
    std::process::id()
}

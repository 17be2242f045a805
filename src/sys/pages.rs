//! Pages: how large they are, and what of a file is mapped at once.

use super::call::Failed;
use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Memory that is promised without being kept ready, where that can be asked for.
#[cfg(not(any(target_os = "freebsd", target_os = "dragonfly")))]
pub(crate) const NO_RESERVE: c_int = libc::MAP_NORESERVE;
#[cfg(any(target_os = "freebsd", target_os = "dragonfly"))]
pub(crate) const NO_RESERVE: c_int = 0;

/// No page is smaller: what lies within one of these is mapped as a whole or not at all.
pub(crate) const LEAST_PAGE: usize = 4096;

/// Bytes of a page. Known before any handler needs it, which may not ask.
pub(crate) fn page_size() -> usize {
    static SIZE: AtomicUsize = AtomicUsize::new(0);
    let known = SIZE.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    let size = asked().unwrap_or(LEAST_PAGE);
    SIZE.store(size, Ordering::Relaxed);
    size
}

/// What the kernel has told the program; sysconf(3) says the same, and is more code to page in.
#[cfg(target_os = "linux")]
fn asked() -> Option<usize> {
    // SAFETY: asks for a number.
    Some(unsafe { libc::getauxval(libc::AT_PAGESZ) } as usize).filter(|size| *size != 0)
}

#[cfg(not(target_os = "linux"))]
fn asked() -> Option<usize> {
    // SAFETY: no pointers.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()
}

/// What can be mapped and replaced of a file: pages, on hugetlbfs huge pages. `block` is what
/// fstat(2) said: only a file with large blocks has to be asked.
#[cfg(target_os = "linux")]
pub(crate) fn granule_of(descriptor: c_int, block: u64) -> Result<usize, Failed> {
    if block <= page_size() as u64 {
        return Ok(page_size());
    }
    let mut room = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: room for one struct.
    if unsafe { libc::fstatfs(descriptor, room.as_mut_ptr()) } != 0 {
        return Err(Failed::last("fstatfs"));
    }
    // SAFETY: the call returned 0, so it filled the struct.
    let room = unsafe { room.assume_init_ref() };
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_lossless,
        reason = "the types differ between C libraries"
    )]
    let huge = room.f_type as i64 == libc::HUGETLBFS_MAGIC as i64;
    Ok(if huge { room.f_bsize as usize } else { page_size() })
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn granule_of(_descriptor: c_int, _block: u64) -> Result<usize, Failed> {
    Ok(page_size())
}

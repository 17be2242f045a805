//! Whether a page can be had now: asked of the kernel, which answers instead of faulting.
//! Signal-safe.

#[cfg(target_os = "linux")]
use crate::sys::call::errno;
use std::ffi::c_int;
use std::ops::Range;

/// `MADV_POPULATE_READ` and `MADV_POPULATE_WRITE` (Linux 5.14,
/// include/uapi/asm-generic/mman-common.h).
const POPULATE_READ: c_int = 22;
const POPULATE_WRITE: c_int = 23;

/// What a page of damaged memory answers.
#[cfg(target_os = "linux")]
pub(crate) const DAMAGED: c_int = libc::EHWPOISON;
#[cfg(not(target_os = "linux"))]
pub(crate) const DAMAGED: c_int = libc::EIO;

/// Whether all pages of the range are there, for reading or for writing.
#[cfg(target_os = "linux")]
pub(crate) fn are_there(pages: &Range<usize>, write: bool) -> bool {
    match populate(pages, write) {
        Ok(()) => true,
        // A kernel before 5.14, or rights that do not fit.
        Err(libc::EINVAL) => can_be_read(pages.start),
        Err(_) => false,
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn are_there(_pages: &Range<usize>, _write: bool) -> bool {
    false
}

/// Reads in (or allocates) every page of the range: `EFAULT` if one is lost, `EINVAL` if the kernel
/// cannot.
#[cfg(target_os = "linux")]
pub(crate) fn populate(pages: &Range<usize>, write: bool) -> Result<(), c_int> {
    let advice = if write { POPULATE_WRITE } else { POPULATE_READ };
    // SAFETY: changes no bytes; a bare system call that looks at the addresses itself.
    match unsafe { libc::syscall(libc::SYS_madvise, pages.start, pages.len(), advice) } {
        0 => Ok(()),
        _ => Err(errno()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn populate(_pages: &Range<usize>, _write: bool) -> Result<(), c_int> {
    Err(libc::EINVAL)
}

/// For kernels before 5.14: lets the kernel read one byte.
#[cfg(target_os = "linux")]
fn can_be_read(address: usize) -> bool {
    let mut byte = 0_u8;
    let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: address as *mut _, iov_len: 1 };
    // SAFETY: room for one byte.
    let read = unsafe { crate::sys::memory::read_own_memory(&local, &[remote]) };
    read == 1 || errno() != libc::EFAULT
}

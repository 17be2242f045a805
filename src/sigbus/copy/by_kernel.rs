//! The checked copy without a seat: the kernel copies, and says where it had to stop.
//!
//! process_vm_readv(2) of our own memory looks every page up as a fault would, but answers with a
//! count where a fault would raise SIGBUS. It is some 30 times slower for short copies and touches
//! no disposition.

use crate::error::Error;
use crate::sys::call::errno;
use libc::iovec;

/// Below what one call of the kernel's moves at most.
const AT_ONCE: usize = 1 << 30;

/// As [`super::try_copy`], for pointers that are not null and a `len` that is possible. A place
/// where nothing may be read or written is left to `plain`, which copies from there on: that is a
/// SIGSEGV, which is none of ours.
///
/// # Safety
/// As [`super::try_copy`].
pub(super) unsafe fn copy(
    dst: *mut u8,
    src: *const u8,
    len: usize,
    plain: impl FnOnce(*mut u8, *const u8, usize) -> usize,
) -> Result<usize, Error> {
    let mut done = 0;
    while done < len {
        let wanted = (len - done).min(AT_ONCE);
        let (to, from) = (dst.wrapping_add(done), src.wrapping_add(done));
        // SAFETY: by this function's contract.
        let moved = unsafe { move_some(to, from, wanted) }?;
        done += moved;
        if moved < wanted {
            let (to, from) = (to.wrapping_add(moved), from.wrapping_add(moved));
            let left = len - done;
            let no_bus = is_no_place(from.cast_mut(), libc::MADV_POPULATE_READ)
                || is_no_place(to, libc::MADV_POPULATE_WRITE);
            return Ok(if no_bus { done + plain(to, from, left) } else { done });
        }
    }
    Ok(done)
}

/// # Safety
/// As [`super::try_copy`].
unsafe fn move_some(dst: *mut u8, src: *const u8, len: usize) -> Result<usize, Error> {
    let local = iovec { iov_base: dst.cast(), iov_len: len };
    let remote = iovec { iov_base: src.cast_mut().cast(), iov_len: len };
    let process = std::process::id() as libc::pid_t;
    // SAFETY: whatever is there may be read and written; for what is not there the kernel says so.
    let count =
        unsafe { libc::process_vm_readv(process, &raw const local, 1, &raw const remote, 1, 0) };
    match errno() {
        _ if count >= 0 => Ok(count as usize),
        libc::EFAULT => Ok(0),
        errno => Err(Error::System(errno)),
    }
}

/// Whether nothing is mapped there, or nothing that may be accessed so. Kernels before 5.14 do not
/// tell.
fn is_no_place(at: *mut u8, advice: libc::c_int) -> bool {
    let page = crate::sys::pages::page_size();
    let start = at.wrapping_sub(at as usize % page);
    // SAFETY: brings a page in, as reading or writing it would; nothing is lost.
    let status = unsafe { libc::madvise(start.cast(), page, advice) };
    let errno = errno();
    status != 0 && (errno == libc::ENOMEM || errno == libc::EINVAL && is_known(advice))
}

/// EINVAL is what old kernels say of the advice itself.
fn is_known(advice: libc::c_int) -> bool {
    let mut probe = 0_u64;
    let page = crate::sys::pages::page_size();
    let start = (&raw mut probe).cast::<u8>();
    let start = start.wrapping_sub(start as usize % page);
    // SAFETY: a page of this stack, which is there.
    unsafe { libc::madvise(start.cast(), page, advice) == 0 }
}

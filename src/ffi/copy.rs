//! The checked copy.

use super::code;
use crate::mapping;
use crate::sigbus::copy;
use crate::sys::cancel::Uncancelled;
use std::ffi::{c_int, c_void};

/// Copies len bytes from src to dst as memcpy does, and returns how many came over: all, or as many
/// as there are before the first byte that cannot be read or written because of a SIGBUS (a mapped
/// file that was truncated, a full disk, lost memory). The count is exact to the byte; bytes of dst
/// after it are as they were. src and dst may not overlap. 0 if a pointer is NULL, len is 0 or
/// above SSIZE_MAX.
///
/// Needs no registration: for maps that the caller keeps. SIGSEGV is as it ever was until
/// sigward_try_copy_segv.
///
/// Changes no disposition. Once the seat for SIGBUS is taken (sigward_init, sigward_sigbus_guard,
/// any map) it costs what memcpy costs; before, the kernel copies (process_vm_readv), by a system
/// call for each copy. Signal-safe, thread-safe; works in a forked child. With the seat, in a
/// thread that has SIGBUS blocked, the kernel ends the process at a fault: see
/// sigward_thread_check.
///
/// Returns a count; else nothing was copied, or an unknown part: -ENOTSUP where there is no checked
/// copy (other systems than Linux, other processors than x86-64 and aarch64); without the seat, the
/// errno that process_vm_readv is refused with (seccomp): take the seat then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_try_copy(
    dst: *mut c_void,
    src: *const c_void,
    len: usize,
) -> libc::ssize_t {
    // SAFETY: the caller vouches for both sides, as far as they are there.
    match unsafe { copy::usual(dst.cast(), src.cast(), len) } {
        Some(count) => count as isize,
        // SAFETY: as above.
        None => unsafe { unusual(dst.cast(), src.cast(), len) },
    }
}

#[cold]
#[inline(never)]
unsafe fn unusual(dst: *mut u8, src: *const u8, len: usize) -> libc::ssize_t {
    // SAFETY: by the caller's contract.
    match unsafe { copy::unusual(dst, src, len) } {
        Ok(count) => count as isize,
        Err(error) => code(Err(error)) as isize,
    }
}

/// Lets sigward_try_copy return at a SIGSEGV of its own as well: an address where nothing is
/// mapped, or nothing that may be read or written. Takes the seat on top for SIGSEGV; every other
/// SIGSEGV goes to what stood there before, which sees it as without the library. Call it again
/// after another runtime has installed its handler. There is no way back.
///
/// Idempotent, thread-safe, works in a forked child; not for signal handlers.
///
/// Returns 0; -ENOTSUP where there is no checked copy; -ENOSPC, -EAGAIN, -EDEADLK or the errno of
/// sigaction(2) if the seat cannot be taken: then nothing has changed.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_try_copy_segv() -> c_int {
    let _whole = Uncancelled::enter();
    code(mapping::try_copy_segv())
}

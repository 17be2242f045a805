//! Told before a file is cut.

use super::code;
use super::handle::{close, open_handle, opened};
use crate::file::{Error, Lease, Notice};
use crate::mapping;
use crate::sys::cancel::Uncancelled;
use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// A file that nobody opens for writing or cuts before its holder was told: whoever wants to, also
/// in this process, waits until the lease is released, at most /proc/sys/fs/lease-break-time
/// seconds (45). Nobody is told of those who come from another machine or through the lower layer
/// of an overlay. Made by sigward_lease_take, ended by sigward_lease_release.
///
/// Read or map sigward_lease_file, and look at sigward_lease_is_wanted now and then: as soon as it
/// is, finish or copy. If sigward_lease_release returns 0, all that was read is as it was when the
/// lease was taken.
///
/// The kernel's notices go to a thread of the library's own that all leases share,
/// "sigward-leases"; it ends with the last lease. No signal handler, disposition or mask of
/// anybody's is touched. Replacing a file (rename(2)) and removing it are no concern of a lease:
/// who has it open keeps it.
///
/// A thread that opens the file for writing while it holds the lease waits for itself: use
/// O_NONBLOCK (EWOULDBLOCK), or release first. In a forked child a handle is the parent's lease:
/// releasing it there only closes the child's descriptors.
pub struct sigward_lease(Lease);

/// Opens the file at path for reading (symbolic links are followed) and takes a lease on it. *out
/// is the handle, or NULL on failure. Waits for nobody. It needs two descriptors, both closed on
/// exec.
///
/// Thread-safe; works in a forked child; not for signal handlers.
///
/// Returns 0. -EAGAIN: somebody has the file open for writing (also this process, by a writable map
/// too, and a child of it between fork and exec), or waits to. -EACCES: no permission to read it,
/// or it is somebody else's: leases are for the owner, and with CAP_LEASE. -EOPNOTSUPP: no leases
/// on this file system, or on this system. -EISDIR, -ENODEV: a directory, a pipe, socket or
/// device. -EINVAL: a NULL pointer. -ENOENT, -EMFILE, … as open(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_lease_take(
    path: *const c_char,
    out: *mut *mut sigward_lease,
) -> c_int {
    let _whole = Uncancelled::enter();
    let made = if path.is_null() {
        Err(Error::Invalid("no path"))
    } else {
        // SAFETY: NUL-terminated by the header's contract.
        Lease::take(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()))
    };
    // SAFETY: null, or room for a pointer.
    unsafe { hand_out(made, out) }
}

/// As sigward_lease_take, of a file that is open already. It is opened once more by way of
/// /proc/self/fd: fd may be closed, and its flags, owner and position are left alone.
///
/// Returns as sigward_lease_take; -EBADF: fd is not open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_lease_of(fd: c_int, out: *mut *mut sigward_lease) -> c_int {
    let _whole = Uncancelled::enter();
    let made = if fd < 0 {
        Err(Error::System { call: "fstat", errno: libc::EBADF })
    } else {
        // SAFETY: not -1; if it is not open, the first call on it says so.
        Lease::of(unsafe { BorrowedFd::borrow_raw(fd) })
    };
    // SAFETY: null, or room for a pointer.
    unsafe { hand_out(made, out) }
}

/// The file, open for reading: to read, map or copy from. The handle's own: do not close it, and
/// leave its owner and signal (F_SETOWN, F_SETSIG) alone. A map of it may outlive the lease, the
/// promise does not.
///
/// Thread-safe. -EINVAL if lease is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_lease_file(lease: *const sigward_lease) -> c_int {
    // SAFETY: null, or an open handle by the header's contract.
    unsafe { opened(lease) }.map_or(-libc::EINVAL, |lease| lease.0.file().as_raw_fd())
}

/// A descriptor that is readable as soon as somebody wants the file, and from then on: for poll(2),
/// epoll(7) and event loops. Do not read from it, and do not close it.
///
/// Thread-safe. -EINVAL if lease is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_lease_fd(lease: *const sigward_lease) -> c_int {
    // SAFETY: null, or an open handle by the header's contract.
    unsafe { opened(lease) }.map_or(-libc::EINVAL, |lease| lease.0.as_raw_fd())
}

/// Whether somebody wants the file: one look at memory, no system call. Thread-safe, signal-safe.
///
/// Returns 1 (and never 0 again) or 0; -EINVAL if lease is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_lease_is_wanted(lease: *const sigward_lease) -> c_int {
    // SAFETY: null, or an open handle by the header's contract.
    unsafe { opened(lease) }.map_or(-libc::EINVAL, |lease| c_int::from(lease.0.is_wanted()))
}

/// Waits until somebody wants the file, at most for timeout_ms milliseconds; below 0: for ever.
/// Once somebody does, it answers at once.
///
/// Thread-safe. Returns 1 if somebody does, and nothing has changed yet; 0 if nobody came in time;
/// -ESTALE if the kernel has broken the lease by force, or somebody has closed its descriptors (a
/// daemon's close_range(2)), so that the file may have changed; -EINVAL if lease is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_lease_wait(
    lease: *const sigward_lease,
    timeout_ms: c_int,
) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open handle by the header's contract.
    let Some(sigward_lease(lease)) = (unsafe { opened(lease) }) else {
        return -libc::EINVAL;
    };
    match lease.wait(u64::try_from(timeout_ms).ok().map(Duration::from_millis)) {
        Ok(None) => 0,
        Ok(Some(Notice::Wanted)) => 1,
        Ok(Some(Notice::Broken)) => -libc::ESTALE,
        Err(error) => -error.errno(),
    }
}

/// Whether the lease has held until now, wanted or not: what was read before this call is as it was
/// when the lease was taken. One system call; thread-safe.
///
/// Returns 0 if it has, -ESTALE if the kernel has broken it; -EINVAL if lease is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_lease_check(lease: *const sigward_lease) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open handle by the header's contract.
    match unsafe { opened(lease) } {
        Some(sigward_lease(lease)) if lease.is_held() => 0,
        Some(_) => -libc::ESTALE,
        None => -libc::EINVAL,
    }
}

/// How many milliseconds are left until the kernel breaks the lease by force; 0 when they have
/// passed. Reckoned from the notice: whether the lease held is told by sigward_lease_check and
/// sigward_lease_release.
///
/// Thread-safe. INT64_MAX while nobody wants the file, and where lease-break-time is 0
/// (never); -EINVAL if lease is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_lease_time_left_ms(lease: *const sigward_lease) -> i64 {
    // SAFETY: null, or an open handle by the header's contract.
    let Some(sigward_lease(lease)) = (unsafe { opened(lease) }) else {
        return i64::from(-libc::EINVAL);
    };
    lease.time_left().map_or(i64::MAX, |left| i64::try_from(left.as_millis()).unwrap_or(i64::MAX))
}

/// Gives the lease up, and frees the handle: whoever waits goes on. NULL is nothing to do.
///
/// Returns 0: all that was read under the lease is as it was when that was taken. -ESTALE: the
/// kernel had broken the lease before, or somebody had closed its descriptors, so what was read
/// last may be of another file, or of none. The handle is gone in both cases.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_lease_release(lease: *mut sigward_lease) -> c_int {
    let _whole = Uncancelled::enter();
    code(Ok(()));
    // SAFETY: null, or an open handle that nobody uses any more.
    match unsafe { close(lease) } {
        Some(sigward_lease(lease)) => lease.release().map_or_else(|error| -error.errno(), |()| 0),
        None => 0,
    }
}

/// # Safety
/// `out` is null or room for a pointer.
unsafe fn hand_out(made: Result<Lease, Error>, out: *mut *mut sigward_lease) -> c_int {
    let made = made.map_err(|error| mapping::Error::System { call: "lease", errno: error.errno() });
    // SAFETY: by this function's contract.
    unsafe { open_handle(out, made, sigward_lease) }
}

//! The two files that handlers ask while anything is adopted: opened before, closed afterwards.

use super::handler::area::{KEPT_FILE, Scratch, area_at, kept, open_maps, word};
use super::handler::zero::{DESCRIPTOR, NAME, descriptor, is_zero};
use crate::observe::in_handler::status;
use crate::sys::call::{Failed, errno};
use std::ffi::c_int;
use std::sync::atomic::Ordering;

/// Without /proc nobody tells what is mapped where.
pub(crate) const NO_PROC: Failed =
    Failed { call: "/proc/self/maps (is /proc mounted?)", errno: libc::ENOSYS };

/// Whether the kernel can be asked what is mapped where; or it could be, if there were descriptors.
pub(crate) fn look_for_proc() -> Result<(), Failed> {
    if kept().is_some() {
        return Ok(());
    }
    match open_maps() {
        -1 if matches!(errno(), libc::ENOENT | libc::ENOTDIR) => return Err(NO_PROC),
        -1 => {}
        // SAFETY: opened a moment ago.
        fd => drop(unsafe { libc::syscall(libc::SYS_close, fd) }),
    }
    Ok(())
}

/// Opens what is not open. Only under the lock of the list; not for handlers.
pub(super) fn open(scratch: &mut Scratch) {
    open_zeros(scratch);
    open_maps_file();
}

/// Closes them. Only under the lock of the list; nothing is adopted any more.
pub(super) fn close() {
    close_maps_file();
    close_zeros();
}

/// Opens /proc/self/maps, if it is not open. Only under the lock of the list; not for handlers.
fn open_maps_file() {
    let Some(word) = word().filter(|_| kept().is_none()) else { return };
    let fd = open_maps();
    let Some(file) = status(fd) else { return };
    KEPT_FILE[0].store(file.st_dev, Ordering::Relaxed);
    KEPT_FILE[1].store(file.st_ino, Ordering::Relaxed);
    word.store(fd.wrapping_add(1).unsigned_abs(), Ordering::Release);
}

/// Closes /proc/self/maps again. Only under the lock of the list.
fn close_maps_file() {
    let ours = kept();
    if let Some(word) = word() {
        word.store(0, Ordering::Release);
    }
    if let Some(fd) = ours {
        // SAFETY: ours; nobody uses it any more.
        unsafe { libc::syscall(libc::SYS_close, fd) };
    }
}

/// Opens /dev/zero, if it is not open. Only under the lock of the list; not for handlers.
fn open_zeros(scratch: &mut Scratch) {
    if descriptor().is_some() {
        return;
    }
    let flags = libc::O_RDWR | libc::O_CLOEXEC;
    // SAFETY: a C string.
    let fd =
        unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, c"/dev/zero".as_ptr(), flags) }
            as c_int;
    if fd < 0 || !is_zero(fd) {
        return;
    }
    let page = crate::sys::pages::page_size();
    // SAFETY: a new mapping that is only looked at from outside.
    let look = unsafe {
        libc::mmap(std::ptr::null_mut(), page, libc::PROT_READ, libc::MAP_PRIVATE, fd, 0)
    };
    if look != libc::MAP_FAILED {
        let name = area_at(look.addr(), scratch).map_or((0, 0), |area| area.file);
        // SAFETY: the mapping just made.
        unsafe { libc::munmap(look, page) };
        NAME[0].store(name.0, Ordering::Relaxed);
        NAME[1].store(name.1, Ordering::Relaxed);
    }
    DESCRIPTOR.store(fd, Ordering::Release);
}

/// Closes /dev/zero. Only under the lock of the list.
fn close_zeros() {
    let own = descriptor();
    DESCRIPTOR.store(-1, Ordering::Release);
    if let Some(fd) = own {
        // SAFETY: ours; nothing adopted is left to use it.
        unsafe { libc::syscall(libc::SYS_close, fd) };
    }
}

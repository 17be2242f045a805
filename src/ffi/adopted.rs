//! Guarding the maps of a library that maps by itself.

use super::handle::{close, open_handle, opened};
use super::mapping::answer;
use super::sized::Filled;
use super::{code, map_code};
use crate::mapping::{Adopted, Error, Fault, adopt_path, adopt_range};
use crate::sys::cancel::Uncancelled;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::BorrowedFd;

/// Mappings of a file that somebody else made, guarded. Made by sigward_adopt_file or
/// sigward_adopt_range, let go by sigward_adopted_close.
pub struct sigward_adopted(Adopted);

/// Guards every mapping of the file at path in this process, made before or after, executable ones
/// left out: for libraries that map by themselves (SQLite, LMDB). At a fault the kernel is asked
/// which file lies there, so mappings that are moved, split, protected anew or opened again are
/// guarded as well.
///
/// Guarded is the file that path names now, also after it was renamed or unlinked; and a file that
/// has the path at the moment of the fault, as after a rotation by rename. The path is that of the
/// file itself: where a symbolic link is switched to another file later, adopt that one as well
/// (sigward_adopted_verify tells), and so before a second rotation, as a file that only had the
/// path in between is nobody's. At most one descriptor is kept (O_PATH: it can neither read nor
/// write, and is no obstacle to leases, exec or watchers), none when half of the process's
/// descriptors are in use.
///
/// A lost page of a private mapping, or of a shared one that is read-only, becomes zeros, and the
/// library is not asked: look at sigward_adopted_status where its answers matter, and take them as
/// void if something is lost. A lost page of a SHARED WRITABLE mapping ends the process as without
/// the library, with the cause told in one line (sigward_last_words): a crash-safe store survives
/// that, but not writes that go nowhere. sigward_adopted_sink is the other way.
///
/// Thread-safe; in a forked child the mappings are guarded as well; not for signal handlers.
///
/// Returns 0, with *out the handle; -EINVAL if a pointer is NULL; -EISDIR, -ENODEV: a directory; a
/// pipe, socket or device. -ENOSYS: /proc is not mounted. Else what open(2) says, or
/// as sigward_init. On failure nothing is left behind but the seat for SIGBUS
/// (sigward_sigbus_guard), which may have been taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_adopt_file(
    path: *const c_char,
    out: *mut *mut sigward_adopted,
) -> c_int {
    let _whole = Uncancelled::enter();
    let adopted = if path.is_null() {
        Err(Error::Invalid("no path"))
    } else {
        // SAFETY: NUL-terminated by the header's contract.
        adopt_path(unsafe { CStr::from_ptr(path) })
    };
    // SAFETY: null, or room for a pointer.
    unsafe { open_handle(out, adopted, sigward_adopted) }
}

/// Guards one mapping that somebody else made, as sigward_adopt_file does: these bytes of its file,
/// at these addresses or where the owner moves them. addr is aligned to a page and mapped from
/// offset on; len may end anywhere. fd is the file's, or -1: then causes are SIGWARD_CAUSE_UNKNOWN
/// and sigward_adopted_heal is impossible. It may be closed afterwards.
///
/// The mapping stays its owner's: nothing here ever unmaps it. Thread-safe; not for signal
/// handlers.
///
/// Returns 0, with *out the handle. -EINVAL: NULL, not aligned, empty, not mapped from one file, or
/// from another one than fd. -EACCES: the mapping is executable. -EEXIST: part of it is guarded
/// already. -EOPNOTSUPP: a shared writable mapping of huge pages. -EBADF: fd is not
/// open. -ENOSYS: /proc is not mounted. -EOVERFLOW, or as sigward_init. Of a failure is left what
/// sigward_adopt_file leaves.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_adopt_range(
    addr: *const c_void,
    len: usize,
    fd: c_int,
    offset: libc::off_t,
    out: *mut *mut sigward_adopted,
) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: not -1; if it is not open, fstat says so.
    let file = (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) });
    let adopted = match u64::try_from(offset) {
        Err(_) => Err(Error::Invalid("a negative offset")),
        _ if fd < -1 => Err(Error::System { call: "fstat", errno: libc::EBADF }),
        Ok(_) if out.is_null() => Err(Error::Invalid("nowhere to put the handle")),
        Ok(offset) => adopt_range(addr.cast(), len, file, offset),
    };
    // SAFETY: null, or room for a pointer.
    unsafe { open_handle(out, adopted, sigward_adopted) }
}

/// How many mappings are guarded now. Reads /proc/self/maps. Thread-safe. Returns that; -EINVAL if
/// adopted is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_adopted_count(adopted: *const sigward_adopted) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open handle.
    match unsafe { opened(adopted) } {
        Some(adopted) => c_int::try_from(adopted.0.count()).unwrap_or(c_int::MAX),
        None => code(Err(crate::Error::InvalidArgument)),
    }
}

/// Whether bytes of any of the mappings are lost, as far as anybody has met them; out may be NULL.
/// out->offset is in bytes from the start of the FILE here. A loss stays, also when its mapping is
/// gone, until sigward_adopted_take or _heal.
///
/// Signal-safe, thread-safe. Returns 0 or 1 as sigward_map_status; -EINVAL if adopted is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_adopted_status(
    adopted: *const sigward_adopted,
    out: *mut Fault,
) -> c_int {
    // SAFETY: as the caller vouches for the pointers.
    unsafe { sigward_adopted_status_sized(adopted, out, Fault::FIRST) }
}

/// As sigward_adopted_status, for a struct of size bytes.
///
/// Returns as sigward_adopted_status; -EINVAL also for a size that no version has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_adopted_status_sized(
    adopted: *const sigward_adopted,
    out: *mut Fault,
    size: usize,
) -> c_int {
    // SAFETY: null, or an open handle; `out` by the header's contract.
    unsafe { ask(adopted, out, size, Adopted::status) }
}

/// The lowest lost offset in bytes from the start of the FILE, UINT64_MAX while nothing is lost:
/// what sigward_adopted_status looks at, for callers who look often. It is stored before any page
/// changes. Read it after the bytes, with an atomic fence (memory_order_seq_cst) in between. It is
/// there until sigward_adopted_close.
///
/// Signal-safe, thread-safe. NULL if adopted is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_adopted_poison_word(
    adopted: *const sigward_adopted,
) -> *const u64 {
    // SAFETY: null, or an open handle.
    unsafe { opened(adopted) }.map_or(std::ptr::null(), |adopted| adopted.0.poison_word())
}

/// As sigward_adopted_status, and forgets the loss: later ones are told anew. Zeros that took the
/// place of lost pages stay. Thread-safe; not for signal handlers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_adopted_take(
    adopted: *mut sigward_adopted,
    out: *mut Fault,
) -> c_int {
    // SAFETY: as the caller vouches for the pointers.
    unsafe { sigward_adopted_take_sized(adopted, out, Fault::FIRST) }
}

/// As sigward_adopted_take, for a struct of size bytes.
///
/// Returns as sigward_adopted_take; -EINVAL also for a size that no version has: then nothing is
/// forgotten.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_adopted_take_sized(
    adopted: *mut sigward_adopted,
    out: *mut Fault,
    size: usize,
) -> c_int {
    let _whole = Uncancelled::enter();
    if let Err(error) = super::sized::fits::<Fault>(size) {
        return map_code(Err(error));
    }
    // SAFETY: null, or an open handle; `out` by the header's contract.
    unsafe { ask(adopted, out, size, Adopted::take) }
}

/// # Safety
/// `adopted` is null or an open handle, `out` null or room for one struct of `size` bytes.
unsafe fn ask(
    adopted: *const sigward_adopted,
    out: *mut Fault,
    size: usize,
    look: impl FnOnce(&Adopted) -> Option<Fault>,
) -> c_int {
    // SAFETY: by this function's contract.
    let Some(adopted) = (unsafe { opened(adopted) }) else {
        return code(Err(crate::Error::InvalidArgument));
    };
    // SAFETY: null, or room for one struct of that size by the header's contract.
    unsafe { answer(look(&adopted.0), out, size) }
}

/// Looks at the file: nothing is lost, it is as long as it was when it was adopted (or a loss was
/// last taken or healed), was not changed since, and its path still names it. What the library
/// itself writes is a change as well: of a data base only the loss tells. A file that is shorter is
/// a loss from then on.
///
/// Thread-safe; two or three system calls; not for signal handlers. Returns 0. -EFAULT: bytes are
/// lost. -ESTALE: it was changed, or its path names another file, or none. -EBADF: the host has
/// closed the descriptor that was kept. -EINVAL: NULL, or a range without descriptor. Else what
/// fstat(2) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_adopted_verify(adopted: *const sigward_adopted) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open handle.
    let adopted = unsafe { opened(adopted) }.ok_or(Error::Invalid("no handle"));
    map_code(adopted.and_then(|adopted| adopted.0.verify()))
}

/// Lets up to bytes of lost pages in SHARED WRITABLE mappings be private memory, instead of ending
/// the process: what is written there goes nowhere, and other processes do not see it. 0, as it is
/// at first: none. When so many bytes are used up, the next lost page ends the process. It suits a
/// file that can be thrown away (a cache), and no data base.
///
/// Thread-safe. Returns 0; -EINVAL if adopted is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_adopted_sink(adopted: *mut sigward_adopted, bytes: u64) -> c_int {
    // SAFETY: null, or an open handle.
    let Some(adopted) = (unsafe { opened(adopted.cast_const()) }) else {
        return code(Err(crate::Error::InvalidArgument));
    };
    adopted.0.sink(bytes);
    code(Ok(()))
}

/// Maps the file's own pages over the zeros that took their place, wherever they are now, and
/// forgets the loss: what the file has now is seen, and what was written to the zeros is gone.
/// Nobody may be reading meanwhile.
///
/// Returns 0. -EINVAL if adopted is NULL, or nothing was kept to map the file by. -EBADF: the host
/// has closed the descriptor that was kept; nothing is changed then. -ESTALE: zeros took the place
/// of a later file that had the path: the owner must map that anew. Else what open(2) and mmap(2)
/// say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_adopted_heal(adopted: *mut sigward_adopted) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open handle.
    let adopted = unsafe { opened(adopted.cast_const()) }.ok_or(Error::Invalid("no handle"));
    // SAFETY: nobody reads the lost pages meanwhile, by the header's contract.
    map_code(adopted.and_then(|adopted| unsafe { adopted.0.heal() }))
}

/// Stops guarding; the library's mappings stay as they are. NULL is nothing to do. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_adopted_close(adopted: *mut sigward_adopted) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open handle by the header's contract.
    drop(unsafe { close(adopted) });
    code(Ok(()))
}

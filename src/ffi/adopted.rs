//! Guarding the maps of a library that maps by itself.

use super::handle::{close, open_handle, opened, opened_mut};
use super::mapping::answer;
use super::sized::Filled;
use super::{code, map_code};
use crate::mapping::{Adopted, Error, Fault, adopt_path};
use crate::sys::cancel::Uncancelled;
use std::ffi::{CStr, c_char, c_int};

/// Every mapping of one file in this process, guarded. Made by sigward_adopt_file, let go by sigward_adopted_close.
pub struct sigward_adopted(Adopted);

/// Guards every mapping of the file at path that this process has now, executable ones left out: for libraries that map by
/// themselves (SQLite, LMDB). There may be none yet. Lost pages read as zeros there, and the library is not asked: look at
/// sigward_adopted_status where its answers matter, and take them as void if something is lost.
///
/// Thread-safe; in a forked child the maps are guarded as well; not for signal handlers.
///
/// Returns 0, with *out the handle; -EINVAL if a pointer is NULL; else as sigward_map_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_adopt_file(path: *const c_char, out: *mut *mut sigward_adopted) -> c_int {
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

/// After the library has mapped anew: guards what is new and lets go of what is gone. No other thread may be using the handle.
///
/// Returns the number of mappings guarded now; -EINVAL if adopted is NULL; else as sigward_adopt_file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_adopted_rescan(adopted: *mut sigward_adopted) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open handle that nobody else uses meanwhile.
    let adopted = unsafe { opened_mut(adopted) }.ok_or(Error::Invalid("no handle"));
    match adopted.and_then(|adopted| adopted.0.rescan()) {
        Ok(count) => c_int::try_from(count).unwrap_or(c_int::MAX),
        Err(error) => map_code(Err(error)),
    }
}

/// How many mappings are guarded. Thread-safe. Returns that; -EINVAL if adopted is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_adopted_count(adopted: *const sigward_adopted) -> c_int {
    // SAFETY: null, or an open handle.
    match unsafe { opened(adopted) } {
        Some(adopted) => c_int::try_from(adopted.0.count()).unwrap_or(c_int::MAX),
        None => code(Err(crate::Error::InvalidArgument)),
    }
}

/// Whether bytes of any of the mappings are lost; out may be NULL. out->offset is in bytes from the start of the FILE here.
///
/// Signal-safe, thread-safe. Returns 0 or 1 as sigward_map_status; -EINVAL if adopted is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_adopted_status(adopted: *const sigward_adopted, out: *mut Fault) -> c_int {
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
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open handle.
    let Some(adopted) = (unsafe { opened(adopted) }) else {
        return code(Err(crate::Error::InvalidArgument));
    };
    // SAFETY: null, or room for one struct of that size by the header's contract.
    unsafe { answer(adopted.0.status(), out, size) }
}

/// Maps the file's own pages over the lost ones again: what it has now is seen, and what was written there meanwhile is gone.
/// Nobody may be reading, and the owner has not unmapped any of them without a rescan.
///
/// Returns 0; -EINVAL if adopted is NULL; else what mmap(2) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_adopted_heal(adopted: *mut sigward_adopted) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open handle that nobody else uses meanwhile.
    map_code(
        unsafe { opened_mut(adopted) }
            .ok_or(Error::Invalid("no handle"))
            .and_then(|adopted| adopted.0.heal()),
    )
}

/// Stops guarding; the library's mappings stay as they are. NULL is nothing to do. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_adopted_close(adopted: *mut sigward_adopted) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open handle by the header's contract.
    drop(unsafe { close(adopted) });
    code(Ok(()))
}

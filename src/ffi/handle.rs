//! Handles that C holds: boxes. In a debug build a closed one is remembered and its use ends the
//! process with a line, instead of in the memory of whatever came after it.

use super::map_code;
use crate::mapping::Error;
use std::ffi::c_int;

/// What an open handle begins with, and a closed one.
#[cfg(debug_assertions)]
const OPEN: u64 = 0x7369_6777_6172_6402;
#[cfg(debug_assertions)]
const CLOSED: u64 = 0x7369_6777_6172_64de;

/// The box behind a handle. The pointer that C has is to `value`.
#[repr(C)]
struct Boxed<T> {
    #[cfg(debug_assertions)]
    state: std::sync::atomic::AtomicU64,
    value: std::mem::ManuallyDrop<T>,
}

/// Hands `made` out as a handle; null on failure.
///
/// # Safety
/// `out` is null or room for a pointer.
pub(super) unsafe fn open_handle<M, T>(
    out: *mut *mut T,
    made: Result<M, Error>,
    wrap: impl FnOnce(M) -> T,
) -> c_int {
    // SAFETY: by this function's contract.
    let Some(out) = (unsafe { out.as_mut() }) else {
        return map_code(Err(Error::Invalid("nowhere to put the handle")));
    };
    *out = std::ptr::null_mut();
    map_code(made.map(|made| {
        let boxed = Box::new(Boxed {
            #[cfg(debug_assertions)]
            state: std::sync::atomic::AtomicU64::new(OPEN),
            value: std::mem::ManuallyDrop::new(wrap(made)),
        });
        let boxed = Box::into_raw(boxed);
        // SAFETY: just made; only the address of the field is taken.
        *out = unsafe { &raw mut (*boxed).value }.cast();
    }))
}

fn boxed<T>(handle: *const T) -> *mut Boxed<T> {
    handle.cast_mut().wrapping_byte_sub(std::mem::offset_of!(Boxed<T>, value)).cast()
}

/// What an open handle holds; none if it is null.
///
/// # Safety
/// `handle` is null or came from `open_handle` and was not closed.
pub(super) unsafe fn opened<'a, T>(handle: *const T) -> Option<&'a T> {
    check(handle, false);
    // SAFETY: by this function's contract.
    unsafe { handle.as_ref() }
}

/// As [`opened`], for what must be alone.
///
/// # Safety
/// As [`opened`], and nobody else uses the handle meanwhile.
pub(super) unsafe fn opened_mut<'a, T>(handle: *mut T) -> Option<&'a mut T> {
    check(handle, false);
    // SAFETY: by this function's contract.
    unsafe { handle.as_mut() }
}

/// Takes what the handle holds out of it; none if it is null.
///
/// # Safety
/// As [`opened_mut`], and the handle is used no more.
pub(super) unsafe fn close<T>(handle: *mut T) -> Option<T> {
    if handle.is_null() {
        return None;
    }
    check(handle, true);
    // SAFETY: by this function's contract it holds a value, which nobody else takes.
    let value = unsafe { handle.read() };
    // A debug build keeps the box, so that its state can be told later.
    #[cfg(not(debug_assertions))]
    // SAFETY: made by `Box::into_raw` in `open_handle`; the value in it is not dropped with it.
    drop(unsafe { Box::from_raw(boxed(handle)) });
    Some(value)
}

#[cfg(debug_assertions)]
fn check<T>(handle: *const T, closing: bool) {
    use std::sync::atomic::Ordering;
    if handle.is_null() {
        return;
    }
    // SAFETY: a box of `open_handle`, which a debug build never frees.
    let state = unsafe { &(*boxed(handle)).state };
    let found =
        if closing { state.swap(CLOSED, Ordering::AcqRel) } else { state.load(Ordering::Acquire) };
    if found != OPEN {
        let text = if closing { "closed twice" } else { "used after it was closed" };
        eprintln!("sigward: the handle {handle:p} is {text}");
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
fn check<T>(_handle: *const T, _closing: bool) {}

//! A plug-in that arms its host and is unloaded again. C strings and numbers in, 0 or 1 out.

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;

fn done<T, E>(result: Result<T, E>) -> c_int {
    c_int::from(result.is_err())
}

/// SIGPIPE and SIGBUS.
#[unsafe(no_mangle)]
pub extern "C" fn plug_init() -> c_int {
    done(sigward::init())
}

/// As `plug_init`, and the file is guarded for good, wherever it is mapped.
///
/// # Safety
/// A terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plug_adopt(path: *const c_char) -> c_int {
    // SAFETY: by this function's contract.
    let path = OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes());
    if plug_init() != 0 {
        1
    } else {
        done(sigward::mapping::adopt_file(path).map(std::mem::forget))
    }
}

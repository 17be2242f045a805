//! A second Rust staticlib in the same program, with a standard library and a panic machinery of
//! its own.

use std::ffi::c_int;

/// 1 if a panic in here is caught in here.
#[unsafe(no_mangle)]
pub extern "C" fn other_catches() -> c_int {
    std::panic::set_hook(Box::new(|_| {}));
    c_int::from(std::thread::spawn(|| panic!("other")).join().is_err())
}

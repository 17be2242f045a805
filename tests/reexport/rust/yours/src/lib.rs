//! A Rust staticlib that a Go service had before it had sigward: it uses the crate and hands its C functions on.

pub use sigward::ffi::*;
use std::ffi::c_int;
use std::io::Write;

/// Writes to a pipe without readers, on a thread of Rust's own. Returns the errno, 0 for success.
#[unsafe(no_mangle)]
pub extern "C" fn yours_write() -> c_int {
    let written = std::thread::spawn(|| {
        let (reader, mut writer) = std::io::pipe()?;
        drop(reader);
        writer.write_all(b"x")
    });
    match written.join() {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => error.raw_os_error().unwrap_or(-1),
        Err(_) => -2,
    }
}

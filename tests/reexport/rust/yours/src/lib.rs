//! A Rust staticlib that a Go service had before it had sigward: it uses the crate and hands its C
//! functions on.

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

/// Writes to a pipe without readers on the calling thread, under a guard of its own and on the
/// library's guard rung. Returns how many of the two failed as they should.
#[unsafe(no_mangle)]
pub extern "C" fn yours_guarded() -> c_int {
    let Ok((reader, mut writer)) = std::io::pipe() else { return -1 };
    drop(reader);
    let Ok(guard) = sigward::sigpipe::ThreadGuard::enter() else { return -1 };
    let first = writer.write_all(b"x").is_err();
    drop(guard);
    sigward::io::force(Some(sigward::io::Method::Guard));
    let second = sigward::io::write(&writer, b"x").is_err();
    c_int::from(first) + c_int::from(second)
}

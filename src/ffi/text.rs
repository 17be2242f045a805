//! Version and error texts.

use std::ffi::{c_char, c_int};

/// The library's version, for example "0.1.0". Never NULL, never freed.
///
/// Signal-safe, thread-safe.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_version() -> *const c_char {
    super::code(Ok(()));
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// What a code that a function of this header returned means, and what to do next. Takes the code as it
/// was returned (negative) or its errno (positive). Never NULL, never freed.
///
/// Signal-safe, thread-safe.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_strerror(code: c_int) -> *const c_char {
    let text = match code.wrapping_abs() {
        0 => c"success",
        libc::EINVAL => {
            c"an argument makes no sense: set size to sizeof the struct, check pointers and constants"
        }
        libc::ENOSPC => {
            c"every entry point of this process is in use: find who installs handlers anew and again"
        }
        libc::EDEADLK => {
            c"called from a signal handler that interrupted the same call: call it outside handlers"
        }
        libc::EAGAIN => {
            c"other threads keep changing this signal's disposition: call again when they have finished"
        }
        libc::ENOTSUP => c"not available on this system: use sigward_sigpipe_ignore",
        libc::EPERM | libc::EACCES | libc::ENOSYS => {
            c"the kernel refused to change the disposition: allow rt_sigaction in the seccomp filter"
        }
        _ => c"the kernel refused: see errno(3) for this number",
    };
    text.as_ptr()
}

//! What may go wrong with signals, before it does.

use super::code;
use crate::sys::cancel::Uncancelled;
use std::ffi::c_char;

/// Looks at this process, as `sigward audit PID` does from outside, and writes what it has found
/// into buf of cap bytes: one JSON object in one line, NUL-terminated, "process_audit" of `sigward
/// schema`: runtimes, signals ignored and caught, findings with evidence and remedy, and in "own"
/// what only the process itself can see: each handler with its library, its flags and who comes
/// after it, and how SIGPIPE and SIGBUS stand.
///
/// Reads /proc, also of all other processes that it may look at, so it takes milliseconds, and 20
/// more where a signal is blocked that matters (they are looked at twice). Thread-safe; works in a
/// forked child; not for signal handlers. Changes nothing but the counter overwritten, as
/// sigward_status.
///
/// Returns the length of the text without the NUL. If that is cap or more, it has not fit: buf is
/// the empty text then, and a call with more room says what there is by then. buf may be NULL if
/// cap is 0. -EINVAL: buf is NULL and cap is not 0. -ENOENT: there is no /proc. -ENOTSUP: not on
/// Linux. Else as sigward_status. Not in the archive that Go links, whose package has Audit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_audit_json(buf: *mut c_char, cap: usize) -> libc::ssize_t {
    let _whole = Uncancelled::enter();
    // Keeps the constructor, as each function does.
    code(Ok(()));
    if buf.is_null() && cap != 0 {
        return -(libc::EINVAL as libc::ssize_t);
    }
    #[cfg(target_os = "linux")]
    let found = crate::audit::audit()
        .map(|account| account.json())
        .map_err(|error| error.raw_os_error().unwrap_or(libc::ENOENT));
    #[cfg(not(target_os = "linux"))]
    let found: Result<String, i32> = Err(libc::ENOTSUP);
    let text = match found {
        Ok(text) => text,
        Err(errno) => return -(errno as libc::ssize_t),
    };
    if cap != 0 {
        // SAFETY: `cap` bytes by the header's contract.
        let room = unsafe { std::slice::from_raw_parts_mut(buf.cast::<u8>(), cap) };
        let fits = if text.len() < cap { text.as_bytes() } else { &[] };
        room[..fits.len()].copy_from_slice(fits);
        room[fits.len()] = 0;
    }
    text.len() as libc::ssize_t
}

//! For packages of a runtime (Go's `sigward`), not for applications.

use super::code;
use crate::sigpipe;
use std::ffi::c_int;

/// Go's code lies from address low to before high, so a write from there is Go's own. Idempotent,
/// thread-safe.
///
/// Returns 0; -EINVAL for an empty range; -ENOSPC after 16 runtimes.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_runtime_text(low: usize, high: usize) -> c_int {
    code(sigpipe::runtime::add_text(low, high))
}

/// 1 if Go has recorded the constructor's handler where it would have recorded SIG_DFL
/// without us, 0 if not.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_runtime_default_beneath() -> c_int {
    match sigpipe::has_default_beneath() {
        Ok(answer) => code(Ok(())) + c_int::from(answer),
        Err(error) => code(Err(error)),
    }
}

/// Between signal.Ignore and signal.Notify: puts SIG_DFL where Go has just put SIG_IGN,
/// for Go to record.
///
/// Returns 0 or as sigward_init.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_runtime_give_default() -> c_int {
    code(sigpipe::give_default_to_runtime())
}

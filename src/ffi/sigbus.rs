//! The seat for SIGBUS.

use super::{code, map_code};
use crate::mapping;
use crate::sys::cancel::Uncancelled;
use std::ffi::c_int;

/// Takes the seat on top for SIGBUS, above whatever handler stands there; that one goes on to get
/// every fault and signal that is not ours. sigward_init and the first map do it by themselves.
/// Once it is taken this does nothing, also where another handler has come above it:
/// sigward_ensure_on_top takes the top again. Children start with SIG_DFL, also where SIGBUS was
/// ignored before. Idempotent; thread-safe; works in a forked child.
///
/// Returns 0 or as sigward_init.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_sigbus_guard() -> c_int {
    let _whole = Uncancelled::enter();
    code(mapping::guard())
}

/// Leaves the seat for SIGBUS. A sigward_try_copy that another thread is in meanwhile is not looked
/// after any more. Idempotent; thread-safe; works in a forked child.
///
/// Returns 0; -EBUSY while maps are open or files adopted; else as sigward_init.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_sigbus_restore() -> c_int {
    let _whole = Uncancelled::enter();
    map_code(mapping::restore())
}

/// SIGBUS is blocked in this thread: a fault kills the process, and no handler runs.
pub const SIGWARD_THREAD_BLOCKED: c_int = 1;
/// Another handler stands above ours: sigward_ensure_on_top.
pub const SIGWARD_THREAD_COVERED: c_int = 2;
/// Nobody has taken the seat: sigward_sigbus_guard.
pub const SIGWARD_THREAD_UNGUARDED: c_int = 4;

/// Whether a fault on the calling thread would be caught. Signal-safe, changes nothing.
///
/// Returns 0 if it would; else a sum of SIGWARD_THREAD_*.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_thread_check() -> c_int {
    let found = mapping::thread_check().err().unwrap_or_default();
    let bit = |found: bool, bit: c_int| if found { bit } else { 0 };
    code(Ok(()))
        + bit(found.blocked, SIGWARD_THREAD_BLOCKED)
        + bit(found.covered, SIGWARD_THREAD_COVERED)
        + bit(found.unguarded, SIGWARD_THREAD_UNGUARDED)
}

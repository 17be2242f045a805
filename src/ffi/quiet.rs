//! Quiet threads.

use super::code;
use crate::sigpipe::quiet;
use crate::sys::cancel::Uncancelled;
use std::ffi::c_int;

/// From now on until sigward_quiet_thread_leave a SIGPIPE that is the echo of a write of this
/// thread ends in our handler, whatever stands behind it: a host's own handler, Go's. For libraries
/// in a host that handles SIGPIPE itself.
///
/// It needs sigward_init, and our handler to be asked: on top, or beneath one that passes signals
/// on (sigward_ensure_on_top). No disposition and no mask changes, so nothing leaks into children,
/// and a kill(2) does what it always did; a signal that waits behind a mask of yours comes, when
/// you open that, as without us. It nests. No system call, except for the first of a
/// process, and for more threads at a time than ever before; signal-safe except there. A thread
/// that ends is not quiet any more. After fork(2) the child's only thread stays quiet. Not across
/// separate calls from Go, which may change threads in between.
///
/// Returns 0. -ENOMEM: no memory for one more thread. -EOVERFLOW: entered 2,047 times.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_quiet_thread_enter() -> c_int {
    let _whole = Uncancelled::enter();
    code(quiet::enter())
}

/// Takes one sigward_quiet_thread_enter of this thread back. No system call; signal-safe.
///
/// Returns 0; -EINVAL if the thread is not quiet.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_quiet_thread_leave() -> c_int {
    let _whole = Uncancelled::enter();
    code(quiet::leave())
}

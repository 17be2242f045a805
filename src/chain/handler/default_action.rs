//! The default action, so that nobody can tell it from the kernel's own.
//!
//! SIG_DFL goes into the kernel's table, the same siginfo is queued to this thread again, and the
//! signal is unblocked in the mask that the handler returns to. So the process ends (or dumps core)
//! at the interrupted instruction, with the siginfo and the wait status that it would have had
//! without us. For a fault that is right as well: the instruction would only fault again.
//!
//! The init process of a pid namespace is special: for it the kernel drops any signal at SIG_DFL
//! (`SIGNAL_UNKILLABLE`, `sig_task_ignored` in kernel/signal.c). Then so do we, and keep our seat.
//! A true fault kills it all the same: the instruction runs again at SIG_DFL and the kernel forces
//! the signal.

use super::Delivery;
use super::farewell::farewell;
use super::trace::without_marks;
use crate::chain::disposition::Disposition;
use crate::sys::mask;
use std::ffi::{c_int, c_void};

/// Ends with the default action of `signal` once the handler has returned. Not inlined: it needs
/// more stack than what it is called from.
#[inline(never)]
pub(super) fn default_action(delivery: &Delivery<'_>) {
    let (signal, info, context) = (delivery.signal, delivery.info, delivery.context);
    match signal {
        libc::SIGCHLD | libc::SIGCONT | libc::SIGURG | libc::SIGWINCH => return,
        libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => return raise(libc::SIGSTOP),
        _ => {}
    }
    // SAFETY: null, or the siginfo of this delivery.
    let info = unsafe { info.as_ref() };
    let fault = info.is_some_and(|info| info.si_code > 0);
    if std::process::id() == 1 && !fault {
        return;
    }
    farewell(delivery, None);
    if Disposition::default_action().write(signal).is_err() {
        // A seccomp filter refuses sigaction(2): sent again, the signal would only come back to us.
        // SAFETY: ends the process; signal-safe.
        unsafe { libc::_exit(128 + signal) }
    }
    if !info.is_some_and(|info| queue(signal, info)) {
        raise(signal);
    }
    unblock(signal, context);
}

/// Queues the signal to this thread with its original siginfo; false if the kernel refuses.
#[cfg(target_os = "linux")]
fn queue(signal: c_int, info: &libc::siginfo_t) -> bool {
    let copy = without_marks(info, signal);
    // SAFETY: no arguments, cannot fail.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) };
    let process = std::process::id();
    // SAFETY: `copy` is a whole siginfo; rt_tgsigqueueinfo(2) lets a thread send itself any code.
    unsafe {
        libc::syscall(libc::SYS_rt_tgsigqueueinfo, process, thread, signal, &raw const copy) == 0
    }
}

#[cfg(not(target_os = "linux"))]
fn queue(signal: c_int, info: &libc::siginfo_t) -> bool {
    // No system call carries a siginfo here; a fault comes again by itself.
    without_marks(info, signal).si_code > 0
}

fn raise(signal: c_int) {
    // SAFETY: signal-safe; a valid number.
    if unsafe { libc::raise(signal) } != 0 {
        // SAFETY: the last resort: ends the process; signal-safe.
        unsafe { libc::_exit(128 + signal) }
    }
}

/// Lets the queued signal in when the handler returns; at once where there is no context to change.
fn unblock(signal: c_int, context: *mut c_void) {
    if context.is_null() {
        let mut set = crate::chain::disposition::empty_set();
        // SAFETY: an initialised set and a valid number.
        unsafe { libc::sigaddset(&raw mut set, signal) };
        // SAFETY: `set` is a set; no old mask is asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) };
        return;
    }
    // SAFETY: the context of this delivery.
    let saved = unsafe { mask::in_context(context) };
    // SAFETY: the kernel filled the part of the set that holds real signals, and reads that part
    // back.
    unsafe { libc::sigdelset(saved, signal) };
}

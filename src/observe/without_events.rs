//! Whether the handler for SIGPIPE keeps events, for which it asks the kernel, or makes no system
//! call at all.

use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) static ON: AtomicBool = AtomicBool::new(false);

/// For sandboxes (seccomp(2), also in strict mode): a swallowed SIGPIPE is counted, and nothing
/// else is said of it. The handler makes no system call on x86-64 and aarch64.
///
/// What would take one is decided without: a write to a pipe at descriptor 1 or 2 ends here as
/// well, a quiet descriptor is known by its number, and a write that was cut short is one also
/// where the number of the system call is unknown. A signal that is no echo goes to its predecessor
/// as ever, which takes system calls. Thread-safe; not for signal handlers, as the first call asks
/// for memory; a forked child goes on as its parent.
#[doc(alias = "seccomp")]
#[doc(alias = "SIGWARD_NO_EVENTS")]
pub fn without_events(on: bool) {
    if on {
        #[cfg(target_os = "linux")]
        remember_after_fork();
    }
    ON.store(on, Ordering::Relaxed);
}

/// Signal-safe.
pub(crate) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// What tells an echo from another process's kill(2) is the process id: a child asks for its own
/// right after fork(3), while it still may.
#[cfg(target_os = "linux")]
fn remember_after_fork() {
    static ONCE: AtomicBool = AtomicBool::new(false);
    unsafe extern "C" fn child() {
        crate::sys::wiped::remember_process();
    }
    if !ONCE.swap(true, Ordering::Relaxed) {
        // SAFETY: a function that is signal-safe and stays; without memory a child asks in the
        // handler.
        unsafe { libc::pthread_atfork(None, None, Some(child)) };
    }
}

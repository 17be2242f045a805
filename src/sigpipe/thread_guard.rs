//! The thread guard: SIGPIPE cannot be delivered to this thread while it lasts, and none that was
//! raised inside is left behind.
//!
//! For calls that no flag makes quiet (`sendfile`, `splice`) and for libraries that write by
//! themselves. It changes nothing but this thread's signal mask, so it disturbs nobody. What makes
//! it more than two calls of pthread_sigmask(3) is what may be pending:
//!
//! | pending at the start | raised inside | at the end |
//! |---|---|---|
//! | nothing | nothing | nothing to do |
//! | nothing | by a write of this thread | consumed |
//! | nothing | by kill(2), meanwhile | given back: it was not ours |
//! | on the process, or meanwhile | nothing by this thread | the process's stays |
//! | on the process | by a write of this thread | the thread's is consumed, the process's stays |
//! | on this thread | by a write of this thread | both are one to the kernel, which stays |
//!
//! Guards nest: to the inner one the outer one's signals are pending at the start, and stay for the
//! outer. What is started inside inherits the mask (clone(2)) and keeps it: a thread, and a child
//! by fork(2), posix_spawn(3), popen(3), system(3), which then cannot die of SIGPIPE when its
//! reader has gone. Start nothing inside; a [`QuietThread`](super::QuietThread) changes no mask.

use crate::error::Error;
use crate::sys::pending;
use libc::SIGPIPE;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Blocks SIGPIPE in this thread until it is dropped, also by a panic.
///
/// Start no thread and no child inside: it would have SIGPIPE blocked for ever, and `pclose` could
/// wait for one that does not end. For calls that may do so take a
/// [`QuietThread`](super::QuietThread), which changes no mask.
///
/// Not for another thread (`!Send`), and not to be held across an `.await` or a call into Go, which
/// may go on on another thread.
///
/// # References
/// sigprocmask(2), sigpending(2), sigtimedwait(2).
///
/// ```
/// # use std::io::Write;
/// let (reader, mut writer) = std::io::pipe()?;
/// drop(reader);
/// let guard = sigward::sigpipe::ThreadGuard::enter()?;
/// let error = writer.write(b"x").unwrap_err();
/// drop(guard); // the SIGPIPE of that write is gone
/// assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "SIGPIPE is blocked only while the guard lives"]
#[derive(Debug)]
#[doc(alias = "pthread_sigmask")]
#[doc(alias = "sigtimedwait")]
#[doc(alias = "sigward_thread_guard_enter")]
pub struct ThreadGuard {
    state: GuardState,
    not_send: PhantomData<*const ()>,
}

impl ThreadGuard {
    /// Blocks SIGPIPE in this thread. Signal-safe, thread-safe, works in a forked child.
    ///
    /// # Errors
    /// [`Error::System`] if the kernel refuses rt_sigprocmask(2) (seccomp); then nothing has
    /// changed.
    pub fn enter() -> Result<Self, Error> {
        Ok(Self { state: GuardState::enter()?, not_send: PhantomData })
    }
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        self.state.leave();
    }
}

/// What a guard has to know at its end. For C it is kept in the caller's struct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GuardState {
    /// SIGPIPE was blocked before: the mask stays as it is.
    pub(crate) was_blocked: bool,
    /// A SIGPIPE of this thread was pending before: it is not ours to consume.
    pub(crate) was_pending: bool,
}

impl GuardState {
    pub(crate) fn enter() -> Result<Self, Error> {
        let set = pending::only(SIGPIPE);
        let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: both point to sets.
        let status =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, before.as_mut_ptr()) };
        if status != 0 {
            return Err(Error::System(status));
        }
        // SAFETY: zeroed, then filled by the call.
        let before = unsafe { before.assume_init() };
        let was_blocked = pending::holds(&before, SIGPIPE);
        // What is not blocked is delivered, not pending.
        let was_pending = was_blocked && pending::is_on_thread(SIGPIPE);
        Ok(Self { was_blocked, was_pending })
    }

    /// Consumes what was raised inside and restores the mask.
    pub(crate) fn leave(self) {
        if !self.was_pending {
            pending::take_a_calls(SIGPIPE);
        }
        if !self.was_blocked {
            let set = pending::only(SIGPIPE);
            // SAFETY: `set` is a set; no old mask is asked for.
            unsafe {
                libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut())
            };
        }
    }
}

//! Calls that no signal disturbs, and that raise none.
//!
//! A write or an allocation beyond `RLIMIT_FSIZE` is answered by EFBIG and SIGXFSZ, and the signal
//! ends the process. And fallocate(2) on tmpfs gives everything back when a signal comes, and says
//! EINTR, on older kernels (not on 6.18): under a profiler's timer a large reservation would begin
//! again for ever. So the thread's signals wait until the call is done, and a SIGXFSZ that it
//! raised is taken back; whoever sent another one finds it delivered afterwards.

use libc::SIGXFSZ;
use std::ffi::c_int;
use std::mem::MaybeUninit;

/// What waits while the call lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::file) enum Hold {
    /// Every signal.
    All,
    /// SIGXFSZ only: for calls that may wait long for somebody else's computer.
    SizeLimit,
}

/// Does `work` with these signals blocked in this thread.
pub(in crate::file) fn quietly<T>(hold: Hold, work: impl FnOnce() -> Result<T, c_int>) -> Result<T, c_int> {
    let held = if hold == Hold::All { every_signal() } else { only_size_limit() };
    let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: both point to sets.
    let status = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const held, before.as_mut_ptr()) };
    if status != 0 {
        return Err(status);
    }
    let pending_before = is_pending();
    let result = work();
    if matches!(result, Err(libc::EFBIG)) && !pending_before && is_pending() {
        take_one();
    }
    // SAFETY: filled by the first call; no old mask is asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    result
}

fn every_signal() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: room for a set.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: zeroed and filled.
    unsafe { set.assume_init() }
}

fn only_size_limit() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: room for a set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: an emptied set and a valid number.
    unsafe { libc::sigaddset(set.as_mut_ptr(), SIGXFSZ) };
    // SAFETY: zeroed and filled.
    unsafe { set.assume_init() }
}

fn is_pending() -> bool {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: room for a set.
    unsafe { libc::sigpending(set.as_mut_ptr()) };
    // SAFETY: zeroed, and filled if the call succeeded, which it does.
    let set = unsafe { set.assume_init() };
    // SAFETY: an initialised set and a valid number.
    unsafe { libc::sigismember(&raw const set, SIGXFSZ) == 1 }
}

/// The thread's own comes first (`dequeue_signal` in kernel/signal.c): it is the one that the call
/// raised.
fn take_one() {
    let set = only_size_limit();
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a set and a time; nobody asks for the siginfo.
    unsafe { libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const now) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raise() {
        // SAFETY: a valid number; to this thread.
        unsafe { libc::raise(SIGXFSZ) };
    }

    #[test]
    fn a_signal_that_the_call_raised_is_taken_back() {
        for hold in [Hold::All, Hold::SizeLimit] {
            let result: Result<(), c_int> = quietly(hold, || {
                raise(); // would end this process
                Err(libc::EFBIG)
            });
            assert_eq!(result, Err(libc::EFBIG));
            assert!(!is_pending());
        }
    }

    #[test]
    fn one_that_was_pending_before_stays() {
        let set = only_size_limit();
        // SAFETY: a set; no old mask is asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        raise();
        let result: Result<(), c_int> = quietly(Hold::All, || Err(libc::EFBIG));
        assert!(result.is_err() && is_pending());
        take_one();
        assert!(!is_pending());
        assert_eq!(quietly(Hold::All, || Ok(7)), Ok(7));
        // SAFETY: a set; no old mask is asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) };
    }

    #[test]
    fn the_mask_is_as_before() {
        let held = || {
            let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
            // SAFETY: room for a set; nothing is changed.
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), set.as_mut_ptr()) };
            // SAFETY: zeroed and filled.
            let set = unsafe { set.assume_init() };
            // SAFETY: an initialised set and a valid number.
            unsafe { libc::sigismember(&raw const set, libc::SIGALRM) == 1 }
        };
        assert_eq!((held(), quietly(Hold::All, || Ok(held())), held()), (false, Ok(true), false));
        assert_eq!(quietly(Hold::SizeLimit, || Ok(held())), Ok(false));
    }
}

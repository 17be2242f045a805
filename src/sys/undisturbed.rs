//! Calls that no signal disturbs, and that raise none.
//!
//! A write or an allocation beyond `RLIMIT_FSIZE` is answered by EFBIG and SIGXFSZ, and the signal
//! ends the process. And fallocate(2) on tmpfs gives everything back when a signal comes, and says
//! EINTR, on older kernels (not on 6.18): under a profiler's timer a large reservation would begin
//! again for ever. So the thread's signals wait until the call is done, and a SIGXFSZ that it
//! raised is taken back; whoever sent another one finds it delivered afterwards.

use super::mask::all_sent;
use super::pending;
use libc::SIGXFSZ;
use std::ffi::c_int;
use std::mem::MaybeUninit;

/// What waits while the call lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// Every signal that others send.
    All,
    /// SIGXFSZ only: for calls that may wait long for somebody else's computer.
    SizeLimit,
}

/// Does `work` with every signal blocked in this thread that others send.
pub(crate) fn undisturbed<T>(work: impl FnOnce() -> Result<T, c_int>) -> Result<T, c_int> {
    holding(Hold::All, work)
}

/// Does `work`, in which a write beyond `RLIMIT_FSIZE` is EFBIG and raises no signal.
pub(crate) fn within_limit<T>(work: impl FnOnce() -> Result<T, c_int>) -> Result<T, c_int> {
    holding(Hold::SizeLimit, work)
}

fn holding<T>(hold: Hold, work: impl FnOnce() -> Result<T, c_int>) -> Result<T, c_int> {
    let mut work = Some(work);
    let mut result = None;
    while_held(hold, &mut || {
        result = work.take().map(|work| work());
        matches!(result, Some(Err(libc::EFBIG)))
    })?;
    result.unwrap_or(Err(libc::EINVAL)) // it was called once
}

/// Once for all kinds of work. `too_long` does it, and says whether it has met the limit.
#[inline(never)]
fn while_held(hold: Hold, too_long: &mut dyn FnMut() -> bool) -> Result<(), c_int> {
    let held = if hold == Hold::All { all_sent() } else { pending::only(SIGXFSZ) };
    let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: both point to sets.
    let status =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const held, before.as_mut_ptr()) };
    if status != 0 {
        return Err(status);
    }
    // SAFETY: filled by the call.
    let before = unsafe { before.assume_init() };
    // One that was not blocked does not wait.
    let was_pending = pending::holds(&before, SIGXFSZ) && pending::is_on_thread(SIGXFSZ);
    if too_long() && !was_pending {
        pending::take_a_calls(SIGXFSZ);
    }
    // SAFETY: an initialised set; no old mask is asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel raises it for a call beyond the limit; with another code, as others do.
    fn raise(code: c_int) {
        let mut info = [0_u32; 32];
        (info[0], info[2], info[4]) = (SIGXFSZ as u32, code as u32, std::process::id());
        let (process, room) = (std::process::id(), info.as_ptr());
        // SAFETY: no arguments.
        let thread = unsafe { libc::gettid() };
        // SAFETY: a whole siginfo.
        let status =
            unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, process, thread, SIGXFSZ, room) };
        assert_eq!(status, 0);
    }

    fn blocked(how: c_int) {
        let set = pending::only(SIGXFSZ);
        // SAFETY: a set; no old mask is asked for.
        unsafe { libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()) };
    }

    #[test]
    fn a_signal_that_the_call_raised_is_taken_back() {
        for hold in [Hold::All, Hold::SizeLimit] {
            let result: Result<(), c_int> = holding(hold, || {
                raise(libc::SI_USER); // would end this process
                Err(libc::EFBIG)
            });
            assert_eq!(result, Err(libc::EFBIG));
            assert!(!pending::is_on_thread(SIGXFSZ));
        }
    }

    #[test]
    fn what_others_have_sent_stays() {
        blocked(libc::SIG_BLOCK);
        raise(libc::SI_TKILL);
        for meanwhile in [false, true] {
            let result: Result<(), c_int> = undisturbed(|| {
                if meanwhile {
                    raise(libc::SI_TKILL);
                }
                Err(libc::EFBIG)
            });
            assert!(result.is_err() && pending::is_on_thread(SIGXFSZ));
            take();
        }
        assert_eq!(undisturbed(|| Ok(7)), Ok(7));
        blocked(libc::SIG_UNBLOCK);
    }

    fn take() {
        let (set, now) = (pending::only(SIGXFSZ), libc::timespec { tv_sec: 0, tv_nsec: 0 });
        // SAFETY: a set and a time; nobody asks for the siginfo.
        unsafe { libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const now) };
        assert!(!pending::is_on_thread(SIGXFSZ));
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
        assert_eq!((held(), undisturbed(|| Ok(held())), held()), (false, Ok(true), false));
        assert_eq!(within_limit(|| Ok(held())), Ok(false));
    }
}

//! The calling thread's signal mask, as the kernel has it.
//!
//! glibc's sigfillset(3) and pthread_sigmask(3) leave out signals 32 and 33, which it keeps for
//! cancellation and for setuid(2) on all threads. A handler of theirs in the middle of ours is as
//! bad as any other, so on Linux the mask goes to rt_sigprocmask(2) as 64 bits. Everything here is
//! signal-safe.

use std::ffi::{c_int, c_void};

/// What the processor, or a filter of system calls, raises for this thread's own instruction: the
/// kernel ends a process whose thread has blocked its own.
pub(crate) const FAULTS: [c_int; 6] =
    [libc::SIGBUS, libc::SIGSEGV, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS];

/// The C library's set of all signals but those that it keeps for itself and [`FAULTS`].
pub(crate) fn all_sent() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: room for a set.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    for fault in FAULTS {
        // SAFETY: a set that was filled, and a number that is a signal's.
        unsafe { libc::sigdelset(set.as_mut_ptr(), fault) };
    }
    // SAFETY: zeroed and filled.
    unsafe { set.assume_init() }
}

/// A set of signals.
#[derive(Clone, Copy)]
pub(crate) struct Mask(Set);

#[cfg(target_os = "linux")]
type Set = u64;
#[cfg(not(target_os = "linux"))]
type Set = libc::sigset_t;

impl Mask {
    /// Blocks every signal in this thread and returns the mask before. SIGKILL, SIGSTOP and faults
    /// of this very thread cannot be held back.
    pub(crate) fn block_all() -> Self {
        Self(exchange(libc::SIG_SETMASK, Some(full())))
    }

    /// Blocks what others may send at any moment, and returns the mask before: all but [`FAULTS`].
    pub(crate) fn block_sent() -> Self {
        let sent = FAULTS.into_iter().fold(Self(full()), Self::without);
        Self(exchange(libc::SIG_BLOCK, Some(sent.0)))
    }

    /// The mask now.
    pub(crate) fn now() -> Self {
        Self(exchange(libc::SIG_BLOCK, None))
    }

    /// What the kernel looks at of a C library's set.
    pub(crate) fn of(set: &libc::sigset_t) -> Self {
        #[cfg(target_os = "linux")]
        // SAFETY: every C library's set begins with the kernel's 64 bits.
        return Self(unsafe { std::ptr::from_ref(set).cast::<Set>().read_unaligned() });
        #[cfg(not(target_os = "linux"))]
        Self(*set)
    }

    /// With one signal more.
    pub(crate) fn with(mut self, signal: c_int) -> Self {
        #[cfg(target_os = "linux")]
        {
            self.0 |= only(signal);
        }
        #[cfg(not(target_os = "linux"))]
        // SAFETY: an initialised set; a number that is no signal changes nothing.
        unsafe {
            libc::sigaddset(&raw mut self.0, signal)
        };
        self
    }

    /// With one signal less.
    pub(crate) fn without(mut self, signal: c_int) -> Self {
        #[cfg(target_os = "linux")]
        {
            self.0 &= !only(signal);
        }
        #[cfg(not(target_os = "linux"))]
        // SAFETY: an initialised set; a number that is no signal changes nothing.
        unsafe {
            libc::sigdelset(&raw mut self.0, signal)
        };
        self
    }

    /// With all that are in the other.
    pub(crate) fn and(self, other: Self) -> Self {
        #[cfg(target_os = "linux")]
        return Self(self.0 | other.0);
        #[cfg(not(target_os = "linux"))]
        (1..=64).filter(|signal| other.holds(*signal)).fold(self, Self::with)
    }

    /// Makes this the thread's mask and returns the one before.
    pub(crate) fn exchange(self) -> Self {
        Self(exchange(libc::SIG_SETMASK, Some(self.0)))
    }

    /// The set as the kernel has it.
    #[cfg(target_os = "linux")]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// The set with these bits.
    #[cfg(target_os = "linux")]
    pub(crate) fn of_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Makes this the thread's mask.
    pub(crate) fn restore(self) {
        exchange(libc::SIG_SETMASK, Some(self.0));
    }

    #[cfg(any(test, not(target_os = "linux")))]
    pub(crate) fn holds(self, signal: c_int) -> bool {
        holds(self.0, signal)
    }
}

/// The mask that comes back when the handler that was given this context returns. Signal-safe.
///
/// # Safety
/// The context of a delivery.
pub(crate) unsafe fn in_context(context: *mut c_void) -> *mut libc::sigset_t {
    let context = context.cast::<libc::ucontext_t>();
    #[cfg(not(target_os = "openbsd"))]
    // SAFETY: by this function's contract; only the address of the field is made.
    let mask = unsafe { &raw mut (*context).uc_sigmask };
    #[cfg(target_os = "openbsd")]
    // SAFETY: as above; a set is the bits of one number there.
    let mask = unsafe { &raw mut (*context).sc_mask }.cast();
    mask
}

/// Calls `work` with the signals of this thread blocked: a thread that it starts is born so. Those
/// that the C library keeps for itself stay let in, or its setuid(2) would wait for ever for a
/// thread that lives on.
pub(crate) fn with_signals_blocked<T>(work: impl FnOnce() -> T) -> T {
    let sent = all_sent();
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: a set, and room for one.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const sent, before.as_mut_ptr()) };
    let result = work();
    // SAFETY: filled by the first call, which cannot fail; no old mask is asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    result
}

#[cfg(target_os = "linux")]
fn full() -> Set {
    u64::MAX
}

#[cfg(target_os = "linux")]
fn only(signal: c_int) -> Set {
    u32::try_from(signal - 1).ok().and_then(|bit| 1_u64.checked_shl(bit)).unwrap_or(0)
}

#[cfg(all(test, target_os = "linux"))]
fn holds(set: Set, signal: c_int) -> bool {
    set & only(signal) != 0
}

#[cfg(target_os = "linux")]
fn exchange(how: c_int, new: Option<Set>) -> Set {
    let new = new.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let mut before: Set = 0;
    // SAFETY: null or one set of the kernel's size, and room for another. The call changes nothing
    // else.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, new, &raw mut before, size_of::<Set>()) };
    before
}

#[cfg(not(target_os = "linux"))]
fn empty() -> Set {
    let mut set = std::mem::MaybeUninit::<Set>::zeroed();
    // SAFETY: room for a set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: zeroed and emptied: a set of numbers.
    unsafe { set.assume_init() }
}

#[cfg(not(target_os = "linux"))]
fn full() -> Set {
    let mut set = empty();
    // SAFETY: an initialised set.
    unsafe { libc::sigfillset(&raw mut set) };
    set
}

#[cfg(not(target_os = "linux"))]
fn holds(set: Set, signal: c_int) -> bool {
    // SAFETY: an initialised set.
    unsafe { libc::sigismember(&raw const set, signal) == 1 }
}

#[cfg(not(target_os = "linux"))]
fn exchange(how: c_int, new: Option<Set>) -> Set {
    let new = new.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let mut before = empty();
    // SAFETY: null or a set, and room for another.
    unsafe { libc::pthread_sigmask(how, new, &raw mut before) };
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_blocked_is_seen_and_goes_again() {
        let before = Mask::block_all();
        let now = Mask::now();
        assert!(now.holds(libc::SIGPIPE) && now.holds(libc::SIGTERM));
        #[cfg(target_os = "linux")]
        assert!(now.holds(32) && now.holds(33), "the C library's own signals");
        before.restore();
        assert_eq!(Mask::now().holds(libc::SIGTERM), before.holds(libc::SIGTERM));
        let before = Mask::block_all();
        Mask::now().without(libc::SIGUSR1).restore();
        assert!(!Mask::now().holds(libc::SIGUSR1) && Mask::now().holds(libc::SIGUSR2));
        before.restore();
        let before = Mask::block_sent();
        assert!(Mask::now().holds(libc::SIGTERM) && !Mask::now().holds(libc::SIGSYS));
        before.restore();
        assert_eq!(Mask::now().holds(libc::SIGTERM), before.holds(libc::SIGTERM));
    }
}

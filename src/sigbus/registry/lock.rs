//! A lock for signal handlers and for processes that fork, die and share memory: a word that names
//! its holder.
//!
//! | what a holder may do | what becomes of the lock |
//! |---|---|
//! | fork, or be another thread's business while that one forks | the word lies in memory that the kernel clears in the child (`wiped.rs`) |
//! | run at a lower priority than who waits | who waits sleeps (futex(2)), so the holder runs |
//! | be killed: a child that shares memory (`CLONE_VM`, vfork(2)) and dies in the middle | who has waited for long asks the kernel whether the holder lives, and takes its place if not |
//! | be interrupted by a handler that wants the same lock, jumps out or ends the thread | not while it is [`Held`], as signals wait then |
//!
//! Taking over is safe for the reason that forking is: each single store under these locks leaves
//! what they guard whole.

use super::super::sync::{AtomicU32, Ordering};
use crate::sys::mask::Mask;
use crate::sys::process::{is_dead, thread_id};

/// 0, or the holder's thread id; the highest bit says that somebody sleeps. Thread ids end at 2^22
/// (proc(5), pid_max).
#[repr(transparent)]
pub(crate) struct Lock(AtomicU32);

const WAITED_FOR: u32 = 1 << 31;

/// Why a lock was not had.
pub(super) enum NotHad {
    /// This thread has it already.
    Reentered,
    /// Another thread has it for longer than the caller waits.
    Busy,
}

/// The lock, held.
pub(crate) struct Locked<'a>(&'a Lock);

impl Lock {
    /// A word as a lock.
    #[cfg(not(sigward_loom))]
    pub(crate) fn of(word: &'static AtomicU32) -> &'static Self {
        // SAFETY: the struct is transparent.
        unsafe { &*std::ptr::from_ref(word).cast() }
    }

    #[cfg(all(test, sigward_loom))]
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Takes it, if nobody has it. Signal-safe.
    pub(crate) fn try_lock(&self, me: u32) -> Option<Locked<'_>> {
        // Acquire pairs with the Release of `drop`: what the last holder wrote is seen.
        let free = self.0.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).is_ok();
        // (Not `then_some`: a lock that is made and dropped unlocks.)
        free.then(|| Locked(self))
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if self.0.0.swap(0, Ordering::Release) & WAITED_FOR != 0 {
            wait::wake(&self.0.0);
        }
    }
}

/// The lock, held by a thread whose signals wait: a handler of somebody else's could jump out, or
/// end the thread, and leave the lock to nobody.
pub(super) struct Held<'a> {
    locked: Option<Locked<'a>>,
    signals: Mask,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.locked = None;
        self.signals.restore();
    }
}

impl Lock {
    /// Waits for it and holds the thread's signals back that others send, until it is let go. Who
    /// waits lets them in, some hundredths of a second late. Not had if this thread has it already:
    /// we are in the handler of a fault inside the holder, or one has jumped out of it; or when
    /// `give_up` says so, which is asked from time to time. Not for handlers.
    pub(super) fn hold(&self, mut give_up: impl FnMut() -> bool) -> Result<Held<'_>, NotHad> {
        let me = thread_id();
        loop {
            let signals = Mask::block_sent();
            let reentered = self.0.load(Ordering::Relaxed) & !WAITED_FOR == me;
            let locked = if reentered { None } else { self.wait(me) };
            if locked.is_some() {
                return Ok(Held { locked, signals });
            }
            signals.restore();
            if reentered {
                return Err(NotHad::Reentered);
            }
            if give_up() {
                return Err(NotHad::Busy);
            }
        }
    }

    /// Waits for it, and takes it again if this thread has it already: it was left by longjmp, or
    /// this is a handler that has interrupted the holder. Only where two holders do no harm. Not
    /// for handlers.
    pub(super) fn lock_again(&self) -> Locked<'_> {
        let me = thread_id();
        loop {
            if let Some(locked) = self.wait(me) {
                return locked;
            }
        }
    }

    /// Waits for it, at most some hundredths of a second; none if somebody has it still.
    /// One that this thread has already is had again. Signal-safe where no signal can interrupt a
    /// holder.
    pub(crate) fn wait(&self, me: u32) -> Option<Locked<'_>> {
        const SPINS: usize = 100;
        for _ in 0..SPINS {
            if let Some(locked) = self.try_lock(me) {
                return Some(locked);
            }
            std::hint::spin_loop();
        }
        let word = self.0.load(Ordering::Relaxed);
        if word & !WAITED_FOR == me {
            // Left by longjmp, where that can be; else no holder is interrupted, and a dead thread
            // had the same number.
            return Some(Locked(self));
        }
        let sleeping = word | WAITED_FOR;
        if word == 0
            || self
                .0
                .compare_exchange(word, sleeping, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return self.try_lock(me);
        }
        let timed_out = wait::sleep(&self.0, sleeping);
        if timed_out && is_dead(word & !WAITED_FOR) {
            // Others may sleep for it: whoever lets go wakes them.
            let mine = me | WAITED_FOR;
            let taken =
                self.0.compare_exchange(sleeping, mine, Ordering::Acquire, Ordering::Relaxed);
            return taken.is_ok().then(|| Locked(self));
        }
        // Who was woken is not the only one: the word must say again that somebody may sleep.
        let mine = me | WAITED_FOR;
        let free = self.0.compare_exchange(0, mine, Ordering::Acquire, Ordering::Relaxed).is_ok();
        free.then(|| Locked(self))
    }
}

/// Bare system calls: signal-safe, and no cancellation points.
#[cfg(target_os = "linux")]
mod wait {
    use super::AtomicU32;
    use crate::sys::call::errno;

    /// How long a sleeper sleeps before it asks whether the holder lives.
    static PATIENCE: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 50_000_000 };

    /// Sleeps while the word is `expected`; true if nobody woke us.
    pub(super) fn sleep(word: &AtomicU32, expected: u32) -> bool {
        let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: a word that lives for ever, and a time that the call only reads.
        let slept = unsafe {
            libc::syscall(
                libc::SYS_futex,
                std::ptr::from_ref(word),
                operation,
                expected,
                &raw const PATIENCE,
            )
        };
        slept != 0 && errno() == libc::ETIMEDOUT
    }

    pub(super) fn wake(word: &AtomicU32) {
        let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: a word that lives for ever.
        unsafe { libc::syscall(libc::SYS_futex, std::ptr::from_ref(word), operation, i32::MAX) };
    }
}

#[cfg(not(target_os = "linux"))]
mod wait {
    use super::AtomicU32;

    pub(super) fn sleep(_word: &AtomicU32, _expected: u32) -> bool {
        let short = libc::timespec { tv_sec: 0, tv_nsec: 100_000 };
        // SAFETY: a time that the call only reads; nanosleep(2) is signal-safe.
        unsafe { libc::nanosleep(&raw const short, std::ptr::null_mut()) };
        false
    }

    pub(super) fn wake(_word: &AtomicU32) {}
}

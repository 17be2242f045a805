//! Ctrl-C and the like, taken when it suits.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

/// The signals that we wait for, blocked so that none comes between a look and a wait.
pub struct Waiting {
    set: libc::sigset_t,
    /// What was blocked before.
    pub inherited: libc::sigset_t,
    /// What SIGCHLD did before.
    pub on_child: libc::sighandler_t,
}

impl Waiting {
    /// Blocks them.
    pub fn new() -> Self {
        let empty = || {
            let mut set = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
            // SAFETY: room for a set.
            unsafe { libc::sigemptyset(set.as_mut_ptr()) };
            // SAFETY: emptied.
            unsafe { set.assume_init() }
        };
        let (mut set, mut inherited) = (empty(), empty());
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
            // SAFETY: a set, and a signal's number.
            unsafe { libc::sigaddset(&raw mut set, signal) };
        }
        // SAFETY: ignored, SIGCHLD would take the status of children away.
        let on_child = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        // SAFETY: two whole sets.
        unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, &raw mut inherited) };
        Self { set, inherited, on_child }
    }

    /// The next one that comes.
    pub fn wait(&self, at_most: Duration) -> Option<i32> {
        let time = libc::timespec { tv_sec: at_most.as_secs() as libc::time_t, tv_nsec: 0 };
        // SAFETY: a set, no room for a siginfo wanted, a time.
        let signal =
            unsafe { libc::sigtimedwait(&raw const self.set, std::ptr::null_mut(), &raw const time) };
        (signal > 0).then_some(signal)
    }

    /// Whether somebody wants us to end, without waiting.
    pub fn is_interrupted(&self) -> bool {
        self.wait(Duration::ZERO).is_some()
    }
}

/// Calls a thread out of a wait that nothing but a handler ends, as waitid(2) does.
pub struct Calls(Arc<AtomicI32>);

/// Why.
pub enum Call {
    /// Somebody has sent this signal.
    Signal(i32),
    /// A second has gone by.
    Second,
}

const NONE: i32 = 0;
const SECOND: i32 = -1;
/// No other use is made of it here, nor has it a handler when a child is forked.
const POKE: i32 = libc::SIGALRM;

impl Calls {
    /// Starts the thread that waits, for the calling one.
    pub fn start(waiting: Waiting) -> Self {
        extern "C" fn nothing(_: i32) {}
        let handler: extern "C" fn(i32) = nothing;
        let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: all zero but the handler, so without SA_RESTART.
        unsafe { (*action.as_mut_ptr()).sa_sigaction = handler as libc::sighandler_t };
        // SAFETY: a whole action, whose handler does nothing.
        unsafe { libc::sigaction(POKE, action.as_ptr(), std::ptr::null_mut()) };
        // SAFETY: asks for a number.
        let process = unsafe { libc::getpid() };
        // SAFETY: as above.
        let thread = unsafe { libc::gettid() };
        let call = Arc::new(AtomicI32::new(NONE));
        let own = Self(Arc::clone(&call));
        std::thread::spawn(move || {
            loop {
                call.store(waiting.wait(Duration::from_secs(1)).unwrap_or(SECOND), Ordering::Release);
                // Between its last look and its wait it would not see one poke.
                while call.load(Ordering::Acquire) != NONE {
                    // SAFETY: numbers, and a thread of ours.
                    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, POKE) };
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        });
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: room for a set.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: a set, and a signal's number.
        unsafe { libc::sigaddset(set.as_mut_ptr(), POKE) };
        // SAFETY: a whole set; only this thread is called.
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), std::ptr::null_mut()) };
        own
    }

    /// The call that has come, if there is one.
    pub fn take(&self) -> Option<Call> {
        if self.0.load(Ordering::Relaxed) == NONE {
            return None;
        }
        match self.0.swap(NONE, Ordering::AcqRel) {
            NONE => None,
            SECOND => Some(Call::Second),
            signal => Some(Call::Signal(signal)),
        }
    }
}

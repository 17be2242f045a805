//! Ctrl-C and the like, taken when it suits.

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
        for signal in [libc::SIGCHLD, libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
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
        std::iter::from_fn(|| self.wait(Duration::ZERO)).any(|signal| signal != libc::SIGCHLD)
    }
}

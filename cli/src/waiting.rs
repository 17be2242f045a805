//! Ctrl-C and the like, taken when it suits.

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};
use nix::unistd::gettid;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

/// The signals that we wait for, blocked so that none comes between a look and a wait.
pub struct Waiting {
    set: SigSet,
    /// What was blocked before.
    pub inherited: SigSet,
    /// What SIGCHLD did before.
    pub on_child: libc::sighandler_t,
}

impl Waiting {
    /// Blocks them.
    pub fn new() -> Self {
        let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];
        let set = SigSet::from_iter(signals);
        // SAFETY: ignored, SIGCHLD would take the status of children away.
        let on_child = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        let inherited = set.thread_swap_mask(SigmaskHow::SIG_BLOCK).unwrap_or(SigSet::empty());
        Self { set, inherited, on_child }
    }

    /// The next one that comes.
    pub fn wait(&self, at_most: Duration) -> Option<i32> {
        let time = libc::timespec { tv_sec: at_most.as_secs() as libc::time_t, tv_nsec: 0 };
        // SAFETY: a set, no room for a siginfo wanted, a time.
        let signal =
            unsafe { libc::sigtimedwait(self.set.as_ref(), std::ptr::null_mut(), &raw const time) };
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
const POKE: Signal = Signal::SIGALRM;

impl Calls {
    /// Starts the thread that waits, for the calling one.
    pub fn start(waiting: Waiting) -> Self {
        extern "C" fn nothing(_: i32) {}
        // Without SA_RESTART.
        let action =
            SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
        // SAFETY: its handler does nothing.
        let _ = unsafe { sigaction(POKE, &action) };
        let (process, thread) = (std::process::id(), gettid().as_raw());
        let call = Arc::new(AtomicI32::new(NONE));
        let own = Self(Arc::clone(&call));
        std::thread::spawn(move || {
            loop {
                call.store(
                    waiting.wait(Duration::from_secs(1)).unwrap_or(SECOND),
                    Ordering::Release,
                );
                // Between its last look and its wait it would not see one poke.
                while call.load(Ordering::Acquire) != NONE {
                    // SAFETY: numbers, and a thread of ours.
                    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, POKE as i32) };
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        });
        // Only this thread is called.
        let _ = SigSet::from(POKE).thread_unblock();
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

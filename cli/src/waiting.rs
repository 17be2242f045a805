//! Ctrl-C and the like, taken when it suits.

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};
use nix::unistd::gettid;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

/// The signals that we wait for, blocked so that none comes between a look and a wait.
///
/// What was ignored when the command was started (nohup(1), a script's background) stays so.
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
        // Whom we have stopped would wait for as long as Ctrl-Z stops us.
        let stops = SigSet::from_iter([Signal::SIGTTIN, Signal::SIGTTOU]);
        let ends = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];
        let signals = ends.into_iter().chain([Signal::SIGTSTP]);
        let set: SigSet = signals.filter(|signal| !is_ignored(*signal)).collect();
        // SAFETY: ignored, SIGCHLD would take the status of children away.
        let on_child = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        let inherited = set.thread_swap_mask(SigmaskHow::SIG_BLOCK).unwrap_or(SigSet::empty());
        let _ = stops.thread_block();
        Self { set, inherited, on_child }
    }

    /// The next one that comes, and whether the kernel has sent it: a terminal's.
    pub fn wait(&self, at_most: Duration) -> Option<(i32, bool)> {
        let time = libc::timespec { tv_sec: at_most.as_secs() as libc::time_t, tv_nsec: 0 };
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: a set, room for a siginfo, a time.
        let signal =
            unsafe { libc::sigtimedwait(self.set.as_ref(), info.as_mut_ptr(), &raw const time) };
        // SAFETY: zeroed, and filled by the call.
        let info = unsafe { info.assume_init() };
        (signal > 0).then_some((signal, info.si_code > 0))
    }

    /// Whether somebody wants us to end, without waiting.
    pub fn is_interrupted(&self) -> bool {
        self.wait(Duration::ZERO).is_some_and(|(signal, _)| signal != libc::SIGTSTP)
    }
}

fn is_ignored(signal: Signal) -> bool {
    let mut found = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is set, and there is room for the answer.
    unsafe { libc::sigaction(signal as i32, std::ptr::null(), found.as_mut_ptr()) };
    // SAFETY: zeroed is a valid value.
    unsafe { found.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Calls a thread out of a wait that nothing but a handler ends, as waitid(2) does.
pub struct Calls(Arc<AtomicI32>);

/// Why.
pub enum Call {
    /// Somebody has sent this signal, or the kernel has.
    Signal { signal: i32, by_kernel: bool },
    /// A second has gone by.
    Second,
}

const NONE: i32 = 0;
const SECOND: i32 = -1;
/// Added to the number of a signal.
const BY_KERNEL: i32 = 1 << 8;
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
                let next = match waiting.wait(Duration::from_secs(1)) {
                    None => SECOND,
                    Some((signal, false)) => signal,
                    Some((signal, true)) => signal + BY_KERNEL,
                };
                call.store(next, Ordering::Release);
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
            call => {
                let by_kernel = call >= BY_KERNEL;
                Some(Call::Signal { signal: call % BY_KERNEL, by_kernel })
            }
        }
    }
}

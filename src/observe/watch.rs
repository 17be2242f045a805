//! A thread that looks for events and reports them: never a handler.
//!
//! What is reported may make events itself, where the logger's own peer has gone. The thread has
//! SIGPIPE blocked, as all signals that are sent, so a write there is EPIPE and no event. What a
//! logger writes on threads of its own cannot be told from others: it is cut by [`Budget`].

use super::{Event, read_events, ring};
use crate::sys::mask::with_signals_blocked;
use crate::sys::process::{self, Process};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// So many events are reported at once,
const BURST: f64 = 512.0;
/// and so many a second from then on.
const PER_SECOND: f64 = 10.0;

/// Events without a report, since the report before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreported {
    /// Those that the library had to drop: it keeps 512 between two looks.
    pub missed: u64,
    /// Those of more than 512 at once and 10 a second from then on.
    pub suppressed: u64,
}

/// What [`watch`] has started: goes on until it is dropped, which waits until the events of before
/// are reported. Dropped by its own report, that was the last one; in a forked child it waits for
/// nobody.
#[derive(Debug)]
#[must_use = "dropped, it ends"]
pub struct Watch {
    over: Arc<Over>,
    process: Process,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Over {
    is: Mutex<bool>,
    said: Condvar,
    /// The report itself has ended it.
    at_once: AtomicBool,
}

impl Over {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end, at most so long.
    fn within(&self, interval: Duration) -> bool {
        let waited = self.said.wait_timeout_while(self.lock(), interval, |over| !*over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Calls `report` for each event from now on, from a thread of its own that looks every `interval`
/// (a millisecond at least). With it comes what had no report since the one before; a last call
/// without an event tells what is left of that at the end, if anything is.
///
/// The thread has every signal blocked but for faults: a write there to a broken peer is an error
/// and no event. Events that `report` makes on other threads are cut to the rate that
/// [`Unreported::suppressed`] names. If `report` panics, the thread ends.
///
/// Any number of watches may go on; each reports all events. A forked child has no such thread:
/// nothing is reported there until it calls this again. Not for signal handlers.
///
/// # Errors
/// The operating system has no thread to give.
///
/// ```
/// use std::time::Duration;
///
/// let watch = sigward::observe::watch(Duration::from_secs(1), |event, unreported| {
///     if let Some(event) = event {
///         eprintln!("{event}");
///     }
///     if unreported.missed > 0 {
///         eprintln!("{} more were lost", unreported.missed);
///     }
/// })?;
/// // …
/// drop(watch); // all is told
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn watch(
    interval: Duration,
    report: impl FnMut(Option<&Event>, Unreported) + Send + 'static,
) -> io::Result<Watch> {
    let (over, process) = (Arc::<Over>::default(), process::announce());
    let mut drain = Drain {
        process,
        over: over.clone(),
        cursor: ring::newest(),
        report,
        unreported: Unreported::default(),
        budget: Budget { left: BURST, filled: Instant::now() },
    };
    let interval = interval.max(Duration::from_millis(1));
    let run = move || {
        while drain.goes_on() {
            let last = drain.over.within(interval);
            drain.all();
            if last {
                return drain.rest();
            }
        }
    };
    let thread = std::thread::Builder::new().name("sigward-watch".into());
    let thread = with_signals_blocked(|| thread.spawn(run))?;
    Ok(Watch { over, process, thread: Some(thread) })
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if self.process != process::this() {
            // The thread, and who may hold the lock, are the parent's.
            std::mem::forget(thread);
            return;
        }
        if thread.thread().id() == std::thread::current().id() {
            self.over.at_once.store(true, Ordering::Relaxed);
            return;
        }
        *self.over.lock() = true;
        self.over.said.notify_all();
        // A report that panicked has ended it, and the panic was told.
        let _ = thread.join();
    }
}

struct Drain<R> {
    process: Process,
    over: Arc<Over>,
    cursor: u64,
    report: R,
    unreported: Unreported,
    budget: Budget,
}

impl<R: FnMut(Option<&Event>, Unreported)> Drain<R> {
    /// Not after a report that has ended its watch, nor in a child where one has forked.
    fn goes_on(&self) -> bool {
        !self.over.at_once.load(Ordering::Relaxed) && self.process == process::this()
    }

    /// Reports what is there, and does not follow for ever those who write faster.
    fn all(&mut self) {
        let mut events = [Event::default(); 16];
        for _ in 0..=ring::SLOTS as usize / events.len() {
            let before = self.cursor;
            let count = read_events(&mut self.cursor, &mut events);
            // Each number is an event that is read or one that is gone.
            self.unreported.missed += self.cursor - before - count as u64;
            for event in events.iter().take(count) {
                if self.budget.spend(Instant::now()) {
                    (self.report)(Some(event), std::mem::take(&mut self.unreported));
                } else {
                    self.unreported.suppressed += 1;
                }
                if !self.goes_on() {
                    return;
                }
            }
            if count == 0 {
                return;
            }
        }
    }

    fn rest(&mut self) {
        if self.unreported != Unreported::default() && self.goes_on() {
            (self.report)(None, std::mem::take(&mut self.unreported));
        }
    }
}

/// How many events may be reported now.
struct Budget {
    left: f64,
    filled: Instant,
}

impl Budget {
    fn spend(&mut self, now: Instant) -> bool {
        let grown = now.saturating_duration_since(self.filled).as_secs_f64() * PER_SECOND;
        self.left = BURST.min(self.left + grown);
        self.filled = now;
        let enough = self.left >= 1.0;
        if enough {
            self.left -= 1.0;
        }
        enough
    }
}

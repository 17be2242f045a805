//! One thread and one queue of events for all files of the process, `sigward-reload`.
//!
//! Both come with the first file and go with the last. The thread waits for events, for a call from
//! another thread and for the next tick, and gives each file its turns, one after the other: a
//! parser or callback that takes long holds up the files of the others, not their readers. Every
//! signal is blocked in it that is not a fault of its own.
//!
//! A forked child has none of it: it knows by a page that the fork has wiped, touches no lock of
//! its parent, and makes its own when it opens a file.

use super::watch::{Id, News, Queue, Watch, walk};
use crate::sys::event::Bell;
use crate::sys::mask::with_signals_blocked;
use crate::sys::process::{self, Process};
use std::collections::BTreeMap;
use std::ffi::c_int;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

/// Between two turns of a file at least, and from an event to the turn that follows: a writer of
/// many small pieces wakes nobody for each.
pub(super) const REST: Duration = Duration::from_millis(10);

/// What gets turns.
pub(super) trait Job: Send + Sync {
    /// Looks at the file, and says how long to wait for events after that.
    fn turn(&self, ears: &Ears) -> Duration;
}

/// What a process has of it; a child gets another one.
struct Hub {
    process: Process,
    running: Mutex<Option<Running>>,
}

struct Running {
    engine: Arc<Engine>,
    thread: JoinHandle<()>,
}

struct Engine {
    process: Process,
    bell: Bell,
    /// None while the kernel refuses it.
    queue: OnceLock<Queue>,
    thread: OnceLock<ThreadId>,
    began: Instant,
    state: Mutex<State>,
    /// A turn is over.
    turned: Condvar,
}

#[derive(Default)]
struct State {
    watch: Watch,
    entries: BTreeMap<Id, Entry>,
    last: Id,
    /// Whose turn it is.
    busy: Option<Id>,
    over: bool,
}

#[derive(Default)]
struct Entry {
    /// None as long as its first version is not there.
    job: Option<Arc<dyn Job>>,
    due: Option<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// This process's.
    fn current() -> &'static Self {
        static CURRENT: AtomicPtr<Hub> = AtomicPtr::new(std::ptr::null_mut());
        let process = process::announce();
        loop {
            let found = CURRENT.load(Ordering::Acquire);
            // SAFETY: null, or a hub, which is never freed. Pairs with the exchange below.
            if let Some(hub) = unsafe { found.as_ref() }.filter(|hub| hub.process == process) {
                return hub;
            }
            let made = Box::into_raw(Box::new(Self { process, running: Mutex::new(None) }));
            let put = CURRENT.compare_exchange(found, made, Ordering::AcqRel, Ordering::Acquire);
            if put.is_err() {
                // SAFETY: made above, and seen by nobody.
                drop(unsafe { Box::from_raw(made) });
            }
            // A parent's stays as it is: its lock may be held.
        }
    }
}

/// A file's place among those that are watched.
pub(super) struct Ticket {
    ears: Ears,
}

/// What is heard of one file.
#[derive(Clone)]
pub(super) struct Ears {
    engine: Arc<Engine>,
    id: Id,
}

impl Ticket {
    /// A place, and the thread if there is none yet.
    pub(super) fn take() -> Result<Self, c_int> {
        // The thread runs this code. Before the lock: this may wait for the loader's.
        crate::sys::pin::object();
        let mut running = lock(&Hub::current().running);
        let engine = match &*running {
            Some(running) => running.engine.clone(),
            None => running.insert(Engine::start()?).engine.clone(),
        };
        let mut state = lock(&engine.state);
        state.last += 1;
        let id = state.last;
        state.entries.insert(id, Entry::default());
        drop(state);
        Ok(Self { ears: Ears { engine, id } })
    }

    pub(super) fn ears(&self) -> &Ears {
        &self.ears
    }

    /// From here on the thread gives it turns, the first one when there are news or after `tick`.
    pub(super) fn start(&self, job: Arc<dyn Job>, tick: Duration) {
        let Ears { engine, id } = &self.ears;
        let mut state = lock(&engine.state);
        let due = Some(engine.due(tick, &state, *id));
        if let Some(entry) = state.entries.get_mut(id) {
            *entry = Entry { job: Some(job), due };
        }
        drop(state);
        engine.bell.ring();
    }

    /// Asks for a turn now.
    pub(super) fn call(&self) {
        if let Some(entry) = lock(&self.ears.engine.state).entries.get_mut(&self.ears.id) {
            entry.due = Some(Instant::now());
        }
        self.ears.engine.bell.ring();
    }

    /// Whether this is the process that has the thread.
    pub(super) fn is_own(&self) -> bool {
        self.ears.engine.process == process::this()
    }

    /// Whether the caller is the thread.
    pub(super) fn is_within(&self) -> bool {
        self.ears.engine.is_within()
    }
}

impl Drop for Ticket {
    /// After this there are no turns, and none is under way but one that this is called from.
    fn drop(&mut self) {
        // In a child there is no such thread, and the bell would ring at the parent's.
        if !self.is_own() {
            return;
        }
        let Ears { engine, id } = &self.ears;
        let mut state = lock(&engine.state);
        let entry = state.entries.remove(id);
        while state.busy == Some(*id) && !engine.is_within() {
            state = engine.turned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        // Not before: a turn watches the way anew.
        state.watch.leave(engine.kept(), *id);
        drop(state);
        // What the parser and the callback hold may do anything when it is dropped.
        drop(entry);
        let mut running = lock(&Hub::current().running);
        let ours = running.as_ref().is_some_and(|running| Arc::ptr_eq(&running.engine, engine));
        let mut state = lock(&engine.state);
        if !ours || !state.entries.is_empty() {
            return;
        }
        state.over = true;
        let thread = running.take().map(|running| running.thread);
        drop((state, running));
        engine.bell.ring();
        if let Some(thread) = thread.filter(|_| !engine.is_within()) {
            let _ = thread.join();
        }
    }
}

impl Ears {
    /// Watches the way to `path` as it is now, and says whether all of it is watched, and if not,
    /// why. What changes after this call is told.
    pub(super) fn renew(&self, path: &Path) -> Result<(), c_int> {
        let queue = self.engine.queue()?;
        // A way that changes while it is being watched is walked again; should it never rest, there
        // is the tick.
        for _ in 0..8 {
            let chain = walk(path);
            if !lock(&self.engine.state).watch.put(queue, self.id, chain) {
                break;
            }
        }
        lock(&self.engine.state).watch.watched(self.id)
    }

    /// What has happened since this was asked last.
    pub(super) fn take(&self) -> News {
        let mut state = lock(&self.engine.state);
        self.engine.read(&mut state);
        state.watch.take(self.id)
    }

    /// Whether events tell of a write to the file, and not of its end.
    pub(super) fn is_writing(&self) -> bool {
        lock(&self.engine.state).watch.is_writing(self.id)
    }

    /// Waits for news on a thread of one's own: for a first version, which gets no turns yet.
    pub(super) fn wait(&self, at_most: Duration) {
        /// The thread of the turns may be busy and read nothing.
        const SLICE: Duration = Duration::from_millis(20);
        let began = Instant::now();
        let mut state = lock(&self.engine.state);
        loop {
            self.engine.read(&mut state);
            let left = at_most.saturating_sub(began.elapsed());
            if left.is_zero() || state.watch.news(self.id) != News::default() {
                return;
            }
            let waited = self.engine.turned.wait_timeout(state, left.min(SLICE));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Engine {
    fn start() -> Result<Running, c_int> {
        let engine = Arc::new(Self {
            process: process::announce(),
            bell: Bell::new()?,
            queue: OnceLock::new(),
            thread: OnceLock::new(),
            began: Instant::now(),
            state: Mutex::default(),
            turned: Condvar::new(),
        });
        let within = engine.clone();
        let thread = std::thread::Builder::new().name("sigward-reload".into());
        let started = with_signals_blocked(|| thread.spawn(move || within.run()));
        let thread = started.map_err(|error| error.raw_os_error().unwrap_or(libc::EAGAIN))?;
        let _ = engine.thread.set(thread.thread().id());
        Ok(Running { engine, thread })
    }

    fn is_within(&self) -> bool {
        self.thread.get() == Some(&std::thread::current().id())
    }

    /// The queue, tried for again each time as long as it is refused.
    fn queue(&self) -> Result<&Queue, c_int> {
        if let Some(queue) = self.queue.get() {
            return if queue.is_ours() { Ok(queue) } else { Err(libc::EBADF) };
        }
        let made = Queue::open()?;
        Ok(self.queue.get_or_init(|| made))
    }

    /// The queue, if there is one, and the host has not closed it.
    fn kept(&self) -> Option<&Queue> {
        self.queue.get().filter(|queue| queue.is_ours())
    }

    /// Takes what the queue has, and makes those due whom it concerns.
    fn read(&self, state: &mut State) {
        let Some(queue) = self.kept() else { return };
        let soon = Instant::now() + REST;
        let State { watch, entries, .. } = state;
        watch.read(queue, |id| {
            if let Some(entry) = entries.get_mut(&id) {
                entry.due = entry.due.map(|due| due.min(soon));
            }
        });
    }

    fn run(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        // A callback that forks comes back here in a child, which is not to touch anything.
        while self.process == process::this() && !state.over {
            self.read(&mut state);
            let now = Instant::now();
            let mut due: Vec<(Instant, Id)> =
                state.entries.iter().filter_map(|(id, entry)| Some((entry.due?, *id))).collect();
            let next = due.iter().map(|(due, _)| *due).min();
            due.retain(|(due, _)| *due <= now);
            due.sort_unstable();
            if due.is_empty() {
                drop(state);
                let limit = next.map_or(Duration::MAX, |next| next.saturating_duration_since(now));
                self.bell.wait(self.kept().map(AsFd::as_fd), limit);
                state = lock(&self.state);
            }
            for (_, id) in due {
                state = self.turn(state, id);
            }
        }
    }

    /// Gives one file its turn.
    fn turn<'state>(
        self: &'state Arc<Self>,
        mut state: MutexGuard<'state, State>,
        id: Id,
    ) -> MutexGuard<'state, State> {
        let Some(entry) = state.entries.get_mut(&id) else { return state };
        let Some(job) = entry.job.clone() else { return state };
        // A call that comes in the midst of the turn asks for another.
        entry.due = None;
        state.busy = Some(id);
        drop(state);
        let ears = Ears { engine: self.clone(), id };
        // What the caller's values do when they are dropped is not in our hands.
        let wait = catch_unwind(AssertUnwindSafe(|| {
            let wait = job.turn(&ears);
            drop(job);
            wait
        }));
        let mut state = lock(&self.state);
        state.busy = None;
        self.turned.notify_all();
        let due = self.due(wait.unwrap_or(Duration::from_secs(1)), &state, id);
        if let Some(entry) = state.entries.get_mut(&id) {
            entry.due = Some(entry.due.map_or(due, |called| called.min(due)));
        }
        state
    }
}

impl Engine {
    /// When that time is over, a little later if that saves a wake-up: ticks of many files fall
    /// together. Soon if there are news.
    fn due(&self, wait: Duration, state: &State, id: Id) -> Instant {
        let now = Instant::now();
        if state.watch.news(id) != News::default() {
            return now + REST.min(wait);
        }
        let exact = now.checked_add(wait).unwrap_or(now + YEAR);
        let grain = (wait.min(YEAR) / 8).as_nanos().max(1);
        let late = exact.duration_since(self.began).as_nanos() % grain;
        let more = if late == 0 { 0 } else { grain - late };
        exact + Duration::from_nanos(u64::try_from(more).unwrap_or(0))
    }
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

//! The thread that the kernel tells, and the table of the leases that it tells of.
//!
//! A process has one [`Keeper`]; a forked child makes another, for the thread is not there, and the
//! lock may be held by a thread that is not there. What the kernel clears at the fork
//! (`MADV_WIPEONFORK`) tells which of both it is, at no cost.

use super::kernel;
use crate::file::error::Error;
use crate::sys::call::Failed;
use crate::sys::event;
use crate::sys::kept::Number;
use crate::sys::mask::with_signals_blocked;
use crate::sys::process::{self, Process, this_thread};
use crate::sys::wiped;
use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often all leases are looked at, for the case that a notice is lost. A fraction of the
/// kernel's patience.
const SWEEP: Duration = Duration::from_secs(2);
/// The kernel's patience where nobody has said otherwise (`lease_break_time` in fs/locks.c).
const PATIENCE: Duration = Duration::from_secs(45);

/// What thread and holder of a lease have in common.
#[derive(Debug, Default)]
pub(super) struct Noticed {
    wanted: AtomicBool,
    /// Set before `wanted`.
    deadline: OnceLock<Option<Instant>>,
    /// Its descriptor was closed by somebody else, and its number is another lease's, perhaps on
    /// the same file.
    lost: AtomicBool,
}

impl Noticed {
    pub(super) fn is_wanted(&self) -> bool {
        // Pairs with the Release in `check_all`.
        self.wanted.load(Ordering::Acquire)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline.get().copied().flatten()
    }
}

/// A lease that is watched. The descriptors are the holder's, who closes them when it is not in the
/// table any more. (And not ours, or a child forked at the wrong moment could never close its
/// copies.)
#[derive(Debug)]
struct Registered {
    file: Number,
    event: Number,
    noticed: Arc<Noticed>,
}

impl Registered {
    fn is_newly_wanted(&self) -> bool {
        !self.noticed.is_wanted() && self.file.current().is_none_or(kernel::is_wanted)
    }
}

#[derive(Debug)]
pub(super) struct Keeper {
    /// The process that made it. A forked child has none of its threads.
    process: Process,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    thread: Option<KeeperThread>,
    leases: HashMap<RawFd, Registered>,
    /// As last read, for when there is no descriptor left to read it.
    patience: Option<Duration>,
}

#[derive(Debug)]
struct KeeperThread {
    id: libc::pid_t,
    stop: Arc<AtomicBool>,
    handle: JoinHandle<()>,
}

impl Keeper {
    /// This process's.
    pub(super) fn current() -> Result<&'static Self, Error> {
        static CURRENT: AtomicPtr<Keeper> = AtomicPtr::new(std::ptr::null_mut());
        loop {
            let found = CURRENT.load(Ordering::Acquire);
            // SAFETY: null, or a keeper, which is never freed. Pairs with the exchange below.
            if let Some(keeper) = unsafe { found.as_ref() }.filter(|keeper| keeper.is_ours()) {
                return Ok(keeper);
            }
            wiped::words().ok_or_else(|| Failed::last("mmap"))?;
            let process = process::announce();
            let made = Box::into_raw(Box::new(Self { process, inside: Mutex::default() }));
            // The parent's keeper stays where it is: its lock may be held, so it cannot be taken
            // apart.
            if CURRENT.compare_exchange(found, made, Ordering::AcqRel, Ordering::Acquire).is_err() {
                // SAFETY: it has lost a race, and nobody else has seen it.
                drop(unsafe { Box::from_raw(made) });
            }
        }
    }

    pub(super) fn is_ours(&self) -> bool {
        self.process == process::this()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a lease, and has its notices watched for: then `event` becomes readable. Neither
    /// descriptor is closed before [`Keeper::give_up`].
    pub(super) fn take(&'static self, file: Number, event: Number) -> Result<Arc<Noticed>, Error> {
        let mut inside = self.inside();
        let taken = self.take_inside(&mut inside, file, event);
        if taken.is_err() {
            end(inside);
        }
        taken
    }

    fn take_inside(
        &'static self,
        inside: &mut Inside,
        file: Number,
        event: Number,
    ) -> Result<Arc<Noticed>, Error> {
        if inside.thread.is_none() {
            inside.patience = kernel::patience();
            inside.thread = Some(self.start()?);
        }
        let thread = inside.thread.as_ref().map_or(0, |thread| thread.id);
        // A notice that comes now waits for the lock.
        file.current().ok_or(Error::Broken).and_then(|file| kernel::take(file, thread))?;
        let noticed = Arc::<Noticed>::default();
        let lease = Registered { file, event, noticed: Arc::clone(&noticed) };
        if let Some(before) = inside.leases.insert(file.fd, lease) {
            before.noticed.lost.store(true, Ordering::Relaxed);
        }
        Ok(noticed)
    }

    /// Gives it up; whether it was still held.
    pub(super) fn give_up(&self, file: Number, noticed: &Noticed) -> bool {
        let mut inside = self.inside();
        let held = !noticed.is_lost() && {
            inside.leases.remove(&file.fd);
            file.current().is_some_and(kernel::give_up)
        };
        end(inside);
        held
    }

    fn start(&'static self) -> Result<KeeperThread, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let (says, hears) = mpsc::sync_channel(1);
        let work = {
            let stop = Arc::clone(&stop);
            move || {
                let _ = says.send(this_thread());
                self.run(&stop);
            }
        };
        let thread = std::thread::Builder::new().name("sigward-leases".into()).stack_size(64 << 10);
        let handle = with_signals_blocked(|| thread.spawn(work))
            .map_err(|error| Failed::of("pthread_create", &error))?;
        // It says so first of all.
        let id = hears.recv().map_err(|_| Error::system("pthread_create", libc::EAGAIN))?;
        Ok(KeeperThread { id, stop, handle })
    }

    /// What the thread does.
    fn run(&self, stop: &AtomicBool) {
        let mut looked = Instant::now();
        loop {
            let came = kernel::next(SWEEP);
            if stop.load(Ordering::Acquire) {
                return;
            }
            let now = Instant::now();
            // Found without a notice, it may have been wanted since the last look.
            self.inside().check_all(if came { now } else { looked });
            looked = now;
        }
    }
}

impl Inside {
    /// Asks the kernel about every lease: a notice does not say for how many it stands. `since`:
    /// when nobody had wanted them yet, or a moment after.
    fn check_all(&mut self, since: Instant) {
        let found: Vec<&Registered> =
            self.leases.values().filter(|lease| lease.is_newly_wanted()).collect();
        if found.is_empty() {
            return;
        }
        self.patience = kernel::patience().or(self.patience);
        let deadline = since.checked_add(self.patience.unwrap_or(PATIENCE)); // none for ever
        for lease in found {
            let _ = lease.noticed.deadline.set(deadline);
            lease.noticed.wanted.store(true, Ordering::Release);
            if let Some(event) = lease.event.current() {
                event::set(event);
            }
        }
    }
}

/// Lets the lock go, and ends the thread if nothing is left to watch for.
fn end(mut inside: MutexGuard<'_, Inside>) {
    let thread = if inside.leases.is_empty() { inside.thread.take() } else { None };
    // The thread may be waiting for it.
    drop(inside);
    if let Some(thread) = thread {
        thread.stop.store(true, Ordering::Release);
        kernel::wake(&thread.handle);
        let _ = thread.handle.join();
    }
}

//! What readers and the watching thread have in common.

use super::bell::Bell;
use super::problem::{Problem, Reason};
use super::version::Version;
use arc_swap::ArcSwap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What has happened since the file was opened.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Status {
    /// The number of the newest version.
    pub version: u64,
    /// Contents that were not taken because the parser refused them.
    pub refused: u64,
    /// Looks that found the file to be written to, missing, or otherwise not to be had.
    pub not_yet: u64,
    /// Files that were written or replaced with the same bytes.
    pub unchanged: u64,
    /// Whether everything between the path and the file is watched. If not, changes are seen at the
    /// next tick.
    pub watching: bool,
    /// Why the newest look did not bring what the path names; `None` while the newest version is
    /// just that.
    pub problem: Option<Arc<Problem>>,
}

/// What is told to the callback.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a, T> {
    /// A new version is there: [`get`](super::Reloading::get) returns it already.
    Loaded(&'a Arc<Version<T>>),
    /// What the path names was not taken. Told once for each new reason, not at each look.
    Kept(&'a Problem),
}

pub(super) type Callback<T> = dyn Fn(Event<'_, T>) + Send + Sync + 'static;

pub(super) struct Shared<T> {
    pub(super) path: PathBuf,
    /// Readers take it without waiting, also in a child that was forked at whatever moment.
    pub(super) current: ArcSwap<Version<T>>,
    pub(super) stopping: AtomicBool,
    pub(super) bell: Bell,
    book: Mutex<Book>,
    pub(super) told: Condvar,
    callback: Option<Box<Callback<T>>>,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) status: Status,
    /// Looks that were asked for, and that are done.
    pub(super) asked: u64,
    pub(super) done: u64,
    /// The thread is gone: nobody will be told anything any more.
    pub(super) over: bool,
}

impl<T> Shared<T> {
    pub(super) fn new(
        path: PathBuf,
        first: Version<T>,
        bell: Bell,
        callback: Option<Box<Callback<T>>>,
    ) -> Self {
        let status = Status { version: first.number, ..Status::default() };
        Self {
            path,
            current: ArcSwap::from_pointee(first),
            stopping: AtomicBool::new(false),
            bell,
            book: Mutex::new(Book { status, ..Book::default() }),
            told: Condvar::new(),
            callback,
        }
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on every reader gets this one.
    pub(super) fn publish(&self, version: Version<T>) {
        let number = version.number;
        let version = Arc::new(version);
        // Under the lock: who has the new version does not find the trouble of before in the
        // status.
        let mut book = self.book();
        self.current.store(version.clone());
        book.status.version = number;
        book.status.problem = None;
        drop(book);
        self.told.notify_all();
        self.call(Event::Loaded(&version));
    }

    /// The path names the same bytes as before.
    pub(super) fn same(&self) {
        let mut book = self.book();
        book.status.unchanged += 1;
        book.status.problem = None;
    }

    pub(super) fn keep(&self, reason: Reason, length: Option<u64>) {
        let mut book = self.book();
        if matches!(reason, Reason::Refused(_)) {
            book.status.refused += 1;
        } else {
            book.status.not_yet += 1;
        }
        let problem = Problem::new(&self.path, reason, length, book.status.version);
        let (problem, known) = problem.after(book.status.problem.as_deref());
        let problem = Arc::new(problem);
        book.status.problem = Some(problem.clone());
        drop(book);
        if !known {
            self.call(Event::Kept(&problem));
        }
    }

    /// A callback that panics ends nothing but itself.
    fn call(&self, event: Event<'_, T>) {
        if let Some(callback) = &self.callback {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| callback(event)));
        }
    }
}

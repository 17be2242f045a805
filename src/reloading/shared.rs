//! What readers and the watching thread have in common.

use super::problem::{Problem, Reason};
use super::version::Version;
use arc_swap::ArcSwap;
use std::ffi::c_int;
use std::path::PathBuf;
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
    /// Why not everything is watched, an errno: `EMFILE` (no descriptor, or
    /// `fs.inotify.max_user_instances`), `ENOSPC` (`fs.inotify.max_user_watches`), `EACCES` (a
    /// folder that may not be read), `EPERM` or `ENOSYS` (a filter of system calls), …
    pub watch_error: Option<c_int>,
    /// Whether the writer of the newest version has finished: [`Version::settled`], and true later
    /// when the one who had the file open has closed it with these very bytes in it.
    pub settled: bool,
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
    /// The newest version, which was taken while somebody had the file open
    /// ([`Version::settled`]), is what they meant to write: they have closed it.
    Settled(&'a Arc<Version<T>>),
    /// What the path names was not taken. Told once for each new reason, not at each look.
    Kept(&'a Problem),
}

pub(super) type Callback<T> = dyn Fn(Event<'_, T>) + Send + Sync + 'static;

pub(super) struct Shared<T> {
    pub(super) path: PathBuf,
    /// Readers take it without waiting, also in a child that was forked at whatever moment.
    pub(super) current: ArcSwap<Version<T>>,
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
}

impl<T> Shared<T> {
    pub(super) fn new(
        path: PathBuf,
        first: Version<T>,
        callback: Option<Box<Callback<T>>>,
    ) -> Self {
        let status = Status { version: first.number, settled: first.settled, ..Status::default() };
        Self {
            path,
            current: ArcSwap::from_pointee(first),
            book: Mutex::new(Book { status, ..Book::default() }),
            told: Condvar::new(),
            callback,
        }
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether everything is watched, and if not, why.
    pub(super) fn watched(&self, watched: Result<(), c_int>) {
        let mut book = self.book();
        book.status.watching = watched.is_ok();
        book.status.watch_error = watched.err();
    }

    /// From here on every reader gets this one.
    pub(super) fn publish(&self, version: Version<T>) {
        let (number, settled) = (version.number, version.settled);
        let version = Arc::new(version);
        // Under the lock: who has the new version does not find the trouble of before in the
        // status.
        let mut book = self.book();
        let before = self.current.swap(version.clone());
        (book.status.version, book.status.settled) = (number, settled);
        book.status.problem = None;
        drop(book);
        self.told.notify_all();
        // Not under the lock: what the user's value does when it is dropped may ask for the status.
        drop(before);
        self.call(Event::Loaded(&version));
    }

    /// The path names the same bytes as before.
    pub(super) fn same(&self, settled: bool) {
        let mut book = self.book();
        book.status.unchanged += 1;
        book.status.problem = None;
        let newly = settled && !book.status.settled;
        book.status.settled |= settled;
        drop(book);
        if newly {
            self.call(Event::Settled(&self.current.load_full()));
        }
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

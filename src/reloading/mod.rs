//! The newest good version of a file, always: GeoIP data, a configuration, a model, a list that
//! somebody updates while it is read.
//!
//! The loop that every reader of such a file writes, once: notice that the file was replaced or
//! written over, wait until its writer has finished, take a copy, parse it, put it in the place of
//! the old one under the readers, and give the old one back when the last of them is done. And when
//! the new one is no good, keep the old one and say why.
//!
//! A map of the live file could not do it: `cp` over the file takes the bytes from under the map,
//! and until the next good version is there no look-up would have an answer. So each version is a
//! [`Snapshot`](crate::mapping::Snapshot): where the file system can share blocks (xfs, btrfs) it
//! costs no memory, elsewhere the file's length.
//!
//! | what happens to the file | readers | [`Status::problem`] |
//! |---|---|---|
//! | replaced by rename(2), itself or any link or folder on its way (a ConfigMap's `..data`) | get the new version | |
//! | written over, however slowly | get the old version until the writer has closed the file, then the new one | [`Reason::Writing`] |
//! | the writer dies half-way | if the parser accepts what is there, get that | [`Reason::Refused`] |
//! | removed, emptied, unreadable, no longer a file | keep the old version | [`Reason::Open`], [`Reason::Empty`], … |
//! | written again with the same bytes | keep the old version | |
//!
//! ```
//! use sigward::reloading::{Contents, Reloading};
//! # let path = std::env::temp_dir().join(format!("sigward-reloading-{}", std::process::id()));
//! # std::fs::write(&path, "a b c")?;
//! let words = Reloading::open(&path, |contents: Contents| {
//!     let text = std::str::from_utf8(&contents)?;
//!     Ok::<_, std::str::Utf8Error>(text.split_whitespace().map(String::from).collect::<Vec<_>>())
//! })?;
//! let now = words.get(); // this version stays as it is for as long as it is held
//! assert_eq!((now.number, now.len()), (1, 3));
//! sigward::file::Replacement::create(&path).and_then(|mut new| {
//!     std::io::Write::write_all(&mut new, b"d e").unwrap();
//!     new.commit()
//! })?;
//! let next = words.wait_newer(now.number, std::time::Duration::from_secs(60)).ok_or("none came")?;
//! assert_eq!((next.number, next.len(), now.len()), (2, 2, 3));
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it needs
//! One thread, `sigward-reload`, and two descriptors, an inotify(7) queue and an eventfd(2), for
//! all files of the process together; they come with the first and go with the last. The thread
//! sleeps until an event or a tick of a second wakes it. Parsers and callbacks run on it one after
//! the other: one that takes long holds up the next versions of other files as well, and no reader
//! of any. Where the kernel refuses the queue or a watch, the tick alone looks, and
//! [`Status::watch_error`] says why. A snapshot that is a clone takes the seat for SIGBUS, as every
//! guarded map does.
//!
//! # Whose writing is seen
//! | who writes | how it is known that they have finished |
//! |---|---|
//! | a process of this machine, and we are the file's owner or have `CAP_LEASE` | the kernel says whether anybody has the file open for writing, or mapped so |
//! | the same, somebody else's file | after a write the writer's close is waited for; then, and where no event told of the write, the file must not have changed for [`Options::settle`] |
//! | somebody whom this kernel does not see: another machine, the lower side of an overlay | the tick finds it changed though no event came: it must not have changed for [`Options::settle`] |
//! | a map of a file on an overlay, whose descriptor is closed already | not at all: the map is one of the file below |
//! | whoever never closes the file | not at all; after [`Options::wait_for_writer`] it is taken as it is, with [`Version::settled`] false |

#[cfg(target_os = "linux")]
mod chain;
mod hub;
mod options;
mod problem;
mod shared;
mod take;
mod version;
#[cfg(target_os = "linux")]
mod watch;
#[cfg(not(target_os = "linux"))]
#[path = "watch_unsupported.rs"]
mod watch;
mod watcher;

pub use options::Options;
pub use problem::{Problem, Reason};
pub use shared::{Event, Status};
pub use version::{Contents, Version};
#[cfg(all(target_os = "linux", any(fuzzing, test)))]
pub(crate) use watch::hear;

use hub::Ticket;
use shared::Shared;
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// A file, of which the newest good version is always at hand.
///
/// Thread-safe. After it is dropped nothing is watched, parsed or told any more, and with the last
/// one of the process the thread has ended; versions that somebody still holds stay. In a forked
/// child [`get`](Self::get) and [`with`](Self::with) go on with the version that was there at the
/// fork, and nothing is watched: open it there anew. The child keeps the parent's two descriptors,
/// unused, until it calls exec. Not for signal handlers.
///
/// # References
/// inotify(7), fcntl(2) (F_SETLEASE), ioctl_ficlone(2), memfd_create(2).
#[doc(alias = "inotify")]
#[doc(alias = "hot reload")]
pub struct Reloading<T> {
    shared: Arc<Shared<T>>,
    ticket: Ticket,
}

impl<T: Send + Sync + 'static> Reloading<T> {
    /// Opens the file, parses its first version, and keeps the newest good one from then on;
    /// [`Options`] has more.
    ///
    /// `parse` gets the bytes of one moment as a handle that it may keep.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open<E>(
        path: impl AsRef<Path>,
        parse: impl Fn(Contents) -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, Problem>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Options::new().open(path, parse)
    }
}

impl<T> Reloading<T> {
    /// The newest good version. Hold it for as long as one answer should come from one version, and
    /// not longer. Waits for nobody.
    #[must_use]
    pub fn get(&self) -> Arc<Version<T>> {
        self.shared.current.load_full()
    }

    /// As [`get`](Self::get), for the time of the call; without writing to memory that all readers
    /// share.
    pub fn with<R>(&self, use_it: impl FnOnce(&Version<T>) -> R) -> R {
        use_it(&self.shared.current.load())
    }

    /// Waits until there is a version with a higher number than `than`, and returns the newest;
    /// `None` when the time is over, and at once in a forked child and in a parser or callback,
    /// which would wait for themselves.
    #[must_use]
    pub fn wait_newer(&self, than: u64, at_most: Duration) -> Option<Arc<Version<T>>> {
        if !self.ticket.is_own() || self.ticket.is_within() {
            return Some(self.get()).filter(|version| version.number > than);
        }
        let waiting = self
            .shared
            .told
            .wait_timeout_while(self.shared.book(), at_most, |book| book.status.version <= than);
        drop(waiting.unwrap_or_else(PoisonError::into_inner));
        Some(self.get()).filter(|version| version.number > than)
    }

    /// What has happened so far, and why the newest contents were not taken, if they were not.
    #[must_use]
    pub fn status(&self) -> Status {
        if !self.ticket.is_own() {
            let version = self.get();
            return Status {
                version: version.number,
                settled: version.settled,
                ..Status::default()
            };
        }
        self.shared.book().status.clone()
    }

    /// Why what the path names now is not the newest version; `None` if it is.
    #[must_use]
    pub fn last_error(&self) -> Option<Arc<Problem>> {
        self.status().problem
    }

    /// Has the file looked at now, also if nothing seems to have changed, and returns the newest
    /// version if that is what the path names. For contents that the parser would accept now and
    /// did not before, and where no events come.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn refresh_now(&self) -> Result<Arc<Version<T>>, Problem> {
        let failed = |reason| Problem::new(&self.shared.path, reason, None, self.get().number);
        if !self.ticket.is_own() {
            return Err(failed(Reason::Forked));
        }
        if self.ticket.is_within() {
            return Err(failed(Reason::Within));
        }
        let mut book = self.shared.book();
        book.asked += 1;
        let mine = book.asked;
        drop(book);
        self.ticket.call();
        let waited = self.shared.told.wait_while(self.shared.book(), |book| book.done < mine);
        let book = waited.unwrap_or_else(PoisonError::into_inner);
        let problem = book.status.problem.clone();
        drop(book);
        problem.map_or_else(|| Ok(self.get()), |problem| Err(Problem::clone(&problem)))
    }

    /// The path, made absolute when the file was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }
}

impl<T> fmt::Debug for Reloading<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Reloading")
            .field("path", &self.shared.path)
            .field("version", &self.shared.current.load().number)
            .finish_non_exhaustive()
    }
}

//! From a path to its next version: is it another file than before, has its writer finished, is the
//! copy whole, does the parser accept it?

use super::hub::Ears;
use super::problem::Reason;
use super::version::Contents;
use super::watch::News;
use crate::file::{has_writer, memory_left};
use crate::mapping::SnapshotOptions;
use std::collections::hash_map::RandomState;
use std::error::Error;
use std::ffi::c_int;
use std::fs::{File, Metadata};
use std::hash::BuildHasher;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What tells one state of a file from another. Whoever writes to a file, cuts it or puts its times
/// back moves `changed` (`st_ctime`); before Linux 6.13 not twice within some milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    device: u64,
    inode: u64,
    pub(super) length: u64,
    changed: (i64, i64),
}

impl Seen {
    fn of(status: &Metadata) -> Self {
        Self {
            device: status.dev(),
            inode: status.ino(),
            length: status.size(),
            changed: (status.ctime(), status.ctime_nsec()),
        }
    }
}

pub(super) type Parse<T> =
    dyn Fn(Contents) -> Result<T, Box<dyn Error + Send + Sync>> + Send + Sync + 'static;

/// What came of one look.
pub(super) enum Outcome<T> {
    /// As at the last look.
    Nothing,
    /// The same, to be looked at again after this time: whoever had the file open when the version
    /// was taken has it open still.
    Waits(Duration),
    /// What is served is what the path names: the same bytes.
    Same {
        settled: bool,
    },
    Taken {
        value: T,
        seen: (u64, u64),
        length: u64,
        settled: bool,
    },
    /// To be looked at again after this time at the latest, if nothing tells of a change before.
    NotYet(Reason, Option<u64>, Duration),
    /// Not to be looked at again before it changes.
    Kept(Reason, Option<u64>),
}

pub(super) struct Taker<T> {
    pub(super) path: PathBuf,
    pub(super) parse: Box<Parse<T>>,
    pub(super) limits: Limits,
    pub(super) tick: Duration,
    /// What was there when the last look came to an end: nothing more is to be done while it stays.
    concluded: Option<Result<Seen, c_int>>,
    /// Of the bytes that are served.
    digest: Option<u64>,
    hasher: RandomState,
    /// Until the next look at a file that has a writer.
    pace: Duration,
    /// Where leases are refused: what is there, and since when.
    settling: Option<(Seen, Instant)>,
    /// Since when the writer of the file is waited for.
    waiting: Option<Instant>,
    /// Events tell of a write, and not of its end.
    writing: bool,
    /// Something was told since the last look that came to an end. What changes untold has a writer
    /// whom no lease knows either: another machine, the lower side of an overlay.
    told: bool,
    /// What is served was taken while somebody had it open for writing.
    unsettled: bool,
}

/// What the user has to say about it.
#[derive(Debug, Clone, Default)]
pub(super) struct Limits {
    pub(super) settle: Duration,
    pub(super) accept_empty: bool,
    /// How long a writer is waited for.
    pub(super) writer: Option<Duration>,
    /// Bytes.
    pub(super) size: Option<u64>,
}

/// How long a write that only events tell of is waited for, unless the user says otherwise: there
/// are writes that no close follows (truncate(2) of a path).
const UNCLOSED: Duration = Duration::from_secs(30);

/// The kernel tells that a writer has closed the file a moment before it counts one writer less. So
/// after such an event a look that still meets a writer is soon followed by others, less and less
/// often.
const PACE: Duration = Duration::from_millis(5);

/// Before a copy that met a writer is tried again.
const SOON: Duration = Duration::from_millis(20);

impl<T> Taker<T> {
    pub(super) fn new(path: PathBuf, parse: Box<Parse<T>>, limits: Limits, tick: Duration) -> Self {
        Self {
            path,
            parse,
            limits,
            tick,
            concluded: None,
            digest: None,
            hasher: RandomState::new(),
            pace: PACE,
            settling: None,
            waiting: None,
            writing: false,
            told: true,
            unsettled: false,
        }
    }

    /// Looks at the path. `force`: also if nothing seems to have changed. `news` is asked, after
    /// the copy, what has happened meanwhile.
    pub(super) fn look(&mut self, force: bool, news: &mut dyn FnMut() -> News) -> Outcome<T> {
        let outcome = self.attempt(force, news);
        match outcome {
            // Also if the file stays as it is: then the trouble is over.
            Outcome::NotYet(..) => self.concluded = None,
            Outcome::Waits(_) => {}
            _ => self.told = false,
        }
        outcome
    }

    fn attempt(&mut self, force: bool, news: &mut dyn FnMut() -> News) -> Outcome<T> {
        let found = std::fs::metadata(&self.path);
        let found = found.map(|status| Seen::of(&status)).map_err(|error| errno_of(&error));
        let known = self.concluded == Some(found);
        if !force && known && !self.unsettled {
            return Outcome::Nothing;
        }
        let (file, seen) = match self.open() {
            Ok(opened) => opened,
            Err((reason, found)) if reason.is_passing() => {
                return Outcome::NotYet(reason, found.ok().map(|seen| seen.length), self.tick);
            }
            Err((reason, found)) => {
                let again = !force && self.concluded == Some(found);
                self.concluded = Some(found);
                let length = found.ok().map(|seen| seen.length);
                return if again { Outcome::Nothing } else { Outcome::Kept(reason, length) };
            }
        };
        match self.is_finished(&file, seen) {
            // The wait for this one has ended before.
            Err((Reason::Writing, again)) if known && self.unsettled => Outcome::Waits(again),
            Ok(false) if known && self.unsettled => Outcome::Waits(self.pace),
            Err((reason, again)) => Outcome::NotYet(reason, Some(seen.length), again),
            Ok(settled) => self.copy(&file, seen, settled, news),
        }
    }

    /// Takes what has happened to the file since the last look, and watches the way to it as it is
    /// now. In this order: what is told of a folder that is new is forgotten only once the folder
    /// is watched. Says whether the bytes may be others, whatever the times say, and whether all of
    /// the way is watched, and if not, why.
    pub(super) fn hear(&mut self, ears: &Ears) -> (bool, Result<(), c_int>) {
        let news = ears.take();
        let watched = ears.renew(&self.path);
        self.note(news);
        self.told |= watched.is_err();
        self.writing = ears.is_writing();
        (news.written, watched)
    }

    fn note(&mut self, news: News) {
        self.told |= news != News::default();
        if news.written {
            self.settling = None;
        }
        if news.concluded {
            self.pace = PACE;
        }
    }

    /// Somebody who should know says that the file is worth a look.
    pub(super) fn called(&mut self) {
        self.told = true;
    }

    /// Opens a regular file without waiting for anybody: the other side of a pipe, or the holder of
    /// a lease.
    fn open(&self) -> Result<(File, Seen), (Reason, Result<Seen, c_int>)> {
        let mut how = File::options();
        how.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC);
        let opened =
            how.open(&self.path).and_then(|file| file.metadata().map(|status| (file, status)));
        let (file, status) = opened.map_err(|error| {
            let errno = errno_of(&error);
            match errno {
                // What a socket and a missing device answer.
                libc::ENXIO => (Reason::NotAFile { errno: libc::ENODEV }, Err(errno)),
                errno => (Reason::Open { errno }, Err(errno)),
            }
        })?;
        let seen = Seen::of(&status);
        if status.is_file() {
            return Ok((file, seen));
        }
        let errno = if status.is_dir() { libc::EISDIR } else { libc::ENODEV };
        Err((Reason::NotAFile { errno }, Ok(seen)))
    }

    /// Whether nobody is in the midst of writing it, or is, but was waited for long enough (false);
    /// else why it is not taken and when to look again.
    fn is_finished(&mut self, file: &File, seen: Seen) -> Result<bool, (Reason, Duration)> {
        let known = has_writer(file.as_fd());
        if known.unwrap_or(self.writing) {
            return self
                .is_overdue(known.is_some())
                .map_or(Ok(false), |again| Err((Reason::Writing, again)));
        }
        self.waiting = None;
        if known.is_some() && self.told {
            return Ok(true);
        }
        let since = match self.settling {
            Some((before, since)) if before == seen => since,
            _ => {
                let now = Instant::now();
                self.settling = Some((seen, now));
                now
            }
        };
        match self.limits.settle.checked_sub(since.elapsed()) {
            Some(left) if !left.is_zero() => Err((Reason::Settling, left)),
            _ => Ok(true),
        }
    }

    /// When to look again for the end of the writer; nothing if the time is over.
    fn is_overdue(&mut self, known: bool) -> Option<Duration> {
        let again = self.pace;
        self.pace = (self.pace * 2).min(self.tick);
        let began = *self.waiting.get_or_insert_with(Instant::now);
        let most =
            if known { self.limits.writer } else { Some(self.limits.writer.unwrap_or(UNCLOSED)) };
        let left = most.map_or(Duration::MAX, |most| most.saturating_sub(began.elapsed()));
        Some(again.min(left)).filter(|again| !again.is_zero())
    }

    fn copy(
        &mut self,
        file: &File,
        seen: Seen,
        settled: bool,
        news: &mut dyn FnMut() -> News,
    ) -> Outcome<T> {
        let length = Some(seen.length);
        if seen.length == 0 && !self.limits.accept_empty {
            self.concluded = Some(Ok(seen));
            return Outcome::Kept(Reason::Empty, length);
        }
        let most = self.limits.size.unwrap_or_else(|| default_limit(seen.length));
        let contents = match freeze(file, &self.path, most) {
            Ok(contents) if !settled || contents.len() as u64 == seen.length => contents,
            Ok(_) | Err(crate::mapping::Error::File(crate::file::Error::SourceChanged)) => {
                // Whoever does not stop writing is not copied all the time.
                let most = self.limits.writer.unwrap_or(UNCLOSED);
                self.waiting = Instant::now().checked_sub(most.saturating_sub(self.tick));
                return Outcome::NotYet(Reason::Changed, length, SOON);
            }
            // It has grown meanwhile.
            Err(crate::mapping::Error::File(crate::file::Error::TooLarge { limit, .. }))
                if seen.length <= limit =>
            {
                return Outcome::NotYet(Reason::Changed, length, SOON);
            }
            // The user's limit stays, and so does what is larger.
            Err(error @ crate::mapping::Error::File(crate::file::Error::TooLarge { .. }))
                if self.limits.size.is_some() =>
            {
                self.concluded = Some(Ok(seen));
                return Outcome::Kept(Reason::Copy(Arc::new(error)), length);
            }
            // No memory, no descriptor: may pass.
            Err(error) => return Outcome::NotYet(Reason::Copy(Arc::new(error)), length, self.tick),
        };
        // The events of a writer who is gone are all there by now. One that was left for the next
        // look would seem to tell of what happens after this one.
        let news = if settled { news() } else { News::default() };
        self.note(news);
        let after = file.metadata().map(|status| Seen::of(&status)).ok();
        // Of a file that is being written the copy is of one moment, and more was not promised.
        if settled
            && (after != Some(seen) || has_writer(file.as_fd()) == Some(true) || news.written)
        {
            return Outcome::NotYet(Reason::Changed, length, SOON);
        }
        self.concluded = Some(Ok(seen)).filter(|_| after == Some(seen));
        // The next contents are waited for anew.
        self.waiting = None;
        let length = contents.len() as u64;
        let digest = self.hasher.hash_one(&contents[..]);
        if self.digest == Some(digest) {
            self.unsettled &= !settled;
            return Outcome::Same { settled };
        }
        let whole = contents.clone();
        let parsed = std::panic::catch_unwind(AssertUnwindSafe(|| (self.parse)(contents)));
        if let Err(error) = whole.snapshot().check() {
            return Outcome::NotYet(Reason::Copy(Arc::new(error)), Some(length), self.tick);
        }
        match parsed {
            Ok(Ok(value)) => {
                self.digest = Some(digest);
                self.unsettled = !settled;
                Outcome::Taken { value, seen: (seen.device, seen.inode), length, settled }
            }
            Ok(Err(error)) => Outcome::Kept(Reason::Refused(Arc::from(error)), Some(length)),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text =
                    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of no text");
                let error: Box<dyn Error + Send + Sync> = format!("it panicked: {text}").into();
                Outcome::Kept(Reason::Refused(Arc::from(error)), Some(length))
            }
        }
    }
}

/// Half of what is left. Small files are not worth the question.
fn default_limit(length: u64) -> u64 {
    const SMALL: u64 = 1 << 20;
    if length <= SMALL { SMALL } else { memory_left() / 2 }
}

/// A copy of the open file, whatever its path names by now. Without /proc that cannot be said, and
/// it is the path's; the caller compares the lengths.
fn freeze(file: &File, path: &Path, most: u64) -> Result<Contents, crate::mapping::Error> {
    let snapshot = |path: &Path| SnapshotOptions::new().limit(most).take(path);
    let magic = format!("/proc/self/fd/{}", file.as_raw_fd());
    let taken = match snapshot(magic.as_ref()) {
        Err(error) if error.errno() == libc::ENOENT => snapshot(path),
        taken => taken,
    };
    taken.map(Contents::new)
}

/// std finds a NUL byte in a path by itself.
pub(super) fn errno_of(error: &std::io::Error) -> c_int {
    let own =
        if error.kind() == std::io::ErrorKind::InvalidInput { libc::EINVAL } else { libc::EIO };
    error.raw_os_error().unwrap_or(own)
}

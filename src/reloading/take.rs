//! From a path to its next version: is it another file than before, has its writer finished, is the
//! copy whole, does the parser accept it?

use super::problem::Reason;
use super::version::Contents;
use super::watch::News;
use crate::file::has_writer;
use crate::mapping::snapshot;
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
    /// What is served is what the path names: the same bytes.
    Same,
    Taken {
        value: T,
        seen: (u64, u64),
        length: u64,
    },
    /// To be looked at again after this time at the latest, if nothing tells of a change before.
    NotYet(Reason, Option<u64>, Duration),
    /// Not to be looked at again before it changes.
    Kept(Reason, Option<u64>),
}

pub(super) struct Taker<T> {
    pub(super) path: PathBuf,
    pub(super) parse: Box<Parse<T>>,
    pub(super) settle: Duration,
    pub(super) tick: Duration,
    pub(super) accept_empty: bool,
    /// What was there when the last look came to an end: nothing more is to be done while it stays.
    pub(super) concluded: Option<Result<Seen, c_int>>,
    /// Of the bytes that are served.
    pub(super) digest: Option<u64>,
    pub(super) hasher: RandomState,
    /// Until the next look at a file that has a writer.
    pub(super) pace: Duration,
    /// Where leases are refused: what is there, and since when.
    pub(super) settling: Option<(Seen, Instant)>,
}

/// The kernel tells that a writer has closed the file a moment before it counts one writer less. So
/// after such an event a look that still meets a writer is soon followed by others, less and less
/// often.
pub(super) const PACE: Duration = Duration::from_millis(5);

/// Before a copy that met a writer is tried again.
const SOON: Duration = Duration::from_millis(20);

impl<T> Taker<T> {
    /// Looks at the path. `force`: also if nothing seems to have changed. `disturbed` is asked,
    /// after the copy, whether somebody was seen writing meanwhile.
    pub(super) fn look(&mut self, force: bool, disturbed: &mut dyn FnMut() -> bool) -> Outcome<T> {
        let outcome = self.attempt(force, disturbed);
        if matches!(outcome, Outcome::NotYet(..)) {
            self.concluded = None; // also if the file stays as it is: then the trouble is over
        }
        outcome
    }

    fn attempt(&mut self, force: bool, disturbed: &mut dyn FnMut() -> bool) -> Outcome<T> {
        let found = std::fs::metadata(&self.path);
        let found = found.map(|status| Seen::of(&status)).map_err(|error| errno_of(&error));
        if !force && self.concluded == Some(found) {
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
        if let Err((reason, again)) = self.is_finished(&file, seen) {
            return Outcome::NotYet(reason, Some(seen.length), again);
        }
        self.copy(&file, seen, disturbed)
    }

    /// What happens to the file is told.
    pub(super) fn told(&mut self, news: News) {
        if news.written {
            self.settling = None;
        }
        if news.concluded {
            self.pace = PACE;
        }
    }

    /// Opens a regular file without waiting for anybody: the other side of a pipe, or the holder of
    /// a lease.
    fn open(&self) -> Result<(File, Seen), (Reason, Result<Seen, c_int>)> {
        let mut how = File::options();
        how.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC);
        let opened = how.open(&self.path).and_then(|file| file.metadata().map(|status| (file, status)));
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

    /// Whether nobody is in the midst of writing it; if not, why and when to look again.
    fn is_finished(&mut self, file: &File, seen: Seen) -> Result<(), (Reason, Duration)> {
        match has_writer(file.as_fd()) {
            Some(true) => {
                let again = self.pace;
                self.pace = (self.pace * 2).min(self.tick);
                return Err((Reason::Writing, again));
            }
            Some(false) => return Ok(()),
            None => {}
        }
        let since = match self.settling {
            Some((before, since)) if before == seen => since,
            _ => {
                let now = Instant::now();
                self.settling = Some((seen, now));
                now
            }
        };
        match self.settle.checked_sub(since.elapsed()) {
            Some(left) if !left.is_zero() => Err((Reason::Settling, left)),
            _ => Ok(()),
        }
    }

    fn copy(&mut self, file: &File, seen: Seen, disturbed: &mut dyn FnMut() -> bool) -> Outcome<T> {
        let length = Some(seen.length);
        if seen.length == 0 && !self.accept_empty {
            self.concluded = Some(Ok(seen));
            return Outcome::Kept(Reason::Empty, length);
        }
        let contents = match freeze(file, &self.path) {
            Ok(contents) if contents.len() as u64 == seen.length => contents,
            Ok(_) | Err(crate::mapping::Error::File(crate::file::Error::SourceChanged)) => {
                return Outcome::NotYet(Reason::Changed, length, SOON);
            }
            // No memory, no descriptor: may pass.
            Err(error) => return Outcome::NotYet(Reason::Copy(Arc::new(error)), length, self.tick),
        };
        let after = file.metadata().map(|status| Seen::of(&status)).ok();
        if after != Some(seen) || has_writer(file.as_fd()) == Some(true) || disturbed() {
            return Outcome::NotYet(Reason::Changed, length, SOON);
        }
        self.concluded = Some(Ok(seen));
        let digest = self.hasher.hash_one(&contents[..]);
        if self.digest == Some(digest) {
            return Outcome::Same;
        }
        let whole = contents.clone();
        let parsed = std::panic::catch_unwind(AssertUnwindSafe(|| (self.parse)(contents)));
        if let Err(error) = whole.snapshot().check() {
            return Outcome::NotYet(Reason::Copy(Arc::new(error)), length, self.tick);
        }
        match parsed {
            Ok(Ok(value)) => {
                self.digest = Some(digest);
                Outcome::Taken { value, seen: (seen.device, seen.inode), length: seen.length }
            }
            Ok(Err(error)) => Outcome::Kept(Reason::Refused(Arc::from(error)), length),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of no text");
                let error: Box<dyn Error + Send + Sync> = format!("it panicked: {text}").into();
                Outcome::Kept(Reason::Refused(Arc::from(error)), length)
            }
        }
    }
}

/// A copy of the open file, whatever its path names by now. Without /proc that cannot be said, and
/// it is the path's; the caller compares the lengths.
fn freeze(file: &File, path: &Path) -> Result<Contents, crate::mapping::Error> {
    let magic = format!("/proc/self/fd/{}", file.as_raw_fd());
    let taken = match snapshot(magic) {
        Err(error) if error.errno() == libc::ENOENT => snapshot(path),
        taken => taken,
    };
    taken.map(Contents::new)
}

/// std finds a NUL byte in a path by itself.
pub(super) fn errno_of(error: &std::io::Error) -> c_int {
    let own = if error.kind() == std::io::ErrorKind::InvalidInput { libc::EINVAL } else { libc::EIO };
    error.raw_os_error().unwrap_or(own)
}

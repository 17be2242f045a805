//! How a file is to be reloaded, and the first version of it.

use super::Reloading;
use super::hub::{Ears, REST, Ticket};
use super::problem::{Problem, Reason};
use super::shared::{Callback, Event, Shared};
use super::take::{Limits, Outcome, Taker, errno_of};
use super::version::{Contents, Version};
use super::watcher::Watcher;
use std::error::Error;
use std::ffi::c_int;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// How a file is to be reloaded. `T` is what the parser makes of it.
///
/// ```
/// use sigward::reloading::{Contents, Event, Options};
/// use std::time::Duration;
/// # let own = std::process::id();
/// # let path = std::env::temp_dir().join(format!("sigward-reload-options-{own}"));
/// # std::fs::write(&path, "42")?;
/// let limit = Options::new()
///     .wait_for_first(Duration::from_secs(30))
///     .on_event(|event| match event {
///         Event::Loaded(version) => eprintln!("limit {} is in force", version.value),
///         Event::Kept(problem) => eprintln!("{problem}"),
///         _ => {}
///     })
///     .open(&path, |contents: Contents| {
///         let number = std::str::from_utf8(&contents)?.trim().parse::<u32>()?;
///         Ok::<_, Box<dyn std::error::Error + Send + Sync>>(number)
///     })?;
/// assert_eq!(limit.get().value, 42);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Options<T> {
    tick: Duration,
    first: Duration,
    limits: Limits,
    callback: Option<Box<Callback<T>>>,
}

/// How long the first version is waited for at least, while somebody is writing it.
const FIRST: Duration = Duration::from_secs(10);

impl<T> Default for Options<T> {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(1),
            first: Duration::ZERO,
            limits: Limits { settle: Duration::from_millis(500), ..Limits::default() },
            callback: None,
        }
    }
}

impl<T: Send + Sync + 'static> Options<T> {
    /// The defaults: a tick of 1 s, settled after 500 ms, a file that is missing at first is an
    /// error, an empty one is not taken, nor is one larger than half of the memory that is left.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How often to look at the file though nothing was told: for changes that have no events, on a
    /// network file system by another machine. At least 10 ms.
    #[must_use]
    pub fn tick(mut self, every: Duration) -> Self {
        self.tick = every.max(Duration::from_millis(10));
        self
    }

    /// Where nobody can say whether a writer exists (files of other users, file systems without
    /// leases, changes that no event told of): how long length and change time must stay before the
    /// file is taken.
    #[must_use]
    pub fn settle(mut self, unchanged: Duration) -> Self {
        self.limits.settle = unchanged;
        self
    }

    /// How long to wait for a first version when there is none: the file is missing, or the parser
    /// refuses it. A writer who is at work is waited for in any case, 10 s at least.
    #[must_use]
    pub fn wait_for_first(mut self, at_most: Duration) -> Self {
        self.first = at_most;
        self
    }

    /// How long to wait for whoever has the file open for writing before it is taken all the same:
    /// a copy of one moment, of which [`Version::settled`] says that it may be half of what they
    /// mean to write. The time counts from the look that met them, and anew for each version.
    ///
    /// Unless this is called the wait has no end where the kernel says that there is a writer (by a
    /// lease: for the owner of the file and processes with `CAP_LEASE`), and 30 s where only events
    /// tell of one, a write that no close follows.
    #[must_use]
    pub fn wait_for_writer(mut self, at_most: Duration) -> Self {
        self.limits.writer = Some(at_most);
        self
    }

    /// A file of more bytes is not taken, holes included
    /// ([`TooLarge`](crate::file::Error::TooLarge) in a [`Reason::Copy`]). Unless this is called
    /// the limit is half of the memory that the machine has available (`MemAvailable`, `SwapFree`)
    /// or the control groups of this process have left (`memory.max`, `memory.high`,
    /// `memory.limit_in_bytes`) when the file is looked at: the other half is for what the parser
    /// makes of it.
    #[must_use]
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limits.size = Some(bytes);
        self
    }

    /// An empty file goes to the parser as well.
    #[must_use]
    pub fn accept_empty(mut self, yes: bool) -> Self {
        self.limits.accept_empty = yes;
        self
    }

    /// Is told of each new version and each new reason for not taking one, on the thread that
    /// watches all files of the process: what it does holds their next versions up. The first
    /// version is not told of. A panic in it is dropped.
    #[must_use]
    pub fn on_event(mut self, callback: impl Fn(Event<'_, T>) + Send + Sync + 'static) -> Self {
        self.callback = Some(Box::new(callback));
        self
    }

    /// Opens the file, parses its first version, and keeps the newest good one from then on.
    ///
    /// `parse` is called here for the first version and on the thread that watches all files of the
    /// process for all others, never twice at once. It may keep the contents, or parts of them with
    /// it. A panic of it is a refusal.
    ///
    /// # Errors
    /// A [`Problem`] of the first version: what cannot be opened or is no regular file, what the
    /// parser refuses, a writer who does not come to an end; and when there is no thread or
    /// descriptor to be had. Nothing stays then.
    pub fn open<E>(
        self,
        path: impl AsRef<Path>,
        parse: impl Fn(Contents) -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Reloading<T>, Problem>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let path = path.as_ref();
        let failed = |reason| Problem::new(path, reason, None, 0);
        let path = std::path::absolute(path)
            .map_err(|error| failed(Reason::Open { errno: errno_of(&error) }))?;
        let ticket = Ticket::take().map_err(|errno| failed(Reason::NoWatcher { errno }))?;
        let parse = Box::new(move |contents| parse(contents).map_err(Into::into));
        let mut taker = Taker::new(path.clone(), parse, self.limits, self.tick);
        let (first, watched) = first(&mut taker, ticket.ears(), self.first)?;
        let shared = Arc::new(Shared::new(path, first, self.callback));
        shared.watched(watched);
        ticket.start(
            Arc::new(Watcher { shared: shared.clone(), taker: Mutex::new(taker) }),
            self.tick,
        );
        Ok(Reloading { shared, ticket })
    }
}

/// Looks until there is a first version, or nothing more to wait for. With it comes whether all is
/// watched.
fn first<T>(
    taker: &mut Taker<T>,
    ears: &Ears,
    patience: Duration,
) -> Result<(Version<T>, Result<(), c_int>), Problem> {
    let began = Instant::now();
    let mut last = (Reason::Open { errno: libc::ENOENT }, None);
    loop {
        let (force, watched) = taker.hear(ears);
        let again = match taker.look(force, &mut || ears.take()) {
            Outcome::Taken { value, seen, length, settled } => {
                let loaded = SystemTime::now();
                return Ok((
                    Version { value, number: 1, length, identity: seen, loaded, settled },
                    watched,
                ));
            }
            Outcome::NotYet(reason, length, again) => {
                last = (reason, length);
                again
            }
            Outcome::Kept(reason, length) => {
                last = (reason, length);
                taker.tick
            }
            Outcome::Nothing | Outcome::Waits(_) | Outcome::Same { .. } => taker.tick,
        };
        let patience = if last.0.is_passing() { patience.max(FIRST) } else { patience };
        let left = patience.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(Problem::new(&taker.path, last.0, last.1, 0));
        }
        std::thread::sleep(REST.min(left));
        ears.wait(again.min(left));
    }
}

impl<T> fmt::Debug for Options<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Options")
            .field("tick", &self.tick)
            .field("wait_for_first", &self.first)
            .field("limits", &self.limits)
            .field("on_event", &self.callback.is_some())
            .finish()
    }
}

//! How a file is to be reloaded, and the first version of it.

use super::Reloading;
use super::bell::Bell;
use super::problem::{Problem, Reason};
use super::shared::{Callback, Event, Shared};
use super::take::{Outcome, PACE, Taker, errno_of};
use super::version::{Contents, Version};
use super::watch::Watch;
use super::watcher::{REST, Watcher};
use std::collections::hash_map::RandomState;
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How a file is to be reloaded. `T` is what the parser makes of it.
///
/// ```
/// use sigward::reloading::{Contents, Event, Options};
/// use std::time::Duration;
/// # let path = std::env::temp_dir().join(format!("sigward-reload-options-{}", std::process::id()));
/// # std::fs::write(&path, "42")?;
/// let limit = Options::new()
///     .wait_for_first(Duration::from_secs(30))
///     .on_event(|event| match event {
///         Event::Loaded(version) => eprintln!("limit {} is in force", version.value),
///         Event::Kept(problem) => eprintln!("{problem}"),
///         _ => {}
///     })
///     .open(&path, |contents: Contents| std::str::from_utf8(&contents)?.trim().parse::<u32>().map_err(Box::<dyn std::error::Error + Send + Sync>::from))?;
/// assert_eq!(limit.get().value, 42);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Options<T> {
    tick: Duration,
    settle: Duration,
    first: Duration,
    accept_empty: bool,
    callback: Option<Box<Callback<T>>>,
}

/// How long the first version is waited for at least, while somebody is writing it.
const FIRST: Duration = Duration::from_secs(10);

impl<T> Default for Options<T> {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(1),
            settle: Duration::from_millis(500),
            first: Duration::ZERO,
            accept_empty: false,
            callback: None,
        }
    }
}

impl<T: Send + Sync + 'static> Options<T> {
    /// The defaults: a tick of 1 s, settled after 500 ms, a file that is missing at first is an
    /// error, an empty one is not taken.
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
    /// leases): how long length and change time must stay before the file is taken.
    #[must_use]
    pub fn settle(mut self, unchanged: Duration) -> Self {
        self.settle = unchanged;
        self
    }

    /// How long to wait for a first version when there is none: the file is missing, or the parser
    /// refuses it. A writer who is at work is waited for in any case, 10 s at least.
    #[must_use]
    pub fn wait_for_first(mut self, at_most: Duration) -> Self {
        self.first = at_most;
        self
    }

    /// An empty file goes to the parser as well.
    #[must_use]
    pub fn accept_empty(mut self, yes: bool) -> Self {
        self.accept_empty = yes;
        self
    }

    /// Is told of each new version and each new reason for not taking one, on the thread that
    /// watches: what it does holds the next version up. The first version is not told of. A panic
    /// in it is dropped.
    #[must_use]
    pub fn on_event(mut self, callback: impl Fn(Event<'_, T>) + Send + Sync + 'static) -> Self {
        self.callback = Some(Box::new(callback));
        self
    }

    /// Opens the file, parses its first version, and keeps the newest good one from then on.
    ///
    /// `parse` is called here for the first version and on the watching thread for all others,
    /// never twice at once. It may keep the contents, or parts of them with it. A panic of it is a
    /// refusal.
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
        let path =
            std::path::absolute(path).map_err(|error| failed(Reason::Open { errno: errno_of(&error) }))?;
        let bell = Bell::new().map_err(|errno| failed(Reason::NoWatcher { errno }))?;
        let mut watch = Watch::new();
        let mut taker = Taker {
            path: path.clone(),
            parse: Box::new(move |contents| parse(contents).map_err(Into::into)),
            settle: self.settle,
            tick: self.tick,
            accept_empty: self.accept_empty,
            concluded: None,
            digest: None,
            hasher: RandomState::new(),
            pace: PACE,
            settling: None,
        };
        let first = first(&mut taker, &mut watch, &bell, self.first)?;
        let shared = Arc::new(Shared::new(path, first, bell, self.callback));
        let watcher = Watcher { shared: shared.clone(), taker, watch }.start();
        let thread = watcher.map_err(|errno| failed(Reason::NoWatcher { errno }))?;
        Ok(Reloading { shared, thread: Some(thread), process: std::process::id() })
    }
}

/// Looks until there is a first version, or nothing more to wait for.
fn first<T>(
    taker: &mut Taker<T>,
    watch: &mut Option<Watch>,
    bell: &Bell,
    patience: Duration,
) -> Result<Version<T>, Problem> {
    let began = Instant::now();
    let mut force = false;
    let mut last = (Reason::Open { errno: libc::ENOENT }, None);
    loop {
        if let Some(watch) = watch.as_mut() {
            watch.renew(&taker.path);
        }
        let outcome = taker.look(force, &mut || watch.as_mut().is_some_and(|watch| watch.read().written));
        let again = match outcome {
            Outcome::Taken { value, seen, length } => {
                return Ok(Version { value, number: 1, length, identity: seen, loaded: SystemTime::now() });
            }
            Outcome::NotYet(reason, length, again) => {
                last = (reason, length);
                again
            }
            Outcome::Kept(reason, length) => {
                last = (reason, length);
                taker.tick
            }
            Outcome::Nothing | Outcome::Same => taker.tick,
        };
        let patience = if last.0.is_passing() { patience.max(FIRST) } else { patience };
        let left = patience.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(Problem::new(&taker.path, last.0, last.1, 0));
        }
        bell.wait(None, REST.min(left));
        bell.wait(watch.as_ref().map(std::os::fd::AsFd::as_fd), again.min(left));
        let news = watch.as_mut().map(Watch::take).unwrap_or_default();
        taker.told(news);
        force = news.written;
    }
}

impl<T> fmt::Debug for Options<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Options")
            .field("tick", &self.tick)
            .field("settle", &self.settle)
            .field("wait_for_first", &self.first)
            .field("accept_empty", &self.accept_empty)
            .field("on_event", &self.callback.is_some())
            .finish()
    }
}

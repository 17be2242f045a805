//! The thread that watches: waits for events, looks, publishes; "sigward-reload", with every signal
//! blocked that is not a fault of its own.

use super::shared::Shared;
use super::take::{Outcome, Taker};
use super::version::Version;
use super::watch::{News, Watch};
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// Between two looks at least, and from a write to the look that follows: a writer of many small
/// pieces wakes nobody for each.
pub(super) const REST: Duration = Duration::from_millis(10);

pub(super) struct Watcher<T> {
    pub(super) shared: Arc<Shared<T>>,
    pub(super) taker: Taker<T>,
    pub(super) watch: Option<Watch>,
}

impl<T: Send + Sync + 'static> Watcher<T> {
    /// Starts the thread. What is pending for other threads of this process never comes to it.
    pub(super) fn start(self) -> Result<JoinHandle<()>, c_int> {
        let before = block_signals();
        let started = std::thread::Builder::new().name("sigward-reload".into()).spawn(move || self.run());
        if let Some(before) = before {
            restore_signals(&before);
        }
        started.map_err(|error| error.raw_os_error().unwrap_or(libc::EAGAIN))
    }

    fn run(mut self) {
        let over = Over(self.shared.clone());
        let mut force = false;
        while !self.shared.stopping.load(Ordering::Acquire) {
            if let Some(watch) = &mut self.watch {
                watch.renew(&self.taker.path);
            }
            let watching = self.watch.as_ref().is_some_and(Watch::is_complete);
            let asked = {
                let mut book = self.shared.book();
                book.status.watching = watching;
                book.asked
            };
            let wait = self.look(force || asked > self.shared.book().done);
            self.shared.book().done = asked;
            self.shared.told.notify_all();
            force = self.wait(wait);
        }
        drop(over);
    }

    /// Looks once, and returns how long to wait for events after that.
    fn look(&mut self, force: bool) -> Duration {
        let watch = &mut self.watch;
        let mut disturbed = || watch.as_mut().is_some_and(|watch| watch.read().written);
        match self.taker.look(force, &mut disturbed) {
            Outcome::Nothing => {}
            Outcome::Same => self.shared.same(),
            Outcome::Taken { value, seen, length } => {
                let number = self.shared.current.load().number + 1;
                self.shared.publish(Version {
                    value,
                    number,
                    length,
                    identity: seen,
                    loaded: SystemTime::now(),
                });
            }
            Outcome::Kept(reason, length) => self.shared.keep(reason, length),
            Outcome::NotYet(reason, length, again) => {
                self.shared.keep(reason, length);
                return again.min(self.taker.tick);
            }
        }
        self.taker.tick
    }

    /// Waits for a reason to look again. Says whether the file was written to: then it is another
    /// one, whatever its times say.
    fn wait(&mut self, limit: Duration) -> bool {
        self.shared.bell.wait(None, REST);
        if !self.is_called() && self.read() == News::default() {
            self.shared.bell.wait(self.watch.as_ref().map(AsFd::as_fd), limit);
        }
        let news = self.read();
        if news.written && !news.concluded && !self.is_called() {
            self.shared.bell.wait(None, REST);
        }
        let news = self.watch.as_mut().map(Watch::take).unwrap_or_default();
        self.taker.told(news);
        news.written
    }

    /// Whether somebody wants a look, or the end.
    fn is_called(&self) -> bool {
        let book = self.shared.book();
        book.asked > book.done || self.shared.stopping.load(Ordering::Acquire)
    }

    fn read(&mut self) -> News {
        self.watch.as_mut().map(Watch::read).unwrap_or_default()
    }
}

/// Tells those who wait that nobody will tell them anything, however the thread ends.
struct Over<T>(Arc<Shared<T>>);

impl<T> Drop for Over<T> {
    fn drop(&mut self) {
        self.0.book().over = true;
        self.0.told.notify_all();
    }
}

/// Faults stay: the kernel kills a process whose thread has blocked its own.
const FAULTS: [c_int; 6] =
    [libc::SIGBUS, libc::SIGSEGV, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS];

fn block_signals() -> Option<libc::sigset_t> {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: room for a set.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    for fault in FAULTS {
        // SAFETY: a set that was filled, and a number that is a signal's.
        unsafe { libc::sigdelset(all.as_mut_ptr(), fault) };
    }
    // SAFETY: a set, and room for one.
    let done = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr()) };
    // SAFETY: the call returned 0, so it filled the set.
    (done == 0).then(|| unsafe { before.assume_init() })
}

fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: a set that pthread_sigmask filled; the old one is not wanted.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
}

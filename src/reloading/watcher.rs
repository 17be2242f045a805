//! A turn of one file: hear what has happened, look, publish.

use super::hub::{Ears, Job};
use super::shared::Shared;
use super::take::{Outcome, Taker};
use super::version::Version;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

pub(super) struct Watcher<T> {
    pub(super) shared: Arc<Shared<T>>,
    /// Of the thread that gives the turns.
    pub(super) taker: Mutex<Taker<T>>,
}

impl<T: Send + Sync + 'static> Job for Watcher<T> {
    fn turn(&self, ears: &Ears) -> Duration {
        let mut taker = self.taker.lock().unwrap_or_else(PoisonError::into_inner);
        let (force, watched) = taker.hear(ears);
        self.shared.watched(watched);
        let (asked, called) = {
            let book = self.shared.book();
            (book.asked, book.asked > book.done)
        };
        if called {
            taker.called();
        }
        let outcome = taker.look(force || called, &mut || ears.take());
        let wait = self.note(outcome, taker.tick);
        self.shared.book().done = asked;
        self.shared.told.notify_all();
        wait
    }
}

impl<T> Watcher<T> {
    /// Says how long to wait for events.
    fn note(&self, outcome: Outcome<T>, tick: Duration) -> Duration {
        match outcome {
            Outcome::Nothing => {}
            Outcome::Waits(again) => return again.min(tick),
            Outcome::Same { settled } => self.shared.same(settled),
            Outcome::Taken { value, seen, length, settled } => {
                let number = self.shared.current.load().number + 1;
                let loaded = SystemTime::now();
                self.shared.publish(Version {
                    value,
                    number,
                    length,
                    identity: seen,
                    loaded,
                    settled,
                });
            }
            Outcome::Kept(reason, length) => self.shared.keep(reason, length),
            Outcome::NotYet(reason, length, again) => {
                self.shared.keep(reason, length);
                return again.min(tick);
            }
        }
        tick
    }
}

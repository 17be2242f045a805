//! The events that the collector has not acknowledged yet, in order.
//!
//! This is the whole memory of the shipper. Sending removes nothing, only an acknowledgement does,
//! so a resend is no special case: a new connection simply starts again at the front.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// More than this many events waiting, and the service must say "try later".
const LIMIT: usize = 1 << 16;

/// Events by sequence number, without a gap. See the module.
pub struct Backlog {
    events: Mutex<Events>,
    arrived: Notify,
}

struct Events {
    waiting: VecDeque<Arc<str>>,
    /// The sequence number of `waiting[0]`. The first event of all has number 1.
    first: u64,
}

impl Backlog {
    /// An empty backlog.
    pub const fn new() -> Self {
        let events = Events { waiting: VecDeque::new(), first: 1 };
        Self { events: Mutex::new(events), arrived: Notify::const_new() }
    }

    /// Takes an event and returns its sequence number, or `None` when the backlog is full.
    pub fn push(&self, event: &str) -> Option<u64> {
        let mut events = self.lock();
        if events.waiting.len() >= LIMIT {
            return None;
        }
        let sequence = events.end();
        events.waiting.push_back(Arc::from(event));
        drop(events);
        self.arrived.notify_one();
        Some(sequence)
    }

    /// Forgets every event up to and including `sequence`; returns how many these were.
    pub fn acknowledge(&self, sequence: u64) -> u64 {
        let mut events = self.lock();
        let end = sequence.saturating_add(1).min(events.end());
        let mut forgotten = 0;
        while events.first < end {
            events.waiting.pop_front();
            events.first += 1;
            forgotten += 1;
        }
        forgotten
    }

    /// The number of the oldest event that is not acknowledged, or that of the next one to come.
    pub fn first(&self) -> u64 {
        self.lock().first
    }

    /// Up to `most` events from number `from` on, each with its number.
    pub fn batch(&self, from: u64, most: usize) -> Vec<(u64, Arc<str>)> {
        let events = self.lock();
        let from = from.max(events.first);
        let skip = usize::try_from(from - events.first).unwrap_or(usize::MAX);
        (from..).zip(events.waiting.iter().skip(skip).take(most).cloned()).collect()
    }

    /// Resolves after a push that nobody has waited for yet.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events {
    /// The number that the next event gets.
    fn end(&self) -> u64 {
        self.first + self.waiting.len() as u64
    }
}

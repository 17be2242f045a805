//! The last events, in a ring that handlers write without waiting.
//!
//! An event takes the next number with one addition; its number names its slot. A slot's `sequence`
//! is `2n` when event `n` is whole in it and `2n - 1` while it is being written: it only grows. A
//! writer that finds its slot still being written (by a thread that has been held up for a whole
//! round) drops its event, says so, and goes on. Readers check `sequence` before and after, so they
//! take nothing torn and hold nobody up; each reader keeps its own place.

use super::counters;
use super::event::{Event, WORDS};
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// How many events are kept.
pub(crate) const SLOTS: u64 = 512;
/// How many of the latest drops are remembered, for readers to step over.
const DROPS: u64 = 16;

struct Slot {
    sequence: AtomicU64,
    words: [AtomicU64; WORDS],
}

static RING: [Slot; SLOTS as usize] =
    [const { Slot { sequence: AtomicU64::new(0), words: [const { AtomicU64::new(0) }; WORDS] } };
        SLOTS as usize];
static LAST: AtomicU64 = AtomicU64::new(0);
static DROPPED: [AtomicU64; DROPS as usize] = [const { AtomicU64::new(0) }; DROPS as usize];

fn slot(number: u64) -> Option<&'static Slot> {
    RING.get((number % SLOTS) as usize)
}

/// Keeps an event, under the next number. Signal-safe: bounded, no waiting.
pub(crate) fn push(event: &Event) {
    let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    let Some(slot) = slot(number) else { return };
    let seen = slot.sequence.load(Ordering::Relaxed);
    let writing = 2 * number - 1;
    let free = seen % 2 == 0 && seen < writing;
    // Acquire: our words come after the previous writer's, which its Release closed.
    if !free
        || slot
            .sequence
            .compare_exchange(seen, writing, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
    {
        counters::EVENTS_DROPPED.add();
        if let Some(drop) = DROPPED.get((number % DROPS) as usize) {
            drop.store(number, Ordering::Release);
        }
        return;
    }
    // The odd sequence is seen before any of our words: pairs with the fence in `take`.
    fence(Ordering::Release);
    // The number is the first word.
    let numbered = std::iter::once(number).chain(event.words().iter().skip(1).copied());
    for (word, value) in slot.words.iter().zip(numbered) {
        word.store(value, Ordering::Relaxed);
    }
    slot.sequence.store(2 * number, Ordering::Release);
}

enum Taken {
    /// It was copied.
    Whole,
    /// Still being written: it will be there soon.
    Soon,
    /// Overwritten or dropped.
    Gone,
}

/// Copies event `number` into `out`.
fn take(number: u64, out: &mut Event) -> Taken {
    let Some(slot) = slot(number) else {
        return Taken::Gone;
    };
    let before = slot.sequence.load(Ordering::Acquire);
    if before < 2 * number {
        let dropped = DROPPED
            .get((number % DROPS) as usize)
            .is_some_and(|drop| drop.load(Ordering::Acquire) == number);
        return if dropped { Taken::Gone } else { Taken::Soon };
    }
    if before > 2 * number {
        return Taken::Gone;
    }
    let mut words = [0; WORDS];
    for (value, word) in words.iter_mut().zip(&slot.words) {
        *value = word.load(Ordering::Relaxed);
    }
    // No word above is read after the sequence below.
    fence(Ordering::Acquire);
    if slot.sequence.load(Ordering::Relaxed) != before {
        return Taken::Gone;
    }
    *out = Event::from_words(&words);
    Taken::Whole
}

/// Copies events after number `cursor` into `out`, oldest first, and moves `cursor` to the last one
/// looked at. Returns how many there were. Start with a cursor of 0; each reader keeps its own.
///
/// Signal-safe, thread-safe, waits for nobody. A forked child sees its parent's events up to the
/// fork.
///
/// ```
/// let mut cursor = 0;
/// let mut events = [sigward::Event::default(); 16];
/// let count = sigward::read_events(&mut cursor, &mut events);
/// for event in &events[..count] {
///     eprintln!("{event}");
/// }
/// ```
#[doc(alias = "sigward_read_events")]
pub fn read(cursor: &mut u64, out: &mut [Event]) -> usize {
    let last = LAST.load(Ordering::Acquire);
    let oldest = (last + 1).saturating_sub(SLOTS);
    let mut count = 0;
    while *cursor < last {
        let Some(place) = out.get_mut(count) else { break };
        let next = (*cursor + 1).max(oldest);
        match take(next, place) {
            Taken::Whole => count += 1,
            // Its writer is at work. One that never finishes (its thread was killed) must not hold
            // readers up.
            Taken::Soon if last - next < SLOTS / 2 => break,
            Taken::Soon | Taken::Gone => {}
        }
        *cursor = next;
    }
    count
}

/// The number of the newest event, 0 if there was none yet.
pub(super) fn newest() -> u64 {
    LAST.load(Ordering::Acquire)
}

impl Default for Event {
    fn default() -> Self {
        Self::blank(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// The ring is one to the process: one test at a time.
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

    /// Writers that are held up in the middle of an event: for a whole round, and for ever.
    #[test]
    fn a_writer_that_is_held_up_costs_one_event_and_holds_nobody_up() {
        let _alone = ALONE.lock();
        (0..SLOTS).for_each(|_| push(&Event::blank(13)));
        let mut events = vec![Event::default(); SLOTS as usize];
        let dropped = || counters::Counters::read().events_dropped;

        let number = LAST.load(Ordering::SeqCst) + 1;
        let held = &slot(number).unwrap().sequence;
        let half = 2 * (number - SLOTS) - 1;
        held.store(half, Ordering::SeqCst);
        let (mut cursor, before) = (number - 1, dropped());
        push(&Event::blank(13));
        push(&Event::blank(13));
        assert_eq!(
            (held.load(Ordering::SeqCst), dropped()),
            (half, before + 1),
            "its slot is left to it"
        );
        assert_eq!((read(&mut cursor, &mut events), cursor), (1, number + 1));
        assert_eq!(events[0].number, number + 1);
        held.store(half + 1, Ordering::SeqCst);

        let number = LAST.fetch_add(1, Ordering::SeqCst) + 1;
        let held = &slot(number).unwrap().sequence;
        held.store(2 * number - 1, Ordering::SeqCst);
        push(&Event::blank(13));
        let mut cursor = number - 1;
        assert_eq!(
            (read(&mut cursor, &mut events), cursor),
            (0, number - 1),
            "it will be there soon"
        );
        (0..SLOTS / 2).for_each(|_| push(&Event::blank(13)));
        assert_eq!(
            (read(&mut cursor, &mut events), cursor),
            (SLOTS as usize / 2 + 1, number + SLOTS / 2 + 1)
        );
        held.store(2 * number, Ordering::SeqCst);
    }

    /// Four writers and a reader at once: every number comes once or is counted as lost, and no
    /// event is torn.
    #[test]
    fn nothing_is_torn_and_nothing_counted_twice() {
        const EACH: u64 = 50_000;
        let _alone = ALONE.lock();
        let first = LAST.load(Ordering::SeqCst);
        let mut cursor = first;
        let mut seen = HashSet::new();
        std::thread::scope(|scope| {
            for writer in 1..=4_u64 {
                scope.spawn(move || {
                    for value in 0..EACH {
                        let mark = writer << 32 | value;
                        let mut event = Event::blank(13);
                        (event.time_ns, event.inode, event.pc, event.len_now) =
                            (mark, mark, mark, mark);
                        push(&event);
                    }
                });
            }
            let mut events = [Event::default(); 32];
            while cursor < first + 4 * EACH {
                let count = read(&mut cursor, &mut events);
                for event in &events[..count] {
                    let mark = event.time_ns;
                    assert_eq!((event.inode, event.pc, event.len_now), (mark, mark, mark), "torn");
                    assert!(seen.insert(mark), "twice");
                }
            }
        });
        assert_eq!(cursor, LAST.load(Ordering::SeqCst));
        assert!(seen.len() >= SLOTS as usize / 2, "the newest are there");
    }
}

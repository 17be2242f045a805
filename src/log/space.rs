//! How much to reserve at a time.
//!
//! Large steps make growth cheap: an eighth of what there is, so that a log of any size has grown a
//! few dozen times. Near the end of the disk large steps are refused although there is room: then
//! half, and half again, down to the very page, so that the last blocks are used before an append
//! fails. A disk that has refused once is asked for little first the next time.

use std::ops::{Range, RangeInclusive};

/// Reserved at a time, at least and at most, where the disk has room.
const STEPS: RangeInclusive<u64> = 1 << 20..=64 << 20;

/// What growth has learnt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth {
    /// Given by the options: exactly so much at a time; 0: an eighth.
    pub(super) step: u64,
    /// Where the file may not go beyond.
    pub(super) capacity: u64,
    /// Bytes of a page.
    pub(super) page: u64,
    /// The largest step that was not refused lately.
    pub(super) hint: u64,
}

impl Growth {
    pub(super) fn new(step: u64, capacity: u64, page: u64) -> Self {
        Self { step, capacity, page, hint: u64::MAX }
    }

    /// The ends to try, the furthest first, so that at least `needed` bytes are there; none if that
    /// is beyond the capacity.
    pub(super) fn ends(&self, needed: u64) -> impl Iterator<Item = u64> + use<> {
        let Self { page, capacity, .. } = *self;
        let step = if self.step > 0 {
            self.step
        } else {
            (needed / 8).clamp(*STEPS.start(), *STEPS.end())
        };
        let up = move |end: u64| end.checked_next_multiple_of(page).unwrap_or(end).min(capacity);
        let mut step = step.min(self.hint);
        let mut last = None;
        std::iter::from_fn(move || {
            loop {
                let end = up(needed.saturating_add(step));
                if end < needed || last == Some(up(needed)) {
                    return None;
                }
                step = if step > page { step / 2 } else { 0 };
                if last.is_none_or(|last| end < last) {
                    last = Some(end);
                    return last;
                }
            }
        })
    }

    /// It was possible to go from `needed` to `end`, as the first of what was tried or not.
    pub(super) fn learn(&mut self, needed: u64, end: u64, at_once: bool) {
        let step = (end - needed).max(self.page);
        self.hint = if at_once { self.hint.saturating_mul(2) } else { step };
    }

    /// Nothing was possible.
    pub(super) fn refused(&mut self) {
        self.hint = self.page;
    }
}

/// Up to where zeros are written ahead of the stores into a map.
///
/// They are zeros already, and nothing changes. But a large write(2) makes large folios of the
/// page cache and looks for their blocks once, and a store into such a page costs a fifth of what
/// a fault for a page of its own costs (ext4 on 6.18). A flush writes them to the disk as well, so
/// there are never more of them than records since the last one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead {
    /// Where the log ended at the last flush.
    start: u64,
    /// Up to here they are written, or not worth it. Never less than the log's end.
    pub(super) ready: u64,
}

impl Ahead {
    /// So many bytes at once, at least and at most: others wait meanwhile.
    const STEPS: RangeInclusive<u64> = 16 << 10..=128 << 10;

    pub(super) fn new(end: u64, is_worth_it: bool) -> Self {
        Self { start: end, ready: if is_worth_it { end } else { u64::MAX } }
    }

    pub(super) fn flushed(&mut self, end: u64) {
        self.start = end;
    }

    /// Where to write them for an append up to `needed`, within the blocks that there are.
    pub(super) fn next(&mut self, needed: u64, reserved: u64) -> Range<u64> {
        let from = self.ready;
        if needed <= from {
            return 0..0;
        }
        let written = needed.saturating_sub(self.start);
        if written < *Self::STEPS.start() {
            self.ready = self.start + Self::STEPS.start();
            return 0..0;
        }
        self.ready = (needed + written.min(*Self::STEPS.end())).min(reserved);
        from..self.ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 4096;

    #[test]
    fn large_steps_first_then_down_to_the_page() {
        let growth = Growth::new(0, 1 << 40, PAGE);
        let ends: Vec<u64> = growth.ends(10_000).collect();
        assert_eq!(ends.first(), Some(&(10_000 + (1_u64 << 20)).next_multiple_of(PAGE)));
        assert_eq!(ends.last(), Some(&12_288));
        assert!(ends.windows(2).all(|pair| pair[0] > pair[1]) && ends.len() < 12, "{ends:?}");
        let large = growth.ends(1 << 30).next().unwrap();
        assert_eq!(large, (1 << 30) + (64 << 20));
    }

    #[test]
    fn no_more_zeros_than_records() {
        let mut ahead = Ahead::new(8192, true);
        let (mut end, mut ready) = (8192, 0);
        while end < 1 << 20 {
            let needed = end + 80;
            if needed > ahead.ready {
                let range = ahead.next(needed, 1 << 21);
                // Never over what is there.
                assert!(range.is_empty() || range.start >= end);
                assert!(range.end.saturating_sub(needed) <= needed - 8192);
                ready = ready.max(range.end);
            }
            assert!(needed <= ahead.ready);
            end = needed;
        }
        assert!(ready > 1 << 20);
        // Little is written between two flushes.
        for _ in 0..100 {
            ahead.flushed(end);
            end += 8000;
            ahead.ready = ahead.ready.max(end);
            assert!(ahead.next(end, 1 << 21).is_empty());
        }
        assert!(Ahead::new(8192, false).next(1 << 30, 1 << 31).is_empty());
        // A record that is longer than a step, and the end of what is reserved.
        assert_eq!(Ahead::new(8192, true).next(1 << 20, 1 << 20), 8192..1 << 20);
    }

    #[test]
    fn the_capacity_ends_it() {
        let growth = Growth::new(0, 100_000, PAGE);
        assert_eq!(growth.ends(90_000).collect::<Vec<_>>(), [100_000, 98_304, 94_208, 90_112]);
        assert_eq!(growth.ends(100_000).collect::<Vec<_>>(), [100_000]);
        assert_eq!(growth.ends(100_001).count(), 0);
        assert_eq!(Growth::new(0, u64::MAX, PAGE).ends(u64::MAX).collect::<Vec<_>>(), [u64::MAX]);
    }

    #[test]
    fn a_refusal_is_remembered_and_forgotten() {
        let mut growth = Growth::new(0, 1 << 40, PAGE);
        growth.refused();
        assert_eq!(growth.ends(PAGE).collect::<Vec<_>>(), [2 * PAGE, PAGE]);
        for _ in 0..20 {
            growth.learn(PAGE, 2 * PAGE, true);
        }
        assert_eq!(growth.ends(PAGE).next(), Some(PAGE + (1 << 20)));
        growth.learn(PAGE, 3 * PAGE, false);
        assert_eq!(growth.ends(PAGE).next(), Some(3 * PAGE));
    }
}

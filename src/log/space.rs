//! How much to reserve at a time.
//!
//! Large steps make growth cheap: an eighth of what there is, so that a log of any size has grown a
//! few dozen times. Near the end of the disk large steps are refused although there is room: then
//! half, and half again, down to the very page, so that the last blocks are used before an append
//! fails. A disk that has refused once is asked for little first the next time.

use std::ops::RangeInclusive;

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
        let step = if self.step > 0 { self.step } else { (needed / 8).clamp(*STEPS.start(), *STEPS.end()) };
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

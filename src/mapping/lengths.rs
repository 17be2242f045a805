//! How much of a piece is in a map, and how much of that is the file's.

/// How many of `count` bytes from `offset` on lie below `length`.
#[inline]
pub(super) fn clip(length: usize, offset: u64, count: usize) -> usize {
    let rest = (length as u64).saturating_sub(offset);
    if count as u64 <= rest { count } else { rest as usize }
}

/// How many of `count` bytes from `offset` on are the file's; none if the first is not.
#[inline]
pub(super) fn intact(offset: u64, count: usize, poison: u64) -> Option<usize> {
    if offset + count as u64 <= poison {
        return Some(count);
    }
    (offset < poison).then(|| (poison - offset) as usize)
}

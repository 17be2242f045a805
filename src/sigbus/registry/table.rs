//! From an address to the slot of the map that holds it: six loads at most, whatever the number of
//! maps, waiting for nobody.
//!
//! A tree over the pages of the address space. An entry is empty, a slot that covers everything
//! below it, or the next level's node. A map of any size is at most two partly filled nodes a
//! level: its ends. The lowest levels are narrow, so that those are few entries. Nodes are never
//! taken out again: a look-up may stand in one, and the kernel gives out the same addresses anyway.
//!
//! Each page belongs to one map at most, so what an entry says is the whole truth about it.

use super::memory::for_ever;
use super::slot::Slot;
use std::ffi::c_void;
use std::ops::Range;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Of an address, how many bits the levels look at, lowest first, above those of a page of 4 KiB
/// (larger pages fill several entries): 4 KiB, 32 KiB, 256 KiB, 2 MiB, 1 GiB, 512 GiB.
const BITS: [u32; LEVELS] = [3, 3, 3, 9, 9, 9];
const SHIFT: [u32; LEVELS] = [12, 15, 18, 21, 30, 39];
const LEVELS: usize = 6;
const TOP: usize = LEVELS - 1;
/// Addresses beyond are given out only to programs that ask for them by a hint.
pub(super) const REACH: usize = 1 << (SHIFT[TOP] + BITS[TOP]);

/// Slots and nodes are aligned far beyond it.
const IS_SLOT: usize = 1;

type Entry = AtomicPtr<c_void>;

static ROOT: [Entry; 1 << BITS[TOP]] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; 1 << BITS[TOP]];

enum Content {
    Empty,
    Slot(&'static Slot),
    /// The first entry of a node.
    Node(*const Entry),
}

/// The entries of the node at this level.
fn entries(node: *const Entry, level: usize) -> &'static [Entry] {
    // SAFETY: nodes are made by `new_node` for their level, or the root; they live for ever.
    unsafe { std::slice::from_raw_parts(node, 1 << BITS[level]) }
}

fn place(address: usize, level: usize) -> usize {
    (address >> SHIFT[level]) & ((1 << BITS[level]) - 1)
}

fn content(entry: &Entry) -> Content {
    // Acquire pairs with the Release stores below: slots and nodes are whole before they can be
    // found.
    let word = entry.load(Ordering::Acquire);
    let address = word.map_addr(|address| address & !IS_SLOT);
    if word.is_null() {
        Content::Empty
    } else if word.addr() & IS_SLOT != 0 {
        // SAFETY: entries with this mark are made from `&'static Slot` only.
        Content::Slot(unsafe { &*address.cast::<Slot>() })
    } else {
        Content::Node(address.cast())
    }
}

/// The slot whose map holds `address`. Signal-safe and wait-free.
pub(crate) fn find(address: usize) -> Option<&'static Slot> {
    if address >= REACH {
        return None;
    }
    let mut node = ROOT.as_ptr();
    for level in (0..LEVELS).rev() {
        match content(entries(node, level).get(place(address, level))?) {
            Content::Empty => return None,
            Content::Slot(slot) => return Some(slot),
            Content::Node(next) => node = next,
        }
    }
    None
}

/// The first page of the range that belongs to a map, and that map's slot.
pub(super) fn any_in(range: &Range<usize>) -> Option<(usize, &'static Slot)> {
    if range.is_empty() {
        return None;
    }
    let (node, level) = common(range);
    search(node, level, range, &|entry| match entry {
        Content::Slot(slot) => Some(*slot),
        _ => None,
    })
}

/// The first entry that `wanted` wants, and where the range meets it.
fn search<T>(
    node: *const Entry,
    level: usize,
    range: &Range<usize>,
    wanted: &impl Fn(&Content) -> Option<T>,
) -> Option<(usize, T)> {
    visit(node, level, range, &mut |entry, piece, level| match content(entry) {
        Content::Node(next) => search(next, level.checked_sub(1)?, &piece, wanted),
        other => wanted(&other).map(|found| (piece.start, found)),
    })
}

/// What a change writes, and where.
#[derive(Clone, Copy)]
struct Change {
    word: *mut c_void,
    /// Only what has one of these words now is changed.
    instead_of: [*mut c_void; 2],
}

/// Makes every page of the range, which nobody has, or `over`, find `slot`. False if the kernel has
/// no memory for nodes: then the range is as it was. Only under the registry's lock.
pub(super) fn insert(
    range: &Range<usize>,
    slot: &'static Slot,
    over: Option<&'static Slot>,
) -> bool {
    let free = std::ptr::null_mut();
    let change = Change { word: word_of(slot), instead_of: [free, over.map_or(free, word_of)] };
    let (node, level) = common(range);
    let done = store(node, level, range, change);
    if !done {
        remove(range, slot);
    }
    done
}

/// Makes every page of the range that finds `slot` find nothing. False if that would have taken a
/// part out of a larger piece and the kernel has no memory for nodes. Only under the registry's
/// lock.
pub(super) fn remove(range: &Range<usize>, slot: &'static Slot) -> bool {
    let (node, level) = common(range);
    store(node, level, range, Change { word: std::ptr::null_mut(), instead_of: [word_of(slot); 2] })
}

/// As [`remove`], without the registry's lock: for a whole map of our own. Nobody else changes an
/// entry that has its slot: another map's range never overlaps it. False, with nothing harmed, if a
/// part would have to be taken out of a larger piece.
pub(super) fn remove_own(range: &Range<usize>, slot: &'static Slot) -> bool {
    let (node, level) = common(range);
    clear(node, level, range, word_of(slot))
}

fn clear(node: *const Entry, level: usize, range: &Range<usize>, word: *mut c_void) -> bool {
    let refused = visit(node, level, range, &mut |entry, piece, level| match content(entry) {
        Content::Node(next) => (!clear(next, level.checked_sub(1)?, &piece, word)).then_some(()),
        Content::Slot(_) if entry.load(Ordering::Relaxed) == word => {
            let whole = level == 0 || piece.len() == 1 << SHIFT[level];
            if whole {
                entry.store(std::ptr::null_mut(), Ordering::Release);
            }
            (!whole).then_some(())
        }
        _ => None,
    });
    refused.is_none()
}

/// The lowest node that is there and has all of the range, and its level.
fn common(range: &Range<usize>) -> (*const Entry, usize) {
    let (mut node, mut level) = (ROOT.as_ptr(), TOP);
    while level > 0 {
        let first = place(range.start, level);
        if (range.start ^ (range.end - 1)) >> SHIFT[level] != 0 {
            break;
        }
        let Some(Content::Node(next)) = entries(node, level).get(first).map(content) else { break };
        (node, level) = (next, level - 1);
    }
    (node, level)
}

fn word_of(slot: &'static Slot) -> *mut c_void {
    std::ptr::from_ref(slot).cast_mut().cast::<c_void>().map_addr(|address| address | IS_SLOT)
}

fn store(node: *const Entry, level: usize, range: &Range<usize>, change: Change) -> bool {
    let refused = visit(node, level, range, &mut |entry, piece, level| {
        let next = match content(entry) {
            Content::Node(next) => next,
            _ if level == 0 || piece.len() == 1 << SHIFT[level] => {
                if change.instead_of.contains(&entry.load(Ordering::Relaxed)) {
                    entry.store(change.word, Ordering::Release);
                }
                return None;
            }
            // Nothing to take away.
            Content::Empty if change.word.is_null() => return None,
            Content::Slot(_) if !change.instead_of.contains(&entry.load(Ordering::Relaxed)) => {
                return None;
            }
            _ => {
                let Some(new) = new_node(level - 1) else { return Some(()) };
                let whole = entry.load(Ordering::Relaxed);
                for part in entries(new, level - 1) {
                    part.store(whole, Ordering::Relaxed);
                }
                // To a look-up both are the same.
                entry.store(new.cast(), Ordering::Release);
                new
            }
        };
        if store(next, level - 1, &piece, change) { None } else { Some(()) }
    });
    refused.is_none()
}

/// A node of empty entries for this level, out of larger pieces: a mapping each would cost an area
/// of the process's limited number.
fn new_node(level: usize) -> Option<*mut Entry> {
    const PIECE: usize = 1 << 13;
    static SPARE: AtomicPtr<Entry> = AtomicPtr::new(std::ptr::null_mut());
    static LEFT: AtomicUsize = AtomicUsize::new(0);
    // Only under the lock, so plain loads and stores do. A child that is forked between two of
    // these stores has none left, and makes a piece of its own: with the old place and the new
    // count, or the other way round, it would write beyond the piece.
    let count = 1 << BITS[level];
    let left = LEFT.load(Ordering::Relaxed);
    let (node, left) = if left < count {
        (for_ever::<Entry>(PIECE), PIECE)
    } else {
        (SPARE.load(Ordering::Relaxed), left)
    };
    if node.is_null() {
        return None;
    }
    LEFT.store(0, Ordering::Release);
    SPARE.store(node.wrapping_add(count), Ordering::Release);
    LEFT.store(left - count, Ordering::Release);
    Some(node)
}

/// Goes through the entries of a node that the range meets, each with its part of the range and the
/// level, until `look` finds something. All but the first and the last are met as a whole.
#[inline]
fn visit<T>(
    node: *const Entry,
    level: usize,
    range: &Range<usize>,
    look: &mut impl FnMut(&'static Entry, Range<usize>, usize) -> Option<T>,
) -> Option<T> {
    let size = 1_usize << SHIFT[level];
    let met = entries(node, level).get(place(range.start, level)..=place(range.end - 1, level))?;
    let mut start = range.start;
    for entry in met {
        let end = ((start | (size - 1)) + 1).min(range.end);
        if let found @ Some(_) = look(entry, start..end, level) {
            return found;
        }
        start = end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Addresses that no map of this process has: nothing is touched there.
    const BASE: usize = 0x1234_5600_0000;
    const PAGE: usize = 1 << SHIFT[0];

    fn slot(number: usize) -> &'static Slot {
        // Only addresses are compared: the slots are never looked into.
        let slots = for_ever::<Slot>(16);
        // SAFETY: zeroed memory that lives for ever; all of a slot's fields may be zero.
        unsafe { &*slots.wrapping_add(number % 16) }
    }

    fn finds(address: usize, slot: Option<&'static Slot>) -> bool {
        find(address).map(std::ptr::from_ref) == slot.map(std::ptr::from_ref)
    }

    /// Ranges of every size come and go; after each step the borders of all of them are looked at.
    #[test]
    fn it_knows_what_a_map_of_ranges_knows() {
        let mut known: BTreeMap<usize, (usize, &'static Slot)> = BTreeMap::new();
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random as usize % below
        };
        for step in 0..600 {
            let pages = [1, 2, 511, 512, 513, 1024, 300_000][next(7)];
            let start = BASE + next(600_000) * PAGE;
            let range = start..start + pages * PAGE;
            let free = known
                .range(..range.end)
                .next_back()
                .is_none_or(|(_, (end, _))| *end <= range.start);
            assert_eq!(any_in(&range).is_none(), free, "{range:x?}");
            if free {
                let slot = slot(step);
                assert!(insert(&range, slot, None));
                known.insert(range.start, (range.end, slot));
            } else if let Some((start, (end, slot))) = known.pop_first() {
                // (A part of a larger piece is left where two maps of one slot meet: here slots are
                // shared.)
                if step % 2 == 0 || !remove_own(&(start..end), slot) {
                    remove(&(start..end), slot);
                }
                assert!(any_in(&(start..end)).is_none());
            }
            for (start, (end, slot)) in &known {
                assert!(
                    finds(*start, Some(slot))
                        && finds(end - 1, Some(slot))
                        && finds(start + (end - start) / 2, Some(slot))
                );
                let before =
                    known.range(..start).next_back().is_some_and(|(_, (end, _))| end == start);
                assert!(before || finds(start - 1, None));
            }
        }
        for (start, (end, slot)) in known {
            remove(&(start..end), slot);
        }
        assert!(any_in(&(BASE..BASE + (1 << 36))).is_none());
    }

    /// What belongs to another map stays when a range is taken out: stale adopted maps are
    /// overtaken so.
    #[test]
    fn only_the_slots_own_pages_are_taken_out() {
        let (first, second) = (slot(0), slot(1));
        let range = BASE - 64 * PAGE..BASE - 32 * PAGE;
        assert!(insert(&range, first, None));
        remove(&range, second);
        assert!(finds(range.start, Some(first)));
        // A larger map in its place, without a moment in between.
        let larger = range.start - 600 * PAGE..range.end + 600 * PAGE;
        assert!(insert(&larger, second, Some(first)));
        remove(&range, first);
        assert!(larger.clone().step_by(PAGE).all(|page| finds(page, Some(second))));
        // A part of it, out of pieces that are larger than that.
        let part = larger.start + 77 * PAGE..larger.start + 600 * PAGE;
        assert!(remove(&part, second));
        assert!(
            larger
                .clone()
                .step_by(PAGE)
                .all(|page| finds(page, Some(second)) != part.contains(&page))
        );
        assert_eq!(any_in(&part).map(|(page, _)| page), None);
        remove(&larger, second);
        assert!(finds(range.start, None) && finds(REACH, None) && finds(usize::MAX, None));
    }
}

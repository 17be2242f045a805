//! From an address to the slot of the map that holds it: four loads, whatever the number of maps, waiting for nobody.
//!
//! A tree over the pages of the address space, nine bits a level as the processor's own. An entry is empty, a slot that
//! covers everything below it, or the next level's node. A map of any size is at most two partly filled nodes a level:
//! its ends. Nodes are never taken out again: a look-up may stand in one, and the kernel gives out the same addresses anyway.
//!
//! Each page belongs to one map at most, so what an entry says is the whole truth about it.

use super::memory::for_ever;
use super::slot::Slot;
use std::ffi::c_void;
use std::ops::Range;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

const BITS: u32 = 9;
const FANOUT: usize = 1 << BITS;
/// An entry of the lowest level is a page of 4 KiB; larger pages fill several.
const PAGE_BITS: u32 = 12;
const LEVELS: u32 = 4;
/// Addresses beyond are given out only to programs that ask for them by a hint.
pub(super) const REACH: usize = 1 << (PAGE_BITS + BITS * LEVELS);

/// Slots are aligned far beyond it, nodes to a page.
const IS_SLOT: usize = 1;

type Entry = AtomicPtr<c_void>;

#[repr(C, align(4096))]
struct Node([Entry; FANOUT]);

static ROOT: Node = Node([const { AtomicPtr::new(std::ptr::null_mut()) }; FANOUT]);

fn shift(level: u32) -> u32 {
    PAGE_BITS + BITS * level
}

fn entry(node: &Node, address: usize, level: u32) -> Option<&Entry> {
    node.0.get((address >> shift(level)) % FANOUT)
}

enum Content {
    Empty,
    Slot(&'static Slot),
    Node(&'static Node),
}

fn content(entry: &Entry) -> Content {
    // Acquire pairs with the Release stores below: slots and nodes are whole before they can be found.
    let word = entry.load(Ordering::Acquire);
    let address = word.map_addr(|address| address & !IS_SLOT);
    if word.is_null() {
        Content::Empty
    } else if word.addr() & IS_SLOT != 0 {
        // SAFETY: entries with this mark are made from `&'static Slot` only.
        Content::Slot(unsafe { &*address.cast::<Slot>() })
    } else {
        // SAFETY: the other entries are made from nodes that live for ever.
        Content::Node(unsafe { &*address.cast::<Node>() })
    }
}

/// The slot whose map holds `address`. Signal-safe and wait-free.
pub(crate) fn find(address: usize) -> Option<&'static Slot> {
    if address >= REACH {
        return None;
    }
    let mut node = &ROOT;
    for level in (0..LEVELS).rev() {
        match content(entry(node, address, level)?) {
            Content::Empty => return None,
            Content::Slot(slot) => return Some(slot),
            Content::Node(next) => node = next,
        }
    }
    None
}

/// The first page of the range that belongs to a map, and that map's slot.
pub(super) fn any_in(range: &Range<usize>) -> Option<(usize, &'static Slot)> {
    search(&ROOT, LEVELS - 1, range)
}

fn search(node: &'static Node, level: u32, range: &Range<usize>) -> Option<(usize, &'static Slot)> {
    pieces(range, level).find_map(|piece| match content(entry(node, piece.start, level)?) {
        Content::Empty => None,
        Content::Slot(slot) => Some((piece.start, slot)),
        Content::Node(next) => search(next, level.checked_sub(1)?, &piece),
    })
}

/// What a change writes, and where.
#[derive(Clone, Copy)]
struct Change {
    word: *mut c_void,
    /// Only what has this word now is changed.
    instead_of: *mut c_void,
}

/// Makes every page of the range, which nobody has, find `slot`. False if the kernel has no memory for nodes: then the
/// range is as it was. Only under the registry's lock.
pub(super) fn insert(range: &Range<usize>, slot: &'static Slot) -> bool {
    let done =
        store(&ROOT, LEVELS - 1, range, Change { word: word_of(slot), instead_of: std::ptr::null_mut() });
    if !done {
        remove(range, slot);
    }
    done
}

/// Makes every page of the range that finds `slot` find nothing. Only under the registry's lock.
pub(super) fn remove(range: &Range<usize>, slot: &'static Slot) {
    store(&ROOT, LEVELS - 1, range, Change { word: std::ptr::null_mut(), instead_of: word_of(slot) });
}

fn word_of(slot: &'static Slot) -> *mut c_void {
    std::ptr::from_ref(slot).cast_mut().cast::<c_void>().map_addr(|address| address | IS_SLOT)
}

fn store(node: &Node, level: u32, range: &Range<usize>, change: Change) -> bool {
    let size = 1 << shift(level);
    for piece in pieces(range, level) {
        let Some(entry) = entry(node, piece.start, level) else { return false };
        let next = match content(entry) {
            Content::Node(next) => Some(next),
            _ if piece.len() == size || level == 0 => None,
            // Taking a map away never needs a node that is not there.
            _ if change.word.is_null() => continue,
            _ => {
                let Some(new) = new_node() else { return false };
                entry.store(std::ptr::from_ref(new).cast_mut().cast(), Ordering::Release);
                Some(new)
            }
        };
        match next {
            None if entry.load(Ordering::Relaxed) == change.instead_of => {
                entry.store(change.word, Ordering::Release);
            }
            Some(next) if !store(next, level - 1, &piece, change) => return false,
            None | Some(_) => {}
        }
    }
    true
}

fn new_node() -> Option<&'static Node> {
    // A few at a time: a mapping each would cost an area of the process's limited number.
    const BATCH: usize = 16;
    static SPARE: AtomicPtr<Node> = AtomicPtr::new(std::ptr::null_mut());
    static LEFT: AtomicUsize = AtomicUsize::new(0);
    // Only under the lock, so plain loads and stores do; a forked child that took the lock over may lose a node.
    let left = LEFT.load(Ordering::Relaxed);
    let (node, left) =
        if left == 0 { (for_ever::<Node>(BATCH), BATCH) } else { (SPARE.load(Ordering::Relaxed), left) };
    if node.is_null() {
        return None;
    }
    LEFT.store(left - 1, Ordering::Relaxed);
    SPARE.store(node.wrapping_add(1), Ordering::Relaxed);
    // SAFETY: zeroed memory that lives for ever, aligned to a page, is a node of null entries.
    Some(unsafe { &*node })
}

/// The range cut at the borders of this level's entries.
fn pieces(range: &Range<usize>, level: u32) -> impl Iterator<Item = Range<usize>> + use<> {
    let size = 1_usize << shift(level);
    let (mut at, end) = (range.start, range.end);
    std::iter::from_fn(move || {
        let border = ((at / size) + 1) * size;
        let piece = at..border.min(end);
        at = border;
        (piece.start < end).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Addresses that no map of this process has: nothing is touched there.
    const BASE: usize = 0x1234_5600_0000;
    const PAGE: usize = 1 << PAGE_BITS;

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
            let free = known.range(..range.end).next_back().is_none_or(|(_, (end, _))| *end <= range.start);
            assert_eq!(any_in(&range).is_none(), free, "{range:x?}");
            if free {
                let slot = slot(step);
                assert!(insert(&range, slot));
                known.insert(range.start, (range.end, slot));
            } else if let Some((start, (end, slot))) = known.pop_first() {
                remove(&(start..end), slot);
                assert!(any_in(&(start..end)).is_none());
            }
            for (start, (end, slot)) in &known {
                assert!(
                    finds(*start, Some(slot))
                        && finds(end - 1, Some(slot))
                        && finds(start + (end - start) / 2, Some(slot))
                );
                let before = known.range(..start).next_back().is_some_and(|(_, (end, _))| end == start);
                assert!(before || finds(start - 1, None));
            }
        }
        for (start, (end, slot)) in known {
            remove(&(start..end), slot);
        }
        assert!(any_in(&(BASE..BASE + (1 << 36))).is_none());
    }

    /// What belongs to another map stays when a range is taken out: stale adopted maps are overtaken so.
    #[test]
    fn only_the_slots_own_pages_are_taken_out() {
        let (first, second) = (slot(0), slot(1));
        let range = BASE - 64 * PAGE..BASE - 32 * PAGE;
        assert!(insert(&range, first));
        remove(&range, second);
        assert!(finds(range.start, Some(first)));
        remove(&range, first);
        assert!(finds(range.start, None) && finds(REACH, None) && finds(usize::MAX, None));
    }
}

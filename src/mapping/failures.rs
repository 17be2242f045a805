//! Failed flushes of files that several maps share.
//!
//! The kernel tells of a failed write once for each time that a file was opened (errseq_t in the
//! kernel's lib/errseq.c), and calls the pages written from then on. Maps of one descriptor, or of
//! duplicates of it, hear of it once together: so whoever hears it tells the others here, and none
//! of them may ask the kernel in between. A map that was opened by its path has its file for
//! itself, and only what it becomes when it grows or is refreshed shares it: `Map` takes that
//! along.
//!
//! Two descriptors of one inode are taken for duplicates: whether they are is not always to be had
//! (kcmp(2) may be forbidden). At worst a map hears twice of what the kernel would have told it
//! anyway.

use crate::sigbus::registry::wiped::FlushLock;
use crate::sigbus::registry::{Facts, Slot};
use crate::sys::wiped;
#[cfg(not(sigward_loom))]
use crate::sys::wiped::Flushes;
use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};

/// A file whose writing has failed. Never freed: few files are such.
struct Failed {
    file: (u64, u64),
    /// How often.
    count: AtomicU32,
    /// The last time.
    errno: AtomicI32,
    next: *const Self,
}

static FAILED: [AtomicPtr<Failed>; wiped::FLUSHES] =
    [const { AtomicPtr::new(ptr::null_mut()) }; wiped::FLUSHES];

/// How often writing a shared file has failed, and why the last time.
pub(super) fn of(facts: &Facts) -> Option<(u32, c_int)> {
    let failed = find(facts)?;
    // Acquire pairs with `add`.
    Some((failed.count.load(Ordering::Acquire), failed.errno.load(Ordering::Relaxed)))
}

/// How often so far: a map that begins has not missed these.
pub(super) fn so_far(facts: &Facts) -> u32 {
    of(facts).map_or(0, |(count, _)| count)
}

/// Writing the file has failed. Under the lock of its flushes.
pub(super) fn add(facts: &Facts, errno: c_int, _held: &FlushLock<'_>) {
    if !is_shared(facts) {
        return;
    }
    if let Some(failed) = find(facts) {
        failed.errno.store(errno, Ordering::Relaxed);
        failed.count.fetch_add(1, Ordering::Release);
        return;
    }
    let list = &FAILED[stripe(facts)];
    let (count, errno) = (AtomicU32::new(1), AtomicI32::new(errno));
    let next = list.load(Ordering::Relaxed);
    let failed = Box::leak(Box::new(Failed { file: file(facts), count, errno, next }));
    // One store, also for a child that is forked just now.
    list.store(failed, Ordering::Release);
}

/// One at a time: of two that meet, the kernel would tell one of a failure that is the other's as
/// well.
pub(super) fn lock(slot: &'static Slot) -> FlushLock<'static> {
    #[cfg(not(sigward_loom))]
    if let Some(word) = shared_word(slot) {
        return FlushLock::of(word);
    }
    slot.wiped().lock_to_flush()
}

/// As [`lock`]; none if somebody else is at it for some hundredths of a second.
#[cfg(feature = "capi")]
pub(super) fn wait(slot: &'static Slot) -> Option<FlushLock<'static>> {
    #[cfg(not(sigward_loom))]
    if let Some(word) = shared_word(slot) {
        return FlushLock::wait_for(word);
    }
    slot.wiped().wait_to_flush()
}

#[cfg(not(sigward_loom))]
fn shared_word(slot: &'static Slot) -> Option<&'static AtomicU32> {
    let facts = slot.facts();
    let words = if is_shared(facts) { wiped::words() } else { None };
    words.map(|words| word_of(&words.flushes, number(facts)))
}

fn find(facts: &Facts) -> Option<&'static Failed> {
    if !is_shared(facts) {
        return None;
    }
    let mut at: *const Failed = FAILED[stripe(facts)].load(Ordering::Acquire);
    // SAFETY: null, or leaked by `add`.
    while let Some(failed) = unsafe { at.as_ref() } {
        if failed.file == file(facts) {
            return Some(failed);
        }
        at = failed.next;
    }
    None
}

/// Whether somebody else may have what the map's file was opened as.
fn is_shared(facts: &Facts) -> bool {
    facts.path.is_null() && facts.is_written_through()
}

fn file(facts: &Facts) -> (u64, u64) {
    (facts.identity.device, facts.identity.inode)
}

/// The file's own word: a disk that does not answer holds up nobody else. Only those share words
/// that come when each has a file.
#[cfg(not(sigward_loom))]
fn word_of(all: &[Flushes], number: u64) -> &AtomicU32 {
    let first = number as usize % all.len();
    let is_its_own = |one: &&Flushes| {
        let taken = one.file.compare_exchange(0, number, Ordering::AcqRel, Ordering::Acquire);
        taken.is_ok() || taken == Err(number)
    };
    let found = all[first..].iter().chain(&all[..first]).find(is_its_own);
    &found.unwrap_or(&all[first]).lock
}

fn stripe(facts: &Facts) -> usize {
    number(facts) as usize % FAILED.len()
}

/// The file as a number that is not 0.
fn number(facts: &Facts) -> u64 {
    let (device, inode) = file(facts);
    let mixed = (device ^ inode.rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ mixed >> 32) | 1 << 63
}

#[cfg(all(test, not(sigward_loom)))]
mod tests {
    use super::*;

    #[test]
    fn files_share_a_lock_only_when_each_has_a_file() {
        let all: [Flushes; 4] = Default::default();
        let at = |number| ptr::from_ref(word_of(&all, number));
        let words = [4, 8, 12, 16].map(at);
        assert!((0..4).all(|one| !words[..one].contains(&words[one])));
        assert_eq!([16, 4, 12, 8].map(at), [words[3], words[0], words[2], words[1]]);
        assert_eq!(at(20), words[0]);
        assert_eq!(at(21), words[1]);
    }
}

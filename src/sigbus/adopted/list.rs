//! The adopted files, found by file and by path; and the one lock that handlers and callers share.
//!
//! Whoever has the lock has all signals blocked, so no handler ever waits for a frame further down
//! on its own thread; a handler that has waited for long lets its instruction run again. What is
//! taken out of the list under the lock is nobody's any more: no handler holds on to an entry after
//! it has given the lock back.

use super::descriptors;
use super::entry::{Entry, Range};
use super::handler::area::Scratch;
use crate::observe::counters::MAPS;
use crate::sigbus::registry::lock::{Lock, Locked};
use crate::sys::mask::Mask;
use crate::sys::process::thread_id;
use crate::sys::wiped;
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::time::{Duration, Instant};

const BUCKETS: usize = 1024;
type Bucket = AtomicPtr<Entry>;

/// By file, and by path.
static HEADS: [[Bucket; BUCKETS]; 2] =
    [const { [const { AtomicPtr::new(std::ptr::null_mut()) }; BUCKETS] }; 2];
/// How many there are.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// How many of them are found by path.
static NAMED: AtomicU32 = AtomicU32::new(0);

struct Room(UnsafeCell<Scratch>);

// SAFETY: used under the lock only.
unsafe impl Sync for Room {}

static SCRATCH: Room = Room(UnsafeCell::new(Scratch::new()));

/// Whether anything is adopted. Signal-safe.
pub(crate) fn is_empty() -> bool {
    COUNT.load(Ordering::Acquire) == 0
}

/// Whether anything is adopted by path. Signal-safe.
pub(crate) fn has_paths() -> bool {
    NAMED.load(Ordering::Relaxed) != 0
}

/// The lock.
pub(crate) struct LockedList<'a> {
    _lock: Locked<'a>,
}

/// One bucket, of files or of paths.
#[derive(Clone, Copy)]
pub(crate) struct Chain {
    kind: usize,
    hash: usize,
}

impl Chain {
    /// Where the files that the kernel names so are. Signal-safe.
    pub(crate) fn of_file(file: (u64, u64)) -> Self {
        Self { kind: 0, hash: bucket_of(file) }
    }

    /// Where the files that had this path are. Signal-safe.
    pub(crate) fn of_path(path: &[u8]) -> Self {
        Self { kind: 1, hash: hash(path) }
    }

    fn first(self) -> &'static Bucket {
        &HEADS[self.kind & 1][self.hash % BUCKETS]
    }

    fn after(self, entry: &Entry) -> &Bucket {
        &entry.next[self.kind & 1]
    }
}

/// Entries that were marked under the lock, which is still held.
pub(crate) struct Marked<'a> {
    chain: Chain,
    lock: PhantomData<&'a ()>,
}

impl<'a> Marked<'a> {
    /// Signal-safe.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a Entry> {
        let chain = self.chain;
        let mut next = chain.first().load(Ordering::Acquire);
        let all = std::iter::from_fn(move || {
            // SAFETY: null, or an entry in the list, where it stays as long as the lock is held.
            let entry = unsafe { next.as_ref() }?;
            next = chain.after(entry).load(Ordering::Acquire);
            Some(entry)
        });
        all.filter(|entry: &&Entry| entry.marked.load(Ordering::Relaxed))
    }
}

impl<'a> LockedList<'a> {
    /// Room to ask the kernel with.
    #[allow(clippy::unused_self, reason = "it is the lock's to give")]
    pub(crate) fn scratch(&mut self) -> &mut Scratch {
        // SAFETY: under the lock, once at a time by the borrow.
        unsafe { &mut *SCRATCH.0.get() }
    }

    /// Those in a bucket for which `wanted` says so now.
    pub(crate) fn mark(
        &mut self,
        wanted: impl Fn(&mut Self, &Entry) -> bool,
        chain: Chain,
    ) -> Option<Marked<'a>> {
        let mut any = false;
        let mut next = chain.first();
        // SAFETY: null, or an entry in the list, where it stays as long as the lock is held.
        while let Some(entry) = unsafe { next.load(Ordering::Acquire).as_ref() } {
            let is = wanted(self, entry);
            entry.marked.store(is, Ordering::Relaxed);
            any |= is;
            next = chain.after(entry);
        }
        any.then_some(Marked { chain, lock: PhantomData })
    }

    /// Puts an entry into the list: from now on faults in its mappings are caught.
    pub(crate) fn insert(&mut self, entry: &'static Entry) {
        descriptors::open(self.scratch());
        for chain in places(entry) {
            let head = chain.first();
            chain.after(entry).store(head.load(Ordering::Relaxed), Ordering::Relaxed);
            // Release: the entry is whole before it can be found.
            head.store(std::ptr::from_ref(entry).cast_mut(), Ordering::Release);
        }
        NAMED.fetch_add(u32::from(entry.shown.is_some()), Ordering::Relaxed);
        COUNT.fetch_add(1, Ordering::Release);
        MAPS.add();
    }

    /// Whether another adopted range of the file has any of these addresses.
    pub(crate) fn has_range(&mut self, range: &Range, file: (u64, u64)) -> bool {
        let meets = |_: &mut Self, entry: &Entry| {
            entry.range.is_some_and(|other| {
                entry.file == file
                    && other.address < range.address + range.length
                    && range.address < other.address + other.length
            })
        };
        self.mark(meets, Chain::of_file(file)).is_some()
    }

    /// Takes it out again: no handler knows of it any more.
    #[allow(clippy::unused_self, reason = "it needs the lock")]
    pub(crate) fn remove(&mut self, entry: &'static Entry) {
        for chain in places(entry) {
            let mut link = chain.first();
            // SAFETY: null, or an entry in the list, where it stays as long as the lock is held.
            while let Some(found) = unsafe { link.load(Ordering::Acquire).as_ref() } {
                let after = chain.after(found);
                if std::ptr::eq(found, entry) {
                    link.store(after.load(Ordering::Relaxed), Ordering::Release);
                    break;
                }
                link = after;
            }
        }
        NAMED.fetch_sub(u32::from(entry.shown.is_some()), Ordering::Relaxed);
        MAPS.subtract();
        if COUNT.fetch_sub(1, Ordering::AcqRel) == 1 {
            descriptors::close();
        }
    }
}

/// The buckets that an entry belongs into.
fn places(entry: &Entry) -> impl Iterator<Item = Chain> {
    let path = entry.shown.as_deref().map(|path| Chain::of_path(path.to_bytes()));
    [Some(Chain::of_file(entry.file)), path].into_iter().flatten()
}

fn bucket_of(file: (u64, u64)) -> usize {
    (file.1 ^ file.0).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(20) as usize
}

/// FNV-1a.
fn hash(path: &[u8]) -> usize {
    path.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    }) as usize
}

/// Waits for the lock, at most some hundredths of a second. Signal-safe; all signals must be
/// blocked.
pub(crate) fn hold(me: u32) -> Option<LockedList<'static>> {
    lock()?.wait(me).map(|lock| LockedList { _lock: lock })
}

#[cfg(not(sigward_loom))]
fn lock() -> Option<&'static Lock> {
    wiped::existing().map(|words| Lock::of(&words.adopted))
}

/// The models have locks of their own.
#[cfg(sigward_loom)]
fn lock() -> Option<&'static Lock> {
    None
}

/// Runs `work` under the lock, with all signals blocked. None if the lock cannot be had: no memory,
/// or whoever has it has not given it back for seconds (its file system does not answer). Not for
/// handlers.
pub(crate) fn with_lock<T>(work: impl FnOnce(&mut LockedList<'static>) -> T) -> Option<T> {
    const PATIENCE: Duration = Duration::from_secs(5);
    wiped::words()?;
    let since = Instant::now();
    let me = thread_id();
    loop {
        let signals = Mask::block_all();
        if let Some(mut held) = hold(me) {
            let done = work(&mut held);
            drop(held);
            signals.restore();
            return Some(done);
        }
        signals.restore();
        if since.elapsed() > PATIENCE {
            return None;
        }
    }
}

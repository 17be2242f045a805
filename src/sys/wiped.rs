//! Memory that a forked child finds at zero: the one answer to "am I a forked child?".
//!
//! Locks, marks and the remembered process id belong to the process that wrote them. They lie in
//! pages that the kernel clears in a child (`MADV_WIPEONFORK`, madvise(2)), so no child waits for a
//! thread that only its parent has, or takes its parent's process id for its own. Nothing has to be
//! done at the fork itself, and no process ids are compared: across pid namespaces two processes
//! can have the same one.
//!
//! A child that *shares* memory (vfork(2), `CLONE_VM`) shares these pages as well: its words are
//! its parent's, as all of its memory is. A lock that such a child holds when it is killed goes to
//! who waits for it.
//!
//! Before Linux 4.14, and on systems without the advice, it is ordinary memory: there a child
//! forked in the middle of a change of another thread may wait for it.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};

/// One thread's unfinished visits to one handler of ours: `chain/handler/nesting.rs`.
pub(crate) struct Visits {
    /// 0, or the thread and the handler. Changed by compare-and-exchange, then only by that thread.
    pub(crate) key: AtomicU64,
    /// The frame of the newest visit.
    pub(crate) newest: AtomicUsize,
    pub(crate) count: AtomicU32,
}

/// How many visits can be followed at once.
const VISITS: usize = 64;

/// The words that the whole library shares. All zero when the page is new, and in a forked child.
#[repr(C)]
pub(crate) struct Words {
    /// The process id, once somebody has asked: see [`is_own_process`].
    process: AtomicI32,
    /// The holder of the chain's lock, by its thread id.
    pub(crate) seats: AtomicU32,
    /// The registry's lock: its holder's thread id (`sigbus/registry/lock.rs`).
    pub(crate) registry: AtomicU32,
    /// Unfinished visits of handlers.
    pub(crate) visits: [Visits; VISITS],
    /// The lock of what is adopted, and the kept descriptor of /proc/self/maps, one more than its
    /// number.
    pub(crate) adopted: AtomicU32,
    pub(crate) maps: AtomicU32,
    /// Which of its ancestors and descendants this process is ([`generation`]).
    pub(crate) generation: AtomicU32,
    /// Whose turn it is to write last words (`observe/last_words/in_handler.rs`).
    pub(crate) farewell: AtomicU32,
    /// Which of the handlers' own stacks are in use (`chain/handler/own_stack.rs`).
    pub(crate) stacks: [AtomicU32; STACKS],
    /// The locks of flushes of files that several maps share (`mapping/failures.rs`).
    pub(crate) flushes: [Flushes; FLUSHES],
}

/// The lock of one file's flushes.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Flushes {
    /// Which file's, as a number that is not 0. It stays.
    pub(crate) file: AtomicU64,
    pub(crate) lock: AtomicU32,
}

/// How many stacks of their own the handlers have.
pub(crate) const STACKS: usize = 8;

/// How many files have a lock of flushes of their own.
pub(crate) const FLUSHES: usize = 64;

/// Null until somebody needs the page; then it stays for ever.
pub(crate) static WORDS: AtomicPtr<Words> = AtomicPtr::new(std::ptr::null_mut());

/// The kernel does wipe: what is remembered in the words is never a parent's.
static WIPES: AtomicBool = AtomicBool::new(false);

/// The shared words, if somebody has made them. Signal-safe.
pub(crate) fn existing() -> Option<&'static Words> {
    // SAFETY: null, or the page below, which is never unmapped. Acquire pairs with the exchange in
    // `words`.
    unsafe { WORDS.load(Ordering::Acquire).as_ref() }
}

/// The shared words, made when they are first needed; none if the kernel has no memory. Not for
/// handlers.
#[cold]
pub(crate) fn words() -> Option<&'static Words> {
    if let Some(words) = existing() {
        return Some(words);
    }
    let made = array::<Words>(1);
    let lost = !made.is_null()
        && WORDS
            .compare_exchange(std::ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire)
            .is_err();
    if lost {
        // SAFETY: ours alone: nobody has seen it.
        unsafe { libc::munmap(made.cast(), size_of::<Words>()) };
    }
    existing()
}

/// Remembers the process id, so that [`is_own_process`] needs no system call. Not for handlers.
#[cold]
pub(crate) fn remember_process() {
    if let Some(words) = words().filter(|_| WIPES.load(Ordering::Relaxed)) {
        words.process.store(std::process::id() as libc::pid_t, Ordering::Relaxed);
    }
}

/// Whether somebody in this process has remembered its id, or one that shares its memory.
pub(crate) fn knows_process() -> bool {
    existing().is_some_and(|words| words.process.load(Ordering::Relaxed) != 0)
}

/// Whether `claimed` is the process id of the caller. Signal-safe; no system call if it is, and
/// [`remember_process`] was called in this very process.
pub(crate) fn is_own_process(claimed: libc::pid_t) -> bool {
    let known = existing().is_some_and(|words| words.process.load(Ordering::Relaxed) == claimed);
    // In a child, forked or sharing our memory, the word is 0 or the parent's: then the kernel is
    // asked.
    claimed != 0 && (known || std::process::id() as libc::pid_t == claimed)
}

/// Whether the caller is a child that shares the memory of the process that has remembered its id
/// (vfork(2), `CLONE_VM`): what it marks there, that process finds. The kernel's rows are its own,
/// but for `CLONE_SIGHAND`. Signal-safe; a system call.
#[cold]
pub(crate) fn is_guest() -> bool {
    let host = existing().map_or(0, |words| words.process.load(Ordering::Relaxed));
    host != 0 && host != std::process::id() as libc::pid_t
}

/// This process among its parents and children: never that of an ancestor, and never 0 unless there
/// is no memory that a fork wipes. Not for handlers.
pub(crate) fn generation() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let Some(known) = words().map(|words| &words.generation) else { return 0 };
    if known.load(Ordering::Relaxed) == 0 {
        let mine = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        // Another thread may have been first.
        let _ = known.compare_exchange(0, mine, Ordering::Relaxed, Ordering::Relaxed);
    }
    known.load(Ordering::Relaxed)
}

/// As [`generation`]; 0 if nobody in this process has asked that yet. Signal-safe.
pub(crate) fn known_generation() -> u32 {
    existing().map_or(0, |words| words.generation.load(Ordering::Relaxed))
}

/// Whether a forked child finds the words at zero indeed (Linux 4.14).
pub(crate) fn is_wiped() -> bool {
    WIPES.load(Ordering::Relaxed)
}

/// Room for `count` of `T` that fork wipes, zeroed, aligned to a page, for ever; null if the kernel
/// has none.
#[cold]
pub(crate) fn array<T>(count: usize) -> *mut T {
    const { assert!(align_of::<T>() <= super::pages::LEAST_PAGE) };
    let (access, kind) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let length = count * size_of::<T>();
    // SAFETY: a new mapping of our own.
    let area = unsafe { libc::mmap(std::ptr::null_mut(), length, access, kind, -1, 0) };
    if area == libc::MAP_FAILED {
        return std::ptr::null_mut();
    }
    WIPES.store(wipe_on_fork(area, length) == 0, Ordering::Relaxed);
    area.cast()
}

#[cfg(target_os = "linux")]
fn wipe_on_fork(area: *mut c_void, length: usize) -> c_int {
    // SAFETY: the mapping just made.
    unsafe { libc::madvise(area, length, libc::MADV_WIPEONFORK) }
}

#[cfg(not(target_os = "linux"))]
fn wipe_on_fork(_area: *mut c_void, _length: usize) -> c_int {
    -1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_own_id() {
        let own = std::process::id() as libc::pid_t;
        assert!(is_own_process(own) && !is_own_process(own + 1) && !is_own_process(0));
        remember_process();
        assert!(is_own_process(own) && !is_own_process(own + 1) && !is_own_process(0));
    }
}

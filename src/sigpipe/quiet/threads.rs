//! Which threads are quiet: a table without locks, by the address that the C library knows a thread
//! by.
//!
//! That address is at hand without a system call, but another thread can have it later. So an entry
//! goes when its thread ends, and says in which process it was made. After a fork the only thread
//! that has come along is the child's main thread: for it entries of another process hold, for new
//! threads at old addresses they do not.

use crate::error::Error;
use crate::observe::without_events;
use crate::sys::wiped::{generation, known_generation};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// Entries of one chunk: a page of them.
const ENTRIES: usize = 255;
/// How many places of a chunk one thread can have.
const PLACES: usize = 8;

struct Entry {
    /// 0 while free, else the thread and how often it has entered. Only that thread, and its
    /// handlers, write it then.
    owner: AtomicU64,
    /// The process that it was made in.
    process: AtomicU32,
}

struct Chunk {
    entries: [Entry; ENTRIES],
    next: AtomicPtr<Chunk>,
}

static FIRST: Chunk = Chunk {
    entries: [const { Entry { owner: AtomicU64::new(0), process: AtomicU32::new(0) } }; ENTRIES],
    next: AtomicPtr::new(std::ptr::null_mut()),
};

/// Some thread has entered: until then no delivery looks any further.
static USED: AtomicBool = AtomicBool::new(false);

/// The lowest bits of an owner count.
const DEPTH: u64 = (1 << 11) - 1;

/// This thread as an owner of depth 0. Addresses have at most 57 bits, of which the lowest three
/// are 0.
fn this_thread() -> u64 {
    // SAFETY: no arguments; it reads the thread's own pointer.
    ((unsafe { libc::pthread_self() }) as u64) << 8 & !DEPTH
}

/// The places where this thread's entry can be, chunk by chunk. Signal-safe.
fn places(owner: u64) -> impl Iterator<Item = &'static Entry> {
    let start = (owner.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize;
    std::iter::successors(Some(&FIRST), |chunk| next(chunk)).flat_map(move |chunk| {
        (0..PLACES).filter_map(move |step| chunk.entries.get((start + step) % ENTRIES))
    })
}

fn next(chunk: &Chunk) -> Option<&'static Chunk> {
    // SAFETY: null, or a chunk that stays for ever. Acquire pairs with the exchange in `grow`.
    unsafe { chunk.next.load(Ordering::Acquire).as_ref() }
}

/// This thread's entry, and whether it is this thread's indeed. Signal-safe.
fn mine(owner: u64, process: u32) -> Option<(&'static Entry, bool)> {
    let entry =
        places(owner).find(|entry| entry.owner.load(Ordering::Relaxed) & !DEPTH == owner)?;
    let here = entry.process.load(Ordering::Relaxed) == process;
    Some((entry, here || without_events::is_on() || is_main_thread()))
}

/// Whether the calling thread is quiet. Signal-safe; a system call only after a fork.
pub(super) fn is_quiet() -> bool {
    if !USED.load(Ordering::Relaxed) {
        return false;
    }
    mine(this_thread(), known_generation()).is_some_and(|(_, valid)| valid)
}

/// Whether this is the first thread of its process: in a forked child, the one that forked.
#[cold]
fn is_main_thread() -> bool {
    #[cfg(target_os = "linux")]
    let thread = crate::sys::process::thread_id();
    #[cfg(not(target_os = "linux"))]
    let thread = std::process::id();
    thread == std::process::id()
}

pub(crate) fn enter() -> Result<(), Error> {
    let (owner, process) = (this_thread(), generation());
    USED.store(true, Ordering::Relaxed);
    if let Some((entry, valid)) = mine(owner, process) {
        entry.process.store(process, Ordering::Relaxed);
        if !valid {
            // Left by a thread of the process that forked us: this is another one.
            entry.owner.store(owner, Ordering::Relaxed);
        }
        if entry.owner.load(Ordering::Relaxed) & DEPTH == DEPTH {
            return Err(Error::System(libc::EOVERFLOW));
        }
        entry.owner.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    loop {
        let free = places(owner).find(|entry| {
            let free = entry.owner.load(Ordering::Relaxed) == 0;
            let taken =
                || entry.owner.compare_exchange(0, owner | 1, Ordering::Relaxed, Ordering::Relaxed);
            free && taken().is_ok()
        });
        if let Some(entry) = free {
            entry.process.store(process, Ordering::Relaxed);
            end::watch(entry);
            return Ok(());
        }
        grow()?;
    }
}

pub(crate) fn leave() -> Result<(), Error> {
    let owner = this_thread();
    let (entry, valid) = mine(owner, known_generation()).ok_or(Error::InvalidArgument)?;
    if !valid {
        return Err(Error::InvalidArgument);
    }
    if entry.owner.compare_exchange(owner | 1, 0, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        entry.owner.fetch_sub(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Adds a chunk at the end.
#[cold]
fn grow() -> Result<(), Error> {
    let mut last = &FIRST;
    while let Some(chunk) = next(last) {
        last = chunk;
    }
    let (access, kind) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping of our own, zeroed: a chunk of free entries.
    let made = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Chunk>(), access, kind, -1, 0) };
    if made == libc::MAP_FAILED {
        return Err(Error::System(libc::ENOMEM));
    }
    let before = std::ptr::null_mut();
    if last.next.compare_exchange(before, made.cast(), Ordering::AcqRel, Ordering::Acquire).is_err()
    {
        // SAFETY: ours alone: another thread has added one, and nobody has seen this.
        unsafe { libc::munmap(made, size_of::<Chunk>()) };
    }
    Ok(())
}

/// A thread that ends is not quiet any more: the next one may get its address.
mod end {
    use super::{AtomicU32, DEPTH, Entry, Ordering};
    use std::ffi::c_void;

    /// 0: not made yet, 1: cannot be had, else the key and 2.
    static KEY: AtomicU32 = AtomicU32::new(0);
    /// The C libraries keep the values of so many keys in the thread itself: setting one allocates
    /// nothing.
    const AT_HAND: u32 = 32;

    unsafe extern "C" fn ended(entry: *mut c_void) {
        // SAFETY: what `watch` set: an entry, which stays for ever.
        let Some(entry) = (unsafe { entry.cast::<Entry>().as_ref() }) else { return };
        if entry.owner.load(Ordering::Relaxed) & !DEPTH == super::this_thread() {
            entry.owner.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn watch(entry: &'static Entry) {
        let known = match KEY.load(Ordering::Acquire) {
            0 => make(),
            known => known,
        };
        if let Some(key) = known.checked_sub(2) {
            // SAFETY: a key of ours; the value is for `ended`.
            unsafe { libc::pthread_setspecific(key as _, std::ptr::from_ref(entry).cast()) };
        }
    }

    #[cold]
    fn make() -> u32 {
        let mut key: libc::pthread_key_t = 0;
        // SAFETY: room for a key, and a function that takes its values.
        let failed = unsafe { libc::pthread_key_create(&raw mut key, Some(ended)) } != 0;
        let made = if failed || key as u32 >= AT_HAND { 1 } else { key as u32 + 2 };
        let known = KEY.compare_exchange(0, made, Ordering::AcqRel, Ordering::Acquire);
        if !failed && (made == 1 || known.is_err()) {
            // SAFETY: made above, and nobody uses it.
            unsafe { libc::pthread_key_delete(key) };
        }
        known.map_or_else(|other| other, |_| made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_quiet_as_often_as_it_entered_and_others_are_not() {
        assert!(!is_quiet());
        assert!(matches!(leave(), Err(Error::InvalidArgument)));
        enter().unwrap();
        enter().unwrap();
        std::thread::spawn(|| assert!(!is_quiet())).join().unwrap();
        leave().unwrap();
        assert!(is_quiet());
        leave().unwrap();
        assert!(!is_quiet());
        for _ in 0..DEPTH {
            enter().unwrap();
        }
        assert!(matches!(enter(), Err(Error::System(libc::EOVERFLOW))));
        for _ in 0..DEPTH {
            leave().unwrap();
        }
        assert!(!is_quiet());
    }

    /// More threads at a time than one chunk holds, and each ends quiet: the next one at its
    /// address is not.
    #[test]
    fn any_number_of_threads_and_each_until_it_ends() {
        for _ in 0..2 {
            let all = std::sync::Barrier::new(400);
            std::thread::scope(|scope| {
                for _ in 0..400 {
                    scope.spawn(|| {
                        assert!(!is_quiet());
                        enter().unwrap();
                        all.wait();
                        assert!(is_quiet());
                    });
                }
            });
        }
    }
}

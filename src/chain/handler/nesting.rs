//! Ends circles that go through raise(3): a predecessor that answers a signal by putting another handler
//! back and raising the signal again (CPython's faulthandler does) may come to us again, in a new delivery
//! on top of the unfinished one, with a siginfo that carries no marks.
//!
//! For signals of that kind (`SI_TKILL` from our own process), and for those that a handler above passed on without a
//! siginfo, where marks have no place, each thread's unfinished visits are
//! kept as the addresses of their frames. A frame that is not above the present one on the stack was left
//! by longjmp and is forgotten. More than [`DEPTH`] unfinished ones are a circle.

use super::Delivery;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A circle is cut at this many unfinished visits. Each costs some 4 KiB of a signal stack.
const DEPTH: usize = 4;
/// Threads that can be followed at once; more are not followed.
const THREADS: usize = 64;

struct Thread {
    /// 0 while free, else process id, thread id and entry. Changed by compare-and-exchange, then only by
    /// that thread.
    key: AtomicU64,
    frames: [AtomicUsize; DEPTH],
}

static FOLLOWED: [Thread; THREADS] =
    [const { Thread { key: AtomicU64::new(0), frames: [const { AtomicUsize::new(0) }; DEPTH] } }; THREADS];

/// An unfinished visit; finished when dropped.
pub(super) struct Level(Option<&'static AtomicUsize>, Option<&'static AtomicU64>);

impl Drop for Level {
    fn drop(&mut self) {
        if let Some(frame) = self.0 {
            frame.store(0, Ordering::Relaxed);
        }
        if let Some(key) = self.1 {
            key.store(0, Ordering::Release);
        }
    }
}

/// Notes that this thread goes on to the predecessor of entry `index`. None: it is a circle.
pub(super) fn enter(delivery: &Delivery<'_>, index: usize) -> Option<Level> {
    let process = std::process::id();
    // No code: no siginfo.
    let unmarked = delivery
        .code()
        .is_none_or(|code| code == SI_TKILL && delivery.sender() == Some(process as libc::pid_t));
    if !unmarked {
        return Some(Level(None, None));
    }
    let key = u64::from(process) << 36 | u64::from(thread_id() & 0x7FFF_FFFF) << 5 | index as u64 | 1 << 4;
    let Some(thread) = followed(key, process) else {
        return Some(Level(None, None));
    };
    let here = std::ptr::from_ref(&key) as usize;
    // Unfinished visits lie above us, outermost first; the rest is free or was left by longjmp.
    let unfinished = thread.frames.iter().take_while(|frame| frame.load(Ordering::Relaxed) > here).count();
    let mut places = thread.frames.iter().skip(unfinished);
    let mine = places.next()?;
    places.for_each(|left| left.store(0, Ordering::Relaxed));
    mine.store(here, Ordering::Relaxed);
    Some(Level(Some(mine), (unfinished == 0).then_some(&thread.key)))
}

/// This thread's row, found or taken. Rows of a process that forked us are free.
fn followed(key: u64, process: u32) -> Option<&'static Thread> {
    if let Some(mine) = FOLLOWED.iter().find(|thread| thread.key.load(Ordering::Acquire) == key) {
        return Some(mine);
    }
    FOLLOWED.iter().find(|thread| {
        let owner = thread.key.load(Ordering::Relaxed);
        let free = owner == 0 || owner >> 36 != u64::from(process);
        let taken =
            free && thread.key.compare_exchange(owner, key, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if taken {
            thread.frames.iter().for_each(|frame| frame.store(0, Ordering::Relaxed));
        }
        taken
    })
}

#[cfg(target_os = "linux")]
use libc::SI_TKILL;
#[cfg(not(target_os = "linux"))]
const SI_TKILL: std::ffi::c_int = 0x1_0001;

#[cfg(target_os = "linux")]
fn thread_id() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::syscall(libc::SYS_gettid) as u32 }
}

#[cfg(not(target_os = "linux"))]
fn thread_id() -> u32 {
    // SAFETY: no arguments, cannot fail.
    (unsafe { libc::pthread_self() } as usize >> 4) as u32
}

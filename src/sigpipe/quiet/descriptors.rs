//! Which descriptors are quiet: by number, with what the number stood for when it was declared.
//!
//! A number that was closed is another file's later. The kernel gives a pipe or socket an inode
//! that no other one has while it lasts, so a number that stands for something else by now is not
//! quiet.

use crate::error::Error;
use crate::observe::in_handler::status;
use crate::observe::without_events;
use std::ffi::c_int;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Numbers of one chunk.
const NUMBERS: usize = 1024;
/// Numbers below 1,048,576, the kernel's own limit unless somebody has raised it (`fs.nr_open`).
const CHUNKS: usize = 1024;

type Chunk = [AtomicU64; NUMBERS];

static CHUNK: [AtomicPtr<Chunk>; CHUNKS] = [const { AtomicPtr::new(std::ptr::null_mut()) }; CHUNKS];

fn place(fd: c_int) -> Option<(&'static AtomicPtr<Chunk>, usize)> {
    let fd = usize::try_from(fd).ok()?;
    Some((CHUNK.get(fd / NUMBERS)?, fd % NUMBERS))
}

/// What a descriptor stands for, never 0.
fn identity(status: &libc::stat) -> u64 {
    (status.st_ino ^ status.st_dev << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

/// Makes writes to this descriptor quiet. Signal-safe, except for the first of a thousand numbers.
pub(crate) fn declare(fd: c_int) -> Result<(), Error> {
    let status = status(fd).ok_or(Error::System(libc::EBADF))?;
    let (chunk, number) = place(fd).ok_or(Error::Unsupported)?;
    let known = chunk.load(Ordering::Acquire);
    let numbers = if known.is_null() { make(chunk)? } else { known };
    // SAFETY: a chunk, which stays for ever.
    if let Some(number) = unsafe { &*numbers }.get(number) {
        number.store(identity(&status), Ordering::Relaxed);
    }
    Ok(())
}

#[cold]
fn make(chunk: &AtomicPtr<Chunk>) -> Result<*mut Chunk, Error> {
    let (access, kind) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping of our own, zeroed.
    let made = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Chunk>(), access, kind, -1, 0) };
    if made == libc::MAP_FAILED {
        return Err(Error::System(libc::ENOMEM));
    }
    let before = std::ptr::null_mut();
    match chunk.compare_exchange(before, made.cast(), Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Ok(made.cast()),
        Err(other) => {
            // SAFETY: ours alone: another thread was first, and nobody has seen this.
            unsafe { libc::munmap(made, size_of::<Chunk>()) };
            Ok(other)
        }
    }
}

/// Whether this descriptor was declared quiet and is what it was then. Signal-safe; a system call
/// only if it was.
pub(super) fn is_quiet(fd: c_int) -> bool {
    let Some((chunk, number)) = place(fd) else { return false };
    // SAFETY: null, or a chunk that stays for ever. Acquire pairs with the exchange in `make`.
    let Some(numbers) = (unsafe { chunk.load(Ordering::Acquire).as_ref() }) else { return false };
    let known = numbers.get(number).map_or(0, |number| number.load(Ordering::Relaxed));
    known != 0 && (without_events::is_on() || stands_for(fd, known))
}

/// Not inlined: it is seldom asked, and what fstat(2) fills would lie on every delivery's stack.
#[cold]
#[inline(never)]
fn stands_for(fd: c_int, known: u64) -> bool {
    status(fd).is_some_and(|status| identity(&status) == known)
}

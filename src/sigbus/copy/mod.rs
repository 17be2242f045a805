//! The checked copy: as memcpy(3), but memory that is not there ends it early instead of ending the
//! process.
//!
//! For people who keep their own maps. Nothing has to be registered: what makes the difference is
//! where the instruction lies that faults. The copy is written in assembly, with a table of the
//! instructions that may fault; a SIGBUS of one of them ends in our handler, which lets the copy
//! finish what is good and return the count (`in_handler`).
//!
//! Without the seat for SIGBUS the kernel copies (`by_kernel`): the copy takes none by itself.
//!
//! A fault anywhere else goes to whoever had it before, and so does every SIGSEGV until
//! `try_copy_segv` was called: a JVM's null checks and a crash reporter's reports are theirs.

#[cfg(target_os = "linux")]
mod by_kernel;
pub(crate) mod in_handler;

// How the processor copies, and what its registers mean meanwhile.
#[cfg_attr(
    all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64"),
    path = "x86_64.rs"
)]
#[cfg_attr(
    all(target_os = "linux", target_arch = "aarch64", target_pointer_width = "64"),
    path = "aarch64.rs"
)]
#[cfg_attr(
    not(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64"),
        target_pointer_width = "64"
    )),
    path = "unsupported.rs"
)]
mod processor;
#[cfg(all(
    test,
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    target_pointer_width = "64"
))]
mod tests;

use crate::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) use in_handler::fixup;

/// The linker's name for a part of the copy: hidden, and this version's own.
#[allow(unused_macros, reason = "elsewhere nothing has to be named")]
macro_rules! name {
    ($part:literal) => {
        concat!("_sigward_", $part, "_", env!("CARGO_PKG_VERSION"))
    };
}
#[allow(unused_imports, reason = "as above")]
use name;

/// How this processor copies best while the seat for SIGBUS is taken, or [`TAKEN`]; else 0.
///
/// It is set after the kernel's table was written and is 0 before that is put back, by who holds
/// the lock of the table: also in a child that was forked in between no copy relies on a seat that
/// is not there. A copy loads it Relaxed: nothing else is read because of it, and the table holds
/// for all threads once it is written.
static WAY: AtomicUsize = AtomicUsize::new(0);

/// The seat is taken, and nobody has looked at the processor yet.
const TAKEN: usize = 2;

/// What was seen of the processor; 0 until somebody has looked. On a virtual machine that takes
/// microseconds: each `cpuid` is the host's to answer.
static SEEN: AtomicUsize = AtomicUsize::new(0);

/// How this processor copies best; more than [`TAKEN`], or 0 if it does not.
fn way() -> usize {
    match SEEN.load(Ordering::Relaxed) {
        0 => {
            let way = processor::way();
            SEEN.store(way, Ordering::Relaxed);
            way
        }
        seen => seen,
    }
}

/// Copies `len` bytes from `src` to `dst` and returns how many came over: all of them, or as many
/// as there are before the first byte that cannot be read or written. Bytes of `dst` after those
/// are as they were.
///
/// What counts as "cannot" is SIGBUS: a page of a mapped file that was truncated away, that has no
/// space on the disk, or that the hardware lost. After [`crate::mapping::try_copy_segv`] it is
/// SIGSEGV as well. 0 if a pointer is null, `len` is 0 or above `isize::MAX`.
///
/// Nothing of the process is changed by it. Where the seat for SIGBUS was taken ([`crate::init`],
/// [`crate::mapping::guard`], any map) it costs what memcpy(3) costs. Without the seat the kernel
/// copies (process_vm_readv(2)): a system call for each copy.
///
/// Signal-safe, thread-safe, works in a forked child. With the seat, in a thread that has SIGBUS
/// blocked, as a handler for SIGBUS has, the kernel ends the process at a fault
/// ([`crate::mapping::thread_check`] tells), and so it does where another thread leaves the seat
/// ([`crate::mapping::restore`]) in the middle of a copy.
///
/// # Errors
/// [`Error::Unsupported`] on other systems than Linux and other processors than x86-64 and aarch64;
/// without the seat, [`Error::System`] where process_vm_readv(2) is refused (seccomp): take the
/// seat. Then nothing was copied, or what came over before.
///
/// # Safety
/// Whatever can be read at `src` for `len` bytes may be read, and whatever can be written at `dst`
/// may be written; the two do not overlap. Other threads may change the bytes of `src` meanwhile:
/// each byte that came over is then an old or a new one.
///
/// ```
/// let file = [7_u8; 100]; // a mapped file that somebody may truncate
/// let mut bytes = [0_u8; 100];
/// // SAFETY: both are there, and they do not overlap.
/// let (to, from) = (bytes.as_mut_ptr(), file.as_ptr());
/// let count = unsafe { sigward::mapping::try_copy(to, from, file.len())? };
/// assert_eq!(bytes[..count], file);
/// # Ok::<(), sigward::Error>(())
/// ```
///
/// # References
/// memcpy(3), mmap(2): SIGBUS; sigaction(2): SA_SIGINFO.
#[inline]
#[doc(alias = "memcpy")]
#[doc(alias = "process_vm_readv")]
#[doc(alias = "sigward_try_copy")]
pub unsafe fn try_copy(dst: *mut u8, src: *const u8, len: usize) -> Result<usize, Error> {
    // SAFETY: by this function's contract.
    match unsafe { usual(dst, src, len) } {
        Some(count) => Ok(count),
        // SAFETY: as above.
        None => unsafe { unusual(dst, src, len) },
    }
}

/// The copy with the seat, of something from somewhere to somewhere. Nothing else is in it: the
/// compiler keeps no room on the stack for it.
///
/// # Safety
/// As [`try_copy`].
#[inline]
pub(crate) unsafe fn usual(dst: *mut u8, src: *const u8, len: usize) -> Option<usize> {
    let way = WAY.load(Ordering::Relaxed);
    if way <= TAKEN {
        return None;
    }
    // One by one: a condition of all three would be computed first, for a third of a small copy.
    if dst.is_null() {
        return None;
    }
    if src.is_null() {
        return None;
    }
    if len.wrapping_sub(1) >= isize::MAX as usize {
        return None;
    }
    // SAFETY: by this function's contract; `len` is not 0, and the seat is taken.
    Some(unsafe { processor::copy(dst, src, len, way) })
}

/// The first copy with the seat, every one without it, and the copy of nothing.
///
/// # Safety
/// As [`try_copy`].
#[cold]
#[inline(never)]
pub(crate) unsafe fn unusual(dst: *mut u8, src: *const u8, len: usize) -> Result<usize, Error> {
    if dst.is_null() || src.is_null() || len.wrapping_sub(1) >= isize::MAX as usize {
        return Ok(0);
    }
    let taken = WAY.load(Ordering::Relaxed) != 0;
    let way = way();
    if way == 0 {
        return Err(Error::Unsupported);
    }
    // SAFETY: by the caller's contract.
    let copy = |dst, src, len| unsafe { processor::copy(dst, src, len, way) };
    if taken {
        // It may have been left since.
        let _ = WAY.compare_exchange(TAKEN, way, Ordering::SeqCst, Ordering::Relaxed);
        return Ok(copy(dst, src, len));
    }
    #[cfg(target_os = "linux")]
    {
        // SAFETY: by this function's contract.
        unsafe { by_kernel::copy(dst, src, len, copy) }
    }
    #[cfg(not(target_os = "linux"))]
    Err(Error::Unsupported)
}

/// From how many bytes on `rep movsb` is the quickest.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) fn repeats_from() -> usize {
    processor::string_from()
}

/// The seat for SIGBUS is taken, or is about to be left.
pub(crate) fn rely_on_seat(taken: bool) {
    // Written before anything of its page is read: that would be two page faults.
    WAY.store(if taken { TAKEN } else { 0 }, Ordering::SeqCst);
    let seen = SEEN.load(Ordering::Relaxed);
    if taken && seen != 0 {
        WAY.store(seen, Ordering::SeqCst);
    }
}

/// Whether there is a checked copy.
pub(super) fn is_there() -> bool {
    processor::way() != 0
}

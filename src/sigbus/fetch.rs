//! Bytes out of a map, as quick as out of any memory: the check that follows must not wait for the
//! copy's own bookkeeping.
//!
//! A call of memcpy(3) saves registers on the stack and takes them back afterwards. For a few bytes
//! that is as much as the copy, and after `rep movsb`, which memcpy uses for kilobytes, the loads
//! from the stack wait for all of its stores. So both are done in place here, without a call. A
//! page that is lost meanwhile is replaced, and the copy goes on over zeros.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use std::sync::atomic::{AtomicUsize, Ordering};

/// From how many bytes on `rep movsb` is the quickest on this processor; never, until it was looked
/// at.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
static REPEATS_FROM: AtomicUsize = AtomicUsize::new(UNSEEN);
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
const UNSEEN: usize = usize::MAX - 1;

/// Looks at the processor, once. Not for handlers.
pub(crate) fn prepare() {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if REPEATS_FROM.load(Ordering::Relaxed) == UNSEEN {
        REPEATS_FROM.store(super::copy::repeats_from(), Ordering::Relaxed);
    }
}

/// Whether [`fetch_small`] is for this many bytes.
#[inline]
pub(crate) fn is_small(count: usize) -> bool {
    (1..=32).contains(&count)
}

/// Copies `count` bytes, few.
///
/// # Safety
/// [`is_small`], `count` bytes at `from` are mapped and `count` bytes at `to` may be written; they
/// do not overlap.
#[inline]
pub(crate) unsafe fn fetch_small(from: *const u8, to: *mut u8, count: usize) {
    match count {
        // SAFETY: at least 16 bytes, at most twice as many, on both sides.
        16..=32 => unsafe { both_ends::<u128>(from, to, count) },
        // SAFETY: at least 8 bytes, at most twice as many.
        8..=15 => unsafe { both_ends::<u64>(from, to, count) },
        // SAFETY: at least 4 bytes, at most twice as many.
        4..=7 => unsafe { both_ends::<u32>(from, to, count) },
        // SAFETY: at least 2 bytes, at most twice as many.
        2..=3 => unsafe { both_ends::<u16>(from, to, count) },
        // SAFETY: one byte.
        _ => unsafe { both_ends::<u8>(from, to, 1) },
    }
}

/// The first and the last `T` of a piece that is at most two of them; they may overlap.
///
/// # Safety
/// As [`fetch_small`], and `count` is from one `T` to two.
#[inline]
unsafe fn both_ends<T>(from: *const u8, to: *mut u8, count: usize) {
    let last = count - size_of::<T>();
    // SAFETY: within the piece; any bytes are a number.
    let head = unsafe { from.cast::<T>().read_unaligned() };
    // SAFETY: as above.
    let tail = unsafe { from.wrapping_add(last).cast::<T>().read_unaligned() };
    // SAFETY: within the piece.
    unsafe { to.cast::<T>().write_unaligned(head) };
    // SAFETY: as above.
    unsafe { to.wrapping_add(last).cast::<T>().write_unaligned(tail) };
}

/// Copies `count` bytes and gives what `then` says. Each way is a function of its own, so that one
/// without calls needs no stack.
///
/// # Safety
/// As [`fetch_small`], for any count.
#[inline]
pub(crate) unsafe fn fetch_many<T>(
    from: *const u8,
    to: *mut u8,
    count: usize,
    then: impl FnOnce() -> T,
) -> T {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if count >= REPEATS_FROM.load(Ordering::Relaxed) {
        // SAFETY: copies `count` bytes upwards: the direction flag is clear in all compiled code.
        unsafe {
            std::arch::asm!(
                "rep movsb",
                inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags),
            );
        }
        return then();
    }
    // SAFETY: by this function's contract.
    unsafe { fetch_by_call(from, to, count, then) }
}

/// # Safety
/// As [`fetch_many`].
#[inline(never)]
unsafe fn fetch_by_call<T>(
    from: *const u8,
    to: *mut u8,
    count: usize,
    then: impl FnOnce() -> T,
) -> T {
    // SAFETY: by this function's contract.
    unsafe { std::ptr::copy_nonoverlapping(from, to, count) };
    then()
}

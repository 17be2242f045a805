//! Reads of this process's own memory that may not be there: an object that another thread unloads
//! meanwhile, a word that only looks like an address. Everything here is signal-safe and takes no
//! lock.

use super::call::errno;
use super::pages::LEAST_PAGE as PAGE;
use std::ffi::{c_int, c_long};

/// Copies from `address` on into `room` as far as the memory can be read; how many bytes that are.
pub(crate) fn read(address: usize, room: &mut [u8]) -> usize {
    let first = (PAGE - address % PAGE).min(room.len());
    let Some(second) = address.checked_add(first).filter(|_| address >= PAGE) else { return 0 };
    // A piece is copied whole or not at all, so there is one for each page.
    let piece = |at: usize, length: usize| libc::iovec { iov_base: at as *mut _, iov_len: length };
    let mut from = [piece(address, first), piece(0, 0), piece(0, 0), piece(0, 0)];
    let (mut count, mut at, mut rest) = (1, second, room.len() - first);
    while let Some(place) = from.get_mut(count).filter(|_| rest > 0) {
        let length = rest.min(PAGE);
        *place = piece(at, length);
        (at, rest, count) = (at.wrapping_add(length), rest - length, count + 1);
    }
    let to = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    let from = from.get(..count).unwrap_or_default();
    // SAFETY: room for as many bytes as `from` names at most.
    let copied = unsafe { read_own_memory(&to, from) };
    usize::try_from(copied)
        .unwrap_or_else(|_| if is_refused() { read_by_hand(from, room) } else { 0 })
}

/// Fills both rooms, in one call of the kernel's where both can be read; whether that is so of
/// each. The second must lie in one page.
pub(crate) fn read_two(addresses: [usize; 2], first: &mut [u8], second: &mut [u8]) -> (bool, bool) {
    let piece = |at: usize, length: usize| libc::iovec { iov_base: at as *mut _, iov_len: length };
    let lengths = (first.len(), second.len());
    let to = [
        piece(first.as_mut_ptr() as usize, lengths.0),
        piece(second.as_mut_ptr() as usize, lengths.1),
    ];
    let from = [piece(addresses[0], lengths.0), piece(addresses[1], lengths.1)];
    // SAFETY: room for both.
    if unsafe { copy(&to, &from) } == (lengths.0 + lengths.1) as c_long {
        return (true, true);
    }
    (read(addresses[0], first) == lengths.0, read(addresses[1], second) == lengths.1)
}

/// The number at `address`, if it can be read.
pub(crate) fn word(address: usize) -> Option<usize> {
    let mut bytes = [0; size_of::<usize>()];
    (read(address, &mut bytes) == bytes.len()).then(|| usize::from_ne_bytes(bytes))
}

/// process_vm_readv(2) of this process: copies what is there, and nothing faults. Bytes, or -1.
///
/// All arguments are as wide as a register: syscall(2) passes the last one on the stack, where the
/// upper half of a narrower one would be whatever lay there.
///
/// # Safety
/// Room for as many bytes at `to`; what `from` names is only looked at.
pub(crate) unsafe fn read_own_memory(to: &libc::iovec, from: &[libc::iovec]) -> c_long {
    // SAFETY: by this function's contract.
    unsafe { copy(std::slice::from_ref(to), from) }
}

/// # Safety
/// As [`read_own_memory`].
unsafe fn copy(to: &[libc::iovec], from: &[libc::iovec]) -> c_long {
    let (process, flags) = (std::process::id() as usize, 0_usize);
    let (rooms, count) = (to.len(), from.len());
    let (to, from) = (to.as_ptr(), from.as_ptr());
    // SAFETY: by this function's contract.
    unsafe { libc::syscall(libc::SYS_process_vm_readv, process, to, rooms, from, count, flags) }
}

/// A sandbox or an emulator has no such call.
fn is_refused() -> bool {
    matches!(errno(), libc::EPERM | libc::ENOSYS | libc::EACCES)
}

/// There each page is asked for, and then read: only an object that is unloaded in between could
/// fault.
#[cold]
fn read_by_hand(from: &[libc::iovec], room: &mut [u8]) -> usize {
    let mut copied = 0;
    for piece in from {
        let Some(room) = room.get_mut(copied..copied + piece.iov_len) else { return copied };
        if !is_there(piece.iov_base as usize & !7) {
            return copied;
        }
        // SAFETY: within one page, of which a word can be read.
        unsafe {
            std::ptr::copy_nonoverlapping(
                piece.iov_base.cast::<u8>(),
                room.as_mut_ptr(),
                room.len(),
            );
        }
        copied += piece.iov_len;
    }
    copied
}

/// Whether eight bytes can be read: rt_sigprocmask(2) copies the set before it refuses an unknown
/// `how`, and no sandbox forbids that call.
pub(crate) fn is_there(address: usize) -> bool {
    const NO_SUCH_HOW: c_int = -1;
    let (set, none) = (address as *const u64, std::ptr::null_mut::<u64>());
    // SAFETY: the kernel reads the set itself, and changes nothing for such a `how`.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, NO_SUCH_HOW, set, none, size_of::<u64>()) };
    errno() != libc::EFAULT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> usize {
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping.
        let area =
            unsafe { libc::mmap(std::ptr::null_mut(), 3 * PAGE, access, kind, -1, 0) } as usize;
        // SAFETY: the last page of it.
        unsafe { libc::munmap((area + 2 * PAGE) as *mut _, PAGE) };
        // SAFETY: the first two pages of it.
        unsafe { std::ptr::write_bytes(area as *mut u8, 7, 2 * PAGE) };
        area
    }

    #[test]
    fn what_is_there_is_read_and_nothing_else() {
        let area = pages();
        let mut room = [0; 2 * PAGE];
        assert_eq!(read(area + 100, &mut room[..200]), 200);
        assert_eq!(room[199..201], [7, 0]);
        assert_eq!(read(area, &mut room), 2 * PAGE);
        assert_eq!(read(area + PAGE + 100, &mut room), PAGE - 100);
        assert_eq!(read(area + 2 * PAGE - 1, &mut room[..8]), 1);
        assert_eq!(read(area + 2 * PAGE, &mut room), 0);
        assert_eq!(read(8, &mut room), 0);
        assert_eq!(read(usize::MAX - 3, &mut room[..8]), 0);
        assert_eq!(word(area), Some(usize::from_ne_bytes([7; 8])));
        assert_eq!(word(area + 2 * PAGE - 4), None);
        let (mut one, mut two) = ([0; 8], [0; 16]);
        assert_eq!(read_two([area, area + PAGE], &mut one, &mut two), (true, true));
        assert_eq!((one, two), ([7; 8], [7; 16]));
        assert_eq!(read_two([area + 2 * PAGE, area], &mut one, &mut two), (false, true));
        assert_eq!(read_two([area, area + 2 * PAGE], &mut one, &mut two), (true, false));
    }

    #[test]
    fn without_the_kernel_s_copy_each_page_is_asked_for() {
        let area = pages();
        let piece =
            |at: usize, length: usize| libc::iovec { iov_base: at as *mut _, iov_len: length };
        let mut room = [0; 2 * PAGE];
        let from = [piece(area + 2 * PAGE - 16, 16), piece(area + 2 * PAGE, 16)];
        assert_eq!(read_by_hand(&from, &mut room[..32]), 16);
        assert_eq!((room[15], room[16]), (7, 0));
    }
}

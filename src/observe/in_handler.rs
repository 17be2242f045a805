//! What handlers ask the kernel to describe a delivery: signal-safe calls only, no allocation.

use super::event::Event;
use crate::sys::pages::LEAST_PAGE;
use std::ffi::c_int;
use std::mem::MaybeUninit;

/// What fstat(2) says of a descriptor.
pub(crate) fn status(fd: c_int) -> Option<libc::stat> {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    let room = status.as_mut_ptr();
    // glibc's fstat goes by way of newfstatat with an empty path; the system call of that name is
    // quicker, and 64-bit Linux fills the C library's struct.
    // SAFETY: room for one struct; fstat(2) is signal-safe.
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    let failed = unsafe { libc::syscall(libc::SYS_fstat, fd, room) } != 0;
    // SAFETY: as above.
    #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
    let failed = unsafe { libc::fstat(fd, room) } != 0;
    // SAFETY: the call returned 0, so it filled the struct.
    (!failed).then(|| unsafe { status.assume_init() })
}

/// What /proc/self/fd says that a descriptor is, as much of it as there is room for; how many bytes
/// that is. Signal-safe.
#[cold]
#[inline(never)]
pub(crate) fn link_of(fd: c_int, room: &mut [u8]) -> usize {
    let path = path_of(fd);
    // SAFETY: a NUL-terminated path and room for as many bytes; readlink(2) is signal-safe.
    let length =
        unsafe { libc::readlink(path.as_ptr().cast(), room.as_mut_ptr().cast(), room.len()) };
    usize::try_from(length).unwrap_or(0)
}

/// The name that proc(5) has for whatever a descriptor is open on, up to the first NUL.
/// Signal-safe.
pub(crate) fn path_of(fd: c_int) -> [u8; 25] {
    const START: usize = b"/proc/self/fd/".len();
    let mut path = *b"/proc/self/fd/0000000000\0";
    let mut rest = fd.unsigned_abs();
    for place in path.iter_mut().skip(START).take(10).rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    // Leading zeros are no part of a name there.
    let zeros = path.iter().skip(START).take(9).take_while(|digit| **digit == b'0').count();
    path.copy_within(START + zeros.., START);
    path
}

/// poll(2) that waits for so many milliseconds, less than a second: how many of them have news. A
/// bare system call: the C library's function is a cancellation point. Signal-safe.
#[cfg(target_os = "linux")]
pub(crate) fn poll(them: &mut [libc::pollfd], milliseconds: u16) -> c_int {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    time.tv_nsec = libc::c_long::from(milliseconds) * 1_000_000;
    let (first, mask) = (them.as_mut_ptr(), std::ptr::null::<u64>());
    // SAFETY: as many as there are, a time, and no mask.
    let ready =
        unsafe { libc::syscall(libc::SYS_ppoll, first, them.len(), &raw mut time, mask, 8_usize) };
    ready as c_int
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn poll(them: &mut [libc::pollfd], milliseconds: u16) -> c_int {
    // SAFETY: as many as there are.
    unsafe { libc::poll(them.as_mut_ptr(), them.len() as libc::nfds_t, milliseconds.into()) }
}

/// Reads the beginning of a small file with a NUL-terminated path, as much as there is room for.
/// Signal-safe.
#[cfg(target_os = "linux")]
pub(crate) fn copy_file(path: &[u8], room: &mut [u8]) -> usize {
    if path.last() != Some(&0) {
        return 0;
    }
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: a C string. Bare system calls, here and below: those of the C library are
    // cancellation points.
    let fd = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags) };
    if fd < 0 {
        return 0;
    }
    // SAFETY: room for as many bytes.
    let length = unsafe { libc::syscall(libc::SYS_read, fd, room.as_mut_ptr(), room.len()) };
    // SAFETY: ours.
    unsafe { libc::syscall(libc::SYS_close, fd) };
    usize::try_from(length).unwrap_or(0)
}

/// Time and thread: this one, now.
pub(crate) fn describe_moment(event: &mut Event) {
    event.time_ns = now();
    describe_thread(event);
}

/// The top of the interrupted stack: among these words are the return addresses that tell which
/// library called.
pub(crate) fn stack_words(stack: usize) -> [u64; 16] {
    let mut words = [0; 16];
    if stack == 0 || !stack.is_multiple_of(8) {
        return words;
    }
    // What lies in the page of the stack pointer is mapped, beyond it need not be. A stack pointer
    // at the start of a page may be the end of a stack. A sanitizer, which fuzzing has, would take
    // other functions' variables for out of bounds.
    let in_page =
        !stack.is_multiple_of(LEAST_PAGE) && stack % LEAST_PAGE <= LEAST_PAGE - size_of_val(&words);
    if in_page && !cfg!(fuzzing) {
        // SAFETY: aligned, and in the page that the interrupted code has its stack in.
        return unsafe { (stack as *const [u64; 16]).read_volatile() };
    }
    let size = size_of_val(&words);
    // SAFETY: the bytes of these words, which any bytes may be.
    let bytes = unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), size) };
    copy_what_is_mapped(stack, bytes);
    words
}

/// Copies from `from` on as far as the memory is there; how many bytes that are. Nothing faults.
#[cfg(target_os = "linux")]
pub(crate) fn copy_what_is_mapped(from: usize, bytes: &mut [u8]) -> usize {
    crate::sys::memory::read(from, bytes)
}

/// Elsewhere nobody is asked.
#[cfg(not(target_os = "linux"))]
pub(crate) fn copy_what_is_mapped(_from: usize, _bytes: &mut [u8]) -> usize {
    0
}

fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: room for one struct; clock_gettime(2) is signal-safe.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

#[cfg(target_os = "linux")]
fn describe_thread(event: &mut Event) {
    // SAFETY: no arguments, cannot fail.
    event.tid = unsafe { libc::syscall(libc::SYS_gettid) } as i32;
    // SAFETY: PR_GET_NAME writes at most 16 bytes, NUL included, and `thread` has 16.
    unsafe { libc::prctl(libc::PR_GET_NAME, event.thread.as_mut_ptr()) };
}

#[cfg(not(target_os = "linux"))]
fn describe_thread(_event: &mut Event) {}

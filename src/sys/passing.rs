//! A file of the host's, opened once more for a moment.
//!
//! close(2) of any descriptor takes away all record locks (fcntl(2), F_SETLK) that the process has
//! on the file: SQLite's, for example, which would go on writing beside another process. So while
//! a file has such locks, whoever's they are, the descriptor stays open, and serves the next time.

use super::call::errno;
use std::ffi::{CStr, c_int};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

/// The first descriptors that stay open, all above 2.
static STAYING: [AtomicI32; 64] = [const { AtomicI32::new(0) }; 64];
/// How many stay open.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A descriptor for a moment.
pub(crate) struct Passing {
    pub(crate) fd: c_int,
    stays: bool,
}

impl Passing {
    /// Opens a regular file, by its path or by what proc(5) calls a descriptor. Signal-safe.
    #[cold]
    #[inline(never)]
    pub(crate) fn open(path: &CStr, access: c_int) -> Result<Self, c_int> {
        for place in STAYING.iter().take(COUNT.load(Ordering::Relaxed)) {
            let fd = place.load(Ordering::Relaxed);
            if is(fd, path, access) {
                return Ok(Self { fd, stays: true });
            }
        }
        let flags = access | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
        // SAFETY: a NUL-terminated path. A bare system call: no cancellation point.
        let fd = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags) };
        if fd < 0 { Err(errno()) } else { Ok(Self { fd: fd as c_int, stays: false }) }
    }
}

impl Drop for Passing {
    #[cold]
    #[inline(never)]
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        // Below are the standard ones of a program that was started without: printing must not go
        // to the file.
        if self.fd > libc::STDERR_FILENO && has_record_locks(self.fd) {
            // Where there are more such files than places, it stays all the same.
            let next = COUNT.fetch_add(1, Ordering::Relaxed);
            if let Some(place) = STAYING.get(next) {
                place.store(self.fd, Ordering::Relaxed);
            }
            return;
        }
        // SAFETY: ours. A bare system call: no cancellation point.
        unsafe { libc::syscall(libc::SYS_close, self.fd) };
    }
}

/// Whether the descriptor is open with these rights on the file that the path names now: somebody
/// may have closed it.
#[cold]
#[inline(never)]
fn is(fd: c_int, path: &CStr, access: c_int) -> bool {
    // SAFETY: numbers only.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if fd == 0 || flags < 0 || flags & libc::O_ACCMODE != access {
        return false;
    }
    // SAFETY: zeros are valid values of this struct.
    let [mut ours, mut theirs]: [libc::stat; 2] = unsafe { std::mem::zeroed() };
    // SAFETY: room for one struct.
    let found = unsafe { libc::fstat(fd, &raw mut ours) } == 0
        // SAFETY: a NUL-terminated path, and room for one struct.
        && unsafe { libc::stat(path.as_ptr(), &raw mut theirs) } == 0;
    found && (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)
}

fn has_record_locks(fd: c_int) -> bool {
    // SAFETY: zeros are a valid value: from the file's first byte to its last.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as _;
    // Whoever asks for a lock of a descriptor (F_OFD_SETLK) is told of this process's own as well.
    // SAFETY: a whole request.
    let asked = unsafe { libc::fcntl(fd, libc::F_OFD_GETLK, &raw mut lock) };
    asked == 0 && c_int::from(lock.l_type) != libc::F_UNLCK
}

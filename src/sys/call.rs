//! System calls that answer with a `Result`, and begin again after a signal.

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, OFlag, fcntl, openat};
use nix::sys::stat::{Mode, fstat, fstatat};
use std::ffi::{CStr, c_int};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A system call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed {
    /// Its name.
    pub(crate) call: &'static str,
    pub(crate) errno: c_int,
}

impl Failed {
    /// The call just made on this thread.
    pub(crate) fn last(call: &'static str) -> Self {
        Self { call, errno: errno() }
    }

    /// What the standard library says a call has failed with.
    pub(crate) fn of(call: &'static str, error: &std::io::Error) -> Self {
        Self { call, errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }
}

/// Why the system call just made on this thread has failed. Signal-safe.
pub(crate) fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// Calls until no signal has come in between. What is not -1 is the result.
pub(crate) fn again(mut call: impl FnMut() -> i64) -> Result<i64, c_int> {
    loop {
        let result = call();
        if result != -1 {
            return Ok(result);
        }
        match errno() {
            libc::EINTR => {}
            errno => return Err(errno),
        }
    }
}

/// As [`again`], for calls of `nix`. It knows some numbers only; what the others are (524 of
/// network file systems), the C library says.
pub(crate) fn retried<T>(mut call: impl FnMut() -> nix::Result<T>) -> Result<T, c_int> {
    loop {
        match call() {
            Ok(done) => return Ok(done),
            Err(Errno::EINTR) => {}
            Err(Errno::UnknownErrno) => return Err(errno()),
            Err(known) => return Err(known as c_int),
        }
    }
}

/// As [`again`], with the call's name in the error.
#[cfg(target_os = "linux")]
pub(crate) fn named(call: &'static str, work: impl FnMut() -> i64) -> Result<i64, Failed> {
    again(work).map_err(|errno| Failed { call, errno })
}

pub(crate) fn status(file: BorrowedFd<'_>) -> Result<libc::stat, Failed> {
    retried(|| fstat(file)).map_err(|errno| Failed { call: "fstat", errno })
}

/// What the name stands for, a symbolic link included.
pub(crate) fn status_in(folder: BorrowedFd<'_>, name: &CStr) -> Result<libc::stat, c_int> {
    status_at(folder, name, false)
}

/// What the name stands for, or what a symbolic link there leads to.
#[inline(never)]
pub(crate) fn status_at(
    folder: BorrowedFd<'_>,
    name: &CStr,
    follow: bool,
) -> Result<libc::stat, c_int> {
    let flags = if follow { AtFlags::empty() } else { AtFlags::AT_SYMLINK_NOFOLLOW };
    retried(|| fstatat(folder, name, flags))
}

/// Opens `name` in `folder`, or relative to the working directory.
#[inline(never)]
pub(crate) fn open_at(
    folder: Option<BorrowedFd<'_>>,
    name: &CStr,
    flags: c_int,
    mode: libc::c_uint,
) -> Result<OwnedFd, c_int> {
    let folder = folder.unwrap_or(AT_FDCWD);
    let flags = OFlag::from_bits_retain(flags | libc::O_CLOEXEC);
    let mode = Mode::from_bits_retain(mode as libc::mode_t);
    retried(|| openat(folder, name, flags, mode)).and_then(beyond_standard)
}

/// The same under a number that is not standard input's, output's or error's: where a program was
/// started without these, whoever prints would write into our file.
pub(crate) fn beyond_standard(made: OwnedFd) -> Result<OwnedFd, c_int> {
    if made.as_raw_fd() > libc::STDERR_FILENO {
        return Ok(made);
    }
    let copy = retried(|| fcntl(&made, FcntlArg::F_DUPFD_CLOEXEC(libc::STDERR_FILENO + 1)))?;
    // SAFETY: just made, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Waits until everything of a file's file system is on the disk.
#[cfg(target_os = "linux")]
pub(crate) fn sync_file_system_of(file: BorrowedFd<'_>) -> Result<(), c_int> {
    retried(|| nix::unistd::syncfs(file))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn sync_file_system_of(_file: BorrowedFd<'_>) -> Result<(), c_int> {
    Err(libc::EACCES)
}

/// The number of a file system's kind: 32 bits, whose sign differs between C libraries.
#[cfg(target_os = "linux")]
pub(crate) fn kind_of(system: &nix::sys::statfs::Statfs) -> u64 {
    system.filesystem_type().0 as u64 & 0xffff_ffff
}

/// The number of the kind of file system that a file lies on.
#[cfg(target_os = "linux")]
pub(crate) fn kind_of_file(file: BorrowedFd<'_>) -> Option<u64> {
    nix::sys::statfs::fstatfs(file).ok().map(|system| kind_of(&system))
}

/// Opens the file of a descriptor once more, with other flags.
#[cfg(target_os = "linux")]
pub(crate) fn open_again(file: BorrowedFd<'_>, flags: c_int) -> Result<OwnedFd, c_int> {
    open_at(None, &magic_path(file), flags | libc::O_NONBLOCK | libc::O_NOCTTY, 0)
}

/// The name that proc(5) has for whatever a descriptor is open on.
#[cfg(target_os = "linux")]
pub(crate) fn magic_path(file: BorrowedFd<'_>) -> std::ffi::CString {
    let text = format!("/proc/self/fd/{}", file.as_raw_fd());
    std::ffi::CString::new(text).unwrap_or_default() // a number has no NUL
}

/// The first part of `range` that may hold data; none if there is nothing but holes. Moves
/// the descriptor's position.
#[cfg(target_os = "linux")]
pub(crate) fn data_in(file: BorrowedFd<'_>, range: Range<u64>) -> Option<Range<u64>> {
    use nix::unistd::{Whence, lseek64};

    let seek = |from: u64, what| retried(|| lseek64(file, from as i64, what));
    let start = match seek(range.start, Whence::SeekData) {
        Ok(start) => start as u64,
        Err(libc::ENXIO) => return None, // a hole up to the end
        Err(_) => range.start,
    };
    let end = seek(start, Whence::SeekHole).map_or(range.end, |end| range.end.min(end as u64));
    (start < end).then_some(start..end)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn data_in(_file: BorrowedFd<'_>, range: Range<u64>) -> Option<Range<u64>> {
    (!range.is_empty()).then_some(range)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_nix_does_not_know_is_kept() {
        Errno::set_raw(524);
        assert_eq!(retried::<()>(|| Err(Errno::last())), Err(524));
        Errno::set_raw(0);
        assert_eq!(retried::<()>(|| Err(Errno::ENOSPC)), Err(libc::ENOSPC));
        let mut answers = [Err(Errno::EINTR), Ok(7)].into_iter();
        assert_eq!(retried(|| answers.next().expect("asked twice")), Ok(7));
    }
}

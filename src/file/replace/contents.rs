//! Contents: copied as cheaply as the file systems allow, or written by the caller.

use super::super::error::Error;
use super::super::steady;
use crate::sys::call::{self, open_at, retried, status};
use crate::sys::undisturbed::within_limit;
#[cfg(target_os = "linux")]
use nix::fcntl::copy_file_range;
use nix::sys::uio::{pread, pwrite};
use std::ffi::{CString, c_int};
use std::fs::File;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A regular file, for reading. A FIFO is not waited for.
pub(in crate::file) fn open(path: &Path) -> Result<File, Error> {
    let path = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::Invalid("the path has a NUL byte"))?;
    let flags = libc::O_RDONLY | libc::O_NOCTTY;
    let file = match open_at(None, &path, flags | libc::O_NONBLOCK, 0) {
        // Somebody has a lease to give up first.
        Err(libc::EWOULDBLOCK) => open_at(None, &path, flags, 0),
        other => other,
    };
    let file = file.map_err(|errno| match errno {
        libc::ENXIO => Error::NotAFile { errno: libc::ENODEV },
        errno => Error::system("open", errno),
    })?;
    match status(file.as_fd())?.st_mode & libc::S_IFMT {
        libc::S_IFREG => Ok(file.into()),
        libc::S_IFDIR => Err(Error::NotAFile { errno: libc::EISDIR }),
        _ => Err(Error::NotAFile { errno: libc::ENODEV }),
    }
}

/// Copies everything into an empty file; the source may not change meanwhile.
pub(super) fn copy(from: &File, to: &File) -> Result<(), Error> {
    let mut before = status(from.as_fd())?;
    if !clone(from.as_fd(), to.as_fd()) {
        before = steady::settled(from, false)?;
        let length = before.st_size as u64;
        let mut at = 0;
        while let Some(data) = call::data_in(from.as_fd(), at..length) {
            at = copy_part(from.as_fd(), to.as_fd(), data.start, data.end)?;
            if at < data.end {
                break;
            }
        }
        // Files of /proc have a length of 0 and contents all the same.
        let end = copy_by_hand(from.as_fd(), to.as_fd(), length, u64::MAX)?;
        if end == length {
            let cut = || nix::unistd::ftruncate(to, length as _);
            within_limit(|| retried(cut)).map_err(|errno| Error::system("ftruncate", errno))?;
        }
    }
    if steady::held_still(from, &before)? { Ok(()) } else { Err(Error::SourceChanged) }
}

/// One write(2), without SIGXFSZ.
pub(super) fn write(to: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, c_int> {
    within_limit(|| retried(|| nix::unistd::write(to, bytes)))
}

/// Shares the blocks, where the file system can. A failure has done nothing. It counts as a write,
/// which RLIMIT_FSIZE answers with SIGXFSZ.
#[cfg(target_os = "linux")]
pub(in crate::file) fn clone(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    const FICLONE: u64 = 0x4004_9409;
    // SAFETY: a descriptor is the whole argument.
    let share = || unsafe { libc::ioctl(to.as_raw_fd(), FICLONE as _, from.as_raw_fd()) }.into();
    within_limit(|| call::again(share)).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn clone(_from: BorrowedFd<'_>, _to: BorrowedFd<'_>) -> bool {
    false
}

/// Returns how far it came: to `end`, or to the end of the file.
#[cfg(target_os = "linux")]
fn copy_part(from: BorrowedFd<'_>, to: BorrowedFd<'_>, start: u64, end: u64) -> Result<u64, Error> {
    const MOST: u64 = 1 << 30;
    let (mut at, mut out) = (start as i64, start as i64);
    while (at as u64) < end {
        let len = (end - at as u64).min(MOST) as usize;
        // The kernel moves both offsets by what it has copied.
        let copied = within_limit(|| {
            retried(|| copy_file_range(from, Some(&mut at), to, Some(&mut out), len))
        });
        match copied {
            // Between file systems that have nothing in common, an old kernel, a filter; and a file
            // that is not on a disk.
            Ok(0)
            | Err(libc::EXDEV | libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::EPERM) => {
                return copy_by_hand(from, to, at as u64, end);
            }
            Ok(_) => {}
            Err(errno) => return Err(Error::system("copy_file_range", errno)),
        }
    }
    Ok(at as u64)
}

#[cfg(not(target_os = "linux"))]
fn copy_part(from: BorrowedFd<'_>, to: BorrowedFd<'_>, start: u64, end: u64) -> Result<u64, Error> {
    copy_by_hand(from, to, start, end)
}

/// Reads and writes. Returns how far it came.
fn copy_by_hand(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    start: u64,
    end: u64,
) -> Result<u64, Error> {
    let mut buffer = vec![0_u8; 1 << 18];
    let mut at = start;
    while at < end {
        let room = (end - at).min(buffer.len() as u64) as usize;
        let into = buffer.get_mut(..room).unwrap_or_default();
        let got =
            retried(|| pread(from, into, at as _)).map_err(|errno| Error::system("read", errno))?;
        let mut rest = buffer.get(..got).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        while !rest.is_empty() {
            let put = within_limit(|| retried(|| pwrite(to, rest, at as _)));
            let put = put.map_err(|errno| Error::system("write", errno))?;
            rest = rest.get(put..).unwrap_or_default();
            at += put as u64;
        }
    }
    Ok(at)
}

//! A descriptor that a handle keeps, and that the host may close.
//!
//! Daemons close every descriptor that they know nothing of, and the numbers are given out again.
//! Whoever writes, reads or closes there then does it to somebody's file, so what is kept is asked
//! before. What cannot be told apart: two descriptors of one file, and those that have none
//! (eventfd(2), inotify(7), epoll(7)), for they all share one inode. (Maps, whose descriptor nobody
//! is handed, want it to be close-on-exec as well: `sigbus/kept.rs`.)

use super::call::{Failed, status};
use std::fs::File;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// A number, and what it stood for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number {
    pub(crate) fd: RawFd,
    /// Device and inode.
    identity: (u64, u64),
}

impl Number {
    fn of(file: BorrowedFd<'_>) -> Result<Self, Failed> {
        let status = status(file)?;
        Ok(Self { fd: file.as_raw_fd(), identity: identity(&status) })
    }

    /// What fstat(2) tells of the file; EBADF if it is another one by now.
    #[inline(never)]
    pub(crate) fn status(&self) -> Result<libc::stat, Failed> {
        // SAFETY: for one call, which refuses a number that nobody has.
        let status = status(unsafe { BorrowedFd::borrow_raw(self.fd) })?;
        let is_ours = identity(&status) == self.identity;
        if is_ours { Ok(status) } else { Err(Failed { call: "fstat", errno: libc::EBADF }) }
    }

    /// Where the kernel refuses to tell (a seccomp filter, no memory) it counts as the owner's, or
    /// it would stay open.
    #[inline(never)]
    fn is_ours(&self) -> bool {
        !matches!(self.status(), Err(Failed { errno: libc::EBADF, .. }))
    }

    /// The descriptor, if it is still that file's. For now: its owner may close it.
    pub(crate) fn current(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: just found to be the owner's.
        self.status().is_ok().then(|| unsafe { BorrowedFd::borrow_raw(self.fd) })
    }
}

/// The owner of a descriptor, who closes it if it is still theirs.
#[derive(Debug)]
pub(crate) struct Kept<T: AsFd = File> {
    file: ManuallyDrop<T>,
    pub(crate) number: Number,
}

impl<T: AsFd> Kept<T> {
    pub(crate) fn of(file: T) -> Result<Self, Failed> {
        let number = Number::of(file.as_fd())?;
        Ok(Self { file: ManuallyDrop::new(file), number })
    }

    /// Whoever knows it to be somebody else's: from now on it is nobody's.
    pub(crate) fn disown(&mut self) {
        self.number.identity = (u64::MAX, u64::MAX);
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.number.is_ours()
    }

    /// How long the file is.
    pub(crate) fn length(&self) -> Result<u64, Failed> {
        self.number.status().map(|status| status.st_size as u64)
    }
}

impl<T: AsFd> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.file
    }
}

impl<T: AsFd> Drop for Kept<T> {
    fn drop(&mut self) {
        if self.is_ours() {
            // SAFETY: never used again.
            unsafe { ManuallyDrop::drop(&mut self.file) };
        }
    }
}

#[allow(clippy::unnecessary_cast, reason = "other types on other systems")]
fn identity(status: &libc::stat) -> (u64, u64) {
    (status.st_dev as u64, status.st_ino as u64)
}

//! One grower of a file at a time, in whatever process: a reservation that fails undoes what it did, and must not meet another one at
//! the file's end.
//!
//! The lock is a record lock of an open file description (`F_OFD_SETLKW`, fcntl(2)) on one byte far behind any file's end, where nobody
//! else's locks are. Each time on a description of its own: so it is held against other threads and forked children, too, and the kernel
//! takes it back when the process dies. Whoever locks the whole file (a record lock without an end) has a protocol of their own, and is
//! not waited for: they may be waiting for us.

use super::super::sys::{again, open_again};
use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// The byte.
const PLACE: i64 = i64::MAX - 0x5167; // "Sg"

/// Held while a file is made longer.
pub(in crate::file) struct Growing(Option<OwnedFd>);

impl Growing {
    /// Waits for other growers. Where there are no such locks, there is nothing to wait for.
    pub(in crate::file) fn of(file: BorrowedFd<'_>) -> Self {
        let own = open_again(file, libc::O_RDWR).ok();
        Self(own.filter(|own| take(own.as_raw_fd())))
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        // A child that was forked meanwhile has the description as well: closing alone would leave it the lock.
        if let Some(own) = &self.0 {
            let _ = lock(own.as_raw_fd(), libc::F_OFD_SETLK, libc::F_UNLCK);
        }
    }
}

fn take(file: c_int) -> bool {
    loop {
        match lock(file, libc::F_OFD_SETLK, libc::F_WRLCK) {
            Ok(_) => return true,
            Err(libc::EAGAIN | libc::EACCES) => {}
            Err(_) => return false,
        }
        match lock(file, libc::F_OFD_GETLK, libc::F_WRLCK) {
            Ok(other) if i32::from(other.l_type) == libc::F_UNLCK => {}
            Ok(other) if other.l_start == PLACE && other.l_len == 1 => {
                return lock(file, libc::F_OFD_SETLKW, libc::F_WRLCK).is_ok();
            }
            _ => return false,
        }
    }
}

fn lock(file: c_int, call: c_int, kind: c_int) -> Result<libc::flock64, c_int> {
    // SAFETY: a struct of numbers.
    let mut range: libc::flock64 = unsafe { std::mem::zeroed() };
    range.l_type = kind as libc::c_short;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    (range.l_start, range.l_len) = (PLACE, 1);
    // SAFETY: a whole request, with room for the answer.
    again(|| unsafe { libc::fcntl(file, call, &raw mut range) }.into())?;
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn file(name: &str) -> (std::fs::File, std::path::PathBuf) {
        let path = std::env::temp_dir().join(format!("sigward-growing-{name}-{}", std::process::id()));
        let file = std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path);
        (file.unwrap(), path)
    }

    #[test]
    fn one_at_a_time_also_on_one_descriptor() {
        let (file, path) = file("one");
        let first = Growing::of(file.as_fd());
        assert!(first.0.is_some());
        let free = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let second = Growing::of(file.as_fd());
                assert!(second.0.is_some() && free.load(Ordering::SeqCst));
            });
            for _ in 0..100 {
                std::thread::yield_now();
            }
            free.store(true, Ordering::SeqCst);
            drop(first);
        });
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn who_locks_all_of_a_file_is_not_waited_for() {
        let (file, path) = file("all");
        let other = std::fs::File::options().write(true).open(&path).unwrap();
        // SAFETY: a struct of numbers; zero is the whole file.
        let mut whole: libc::flock64 = unsafe { std::mem::zeroed() };
        whole.l_type = libc::F_WRLCK as libc::c_short;
        // SAFETY: a whole request.
        assert_eq!(unsafe { libc::fcntl(other.as_raw_fd(), libc::F_OFD_SETLK, &raw mut whole) }, 0);
        assert!(Growing::of(file.as_fd()).0.is_none());
        std::fs::remove_file(path).unwrap();
    }
}

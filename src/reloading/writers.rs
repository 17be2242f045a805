//! Whether somebody has a file open for writing: asked with a read lease that is given back at once (F_SETLEASE, fcntl(2)).
//!
//! The kernel refuses a read lease with EAGAIN while a writer exists, also one that only has the file mapped. A writer who opens
//! the file in the microseconds in which we have the lease waits for them, and the kernel sends us a signal: SIGURG instead of SIGIO, because SIGURG is
//! ignored by default, and only to this thread.

use std::fs::File;

/// Of Linux's include/uapi/asm-generic/fcntl.h; libc has neither of them for every C library.
#[cfg(target_os = "linux")]
mod kernel {
    pub(super) const SET_SIGNAL: libc::c_int = 10; // F_SETSIG
    pub(super) const SET_OWNER: libc::c_int = 15; // F_SETOWN_EX
    pub(super) const THREAD: libc::c_int = 0; // F_OWNER_TID

    /// `struct f_owner_ex`.
    #[repr(C)]
    pub(super) struct Owner {
        pub(super) kind: libc::c_int,
        pub(super) id: libc::pid_t,
    }
}

/// Nothing where that cannot be asked: the file of another user, a file system without leases.
#[cfg(target_os = "linux")]
pub(super) fn are_there(file: &File) -> Option<bool> {
    use std::os::fd::AsRawFd;
    let file = file.as_raw_fd();
    // SAFETY: no arguments.
    let thread = kernel::Owner { kind: kernel::THREAD, id: unsafe { libc::gettid() } };
    // SAFETY: our own descriptor and a struct that fcntl only reads.
    let owned = unsafe { libc::fcntl(file, kernel::SET_OWNER, &raw const thread) };
    // SAFETY: as above, with a number.
    let quiet = unsafe { libc::fcntl(file, kernel::SET_SIGNAL, libc::SIGURG) };
    if owned != 0 || quiet != 0 {
        return None;
    }
    // SAFETY: as above.
    if unsafe { libc::fcntl(file, libc::F_SETLEASE, libc::F_RDLCK) } == 0 {
        // SAFETY: as above.
        unsafe { libc::fcntl(file, libc::F_SETLEASE, libc::F_UNLCK) };
        return Some(false);
    }
    // EACCES for another user's file, EINVAL or EOPNOTSUPP where there are no leases.
    (std::io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN)).then_some(true)
}

/// Leases are Linux's.
#[cfg(not(target_os = "linux"))]
pub(super) fn are_there(_file: &File) -> Option<bool> {
    None
}

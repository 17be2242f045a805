//! The one descriptor that an adopted file keeps, or none: what it says is believed only after
//! fstat(2) has shown that it is still that file's.
//!
//! It is opened with O_PATH: it stands in nobody's way. A descriptor that can read breaks the
//! leases of others, one that can write makes exec(2) and leases fail and is an event to whoever
//! watches the file.

use crate::sigbus::identity::{self, Identity, Unmappable};
use crate::sys::call::Failed;
use crate::sys::call::errno;
use std::ffi::{CStr, c_int};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicI32, Ordering};

/// -1 is none.
pub(crate) struct Kept(AtomicI32);

/// Why a descriptor says nothing about the file.
pub(crate) enum Silent {
    /// None is kept.
    None,
    /// Somebody has closed it, and its number may be another file's.
    NotOurs,
    /// The file system does not answer: the daemon of a FUSE one has died (ENOTCONN), a server has
    /// lost it (ESTALE).
    Errno(c_int),
}

impl Kept {
    pub(crate) fn none() -> Self {
        Self(AtomicI32::new(-1))
    }

    /// Opens the file at `path`. None is kept if that would take more than half of the descriptors
    /// that the process may have; they are the host's.
    pub(crate) fn open(path: &CStr) -> Result<(Self, Identity), Unmappable> {
        let fd = match open_path(path) {
            Ok(fd) => fd,
            Err(libc::EMFILE | libc::ENFILE) => return Ok((Self::none(), of_path(path)?)),
            Err(errno) => return Err(Failed { call: "open", errno }.into()),
        };
        let kept = Self(AtomicI32::new(fd));
        let identity = identity::of_mappable(fd).inspect_err(|_| close(fd))?;
        Ok((kept, identity))
    }

    /// The same file as that of somebody else's descriptor.
    pub(crate) fn like(fd: c_int) -> Self {
        Self(AtomicI32::new(open_path(&in_proc(fd)).unwrap_or(-1)))
    }

    /// Closes it if the host could soon lack descriptors.
    pub(crate) fn spare_the_host(&self) {
        let fd = self.0.load(Ordering::Relaxed);
        if fd >= 0 && u64::from(fd.unsigned_abs()) >= most() / 2 {
            self.0.store(-1, Ordering::Relaxed);
            close(fd);
        }
    }

    /// The number, for questions right now. Of no use without [`Kept::current`].
    pub(crate) fn number(&self) -> c_int {
        self.0.load(Ordering::Relaxed)
    }

    /// What fstat(2) says of the file. Signal-safe.
    pub(crate) fn current(&self, identity: &Identity) -> Result<Identity, Silent> {
        let fd = self.number();
        if fd < 0 {
            return Err(Silent::None);
        }
        match status(fd) {
            Ok(status) => {
                let now = Identity::of(&status);
                if now.is_same_file(identity) { Ok(now) } else { Err(Silent::NotOurs) }
            }
            Err(libc::EBADF) => Err(Silent::NotOurs),
            Err(errno) => Err(Silent::Errno(errno)),
        }
    }

    /// Closes the descriptor if it is still the file's. Nobody uses it any more.
    pub(crate) fn close(&self, identity: &Identity) {
        let fd = self.0.load(Ordering::Relaxed);
        if !matches!(self.current(identity), Err(Silent::None | Silent::NotOurs)) {
            close(fd);
        }
        self.0.store(-1, Ordering::Relaxed);
    }
}

/// What stat(2) says of a path, if it can be mapped.
pub(crate) fn of_path(path: &CStr) -> Result<Identity, Unmappable> {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: a NUL-terminated path and room for one struct.
    if unsafe { libc::stat(path.as_ptr(), status.as_mut_ptr()) } != 0 {
        return Err(Failed::last("stat").into());
    }
    // SAFETY: the call returned 0, so it filled the struct.
    identity::mappable(unsafe { status.assume_init_ref() })
}

fn open_path(path: &CStr) -> Result<c_int, c_int> {
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    // SAFETY: a NUL-terminated path. A bare system call: no cancellation point.
    match unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags) } {
        -1 => Err(errno()),
        fd => Ok(fd as c_int),
    }
}

fn status(fd: c_int) -> Result<libc::stat, c_int> {
    crate::observe::in_handler::status(fd).ok_or_else(errno)
}

fn close(fd: c_int) {
    // SAFETY: ours. A bare system call: no cancellation point.
    unsafe { libc::syscall(libc::SYS_close, fd) };
}

/// How many descriptors the process may have.
fn most() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: room for one struct.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur
}

/// `/proc/self/fd/N`.
pub(crate) fn in_proc(fd: c_int) -> std::ffi::CString {
    std::ffi::CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default()
}

//! Opening a file to map it: regular files only, without waiting for anybody.

use super::error::Error;
use crate::sigbus::identity::{self, Identity};
use crate::sys::call::open_at;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// Opens the file at `path`. A FIFO would wait for a writer, so what it is is looked at first, and
/// O_NONBLOCK is for the case that it has become one since. (O_NONBLOCK also means not to wait for
/// a lease to be given up: then the plain call waits.)
pub(super) fn open(path: &CStr, write: bool) -> Result<(OwnedFd, Identity), Error> {
    let access = if write { libc::O_RDWR } else { libc::O_RDONLY };
    let quick = access | libc::O_CLOEXEC | libc::O_NOCTTY | libc::O_NONBLOCK;
    let file = match attempt(path, quick) {
        Err(libc::EWOULDBLOCK) => attempt(path, access | libc::O_CLOEXEC | libc::O_NOCTTY),
        // What a FIFO without readers, a socket and a missing device answer.
        Err(libc::ENXIO) => return Err(Error::NotAFile { errno: libc::ENODEV }),
        other => other,
    };
    let file = file.map_err(|errno| match errno {
        libc::EISDIR => Error::NotAFile { errno },
        errno => Error::System { call: "open", errno },
    })?;
    let identity = identity::of_mappable(file.as_raw_fd())?;
    Ok((file, identity))
}

fn attempt(path: &CStr, flags: libc::c_int) -> Result<OwnedFd, libc::c_int> {
    open_at(None, path, flags, 0)
}

/// A path as the kernel takes it.
pub(super) fn c_path(path: &Path) -> Result<CString, Error> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::Invalid("the path has a NUL byte"))
}

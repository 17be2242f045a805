//! The new file before it has the name: without any where the system can, else with a hidden one that nobody can foresee.

use super::super::error::Error;
use super::super::sys::{again, open_at};
use super::target::Target;
use std::ffi::{CStr, CString, c_int};
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

#[derive(Debug)]
pub(super) struct Temporary {
    pub(super) file: File,
    /// None: it has no name.
    hidden: Option<Hidden>,
}

/// A name of ours, gone when it is dropped.
#[derive(Debug)]
struct Hidden {
    folder: OwnedFd,
    name: CString,
    is_there: bool,
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if !self.is_there {
            return;
        }
        // SAFETY: a NUL-terminated name. If somebody else has taken it away already, so much the better.
        let _ = again(|| unsafe { libc::unlinkat(self.folder.as_raw_fd(), self.name.as_ptr(), 0) }.into());
    }
}

/// How often somebody else may have had a name of 64 random bits.
const TRIES: usize = 100;

impl Temporary {
    pub(super) fn create(folder: BorrowedFd<'_>, mode: u32) -> Result<Self, Error> {
        if let Some(file) = nameless(folder, mode)? {
            return Ok(Self { file: file.into(), hidden: None });
        }
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
        let (file, name) = with_free_name(|name| open_at(Some(folder), name, flags, mode as _))
            .map_err(|errno| Error::system("open", errno))?;
        Ok(Self { file: file.into(), hidden: Some(Hidden::new(folder, name)?) })
    }

    /// Takes the name, and whatever had it loses it.
    pub(super) fn name_it(&mut self, target: &Target) -> Result<(), Error> {
        if self.hidden.is_none() {
            match link(self.file.as_fd(), target.folder.as_fd(), &target.name) {
                Ok(()) => return Ok(()),
                Err(libc::EEXIST) => {}
                Err(errno) => return Err(Error::system("link", errno)),
            }
            // link(2) replaces nothing; rename(2) does, but needs a name.
            let linked = with_free_name(|name| link(self.file.as_fd(), target.folder.as_fd(), name));
            let ((), name) = linked.map_err(|errno| Error::system("link", errno))?;
            self.hidden = Some(Hidden::new(target.folder.as_fd(), name)?);
        }
        let Some(mut hidden) = self.hidden.take() else { return Ok(()) };
        let folder = target.folder.as_raw_fd();
        let moved = again(|| {
            // SAFETY: two NUL-terminated names.
            unsafe { libc::renameat(folder, hidden.name.as_ptr(), folder, target.name.as_ptr()) }.into()
        });
        match moved {
            Ok(_) => {
                hidden.is_there = false; // free again, and may be somebody else's by now
                Ok(())
            }
            Err(errno @ (libc::EISDIR | libc::ENOTEMPTY)) => Err(Error::NotAFile { errno }),
            Err(errno) => Err(Error::system("rename", errno)),
        }
    }
}

impl Hidden {
    fn new(folder: BorrowedFd<'_>, name: CString) -> Result<Self, Error> {
        match folder.try_clone_to_owned() {
            Ok(folder) => Ok(Self { folder, name, is_there: true }),
            Err(error) => {
                // SAFETY: a NUL-terminated name of ours.
                unsafe { libc::unlinkat(folder.as_raw_fd(), name.as_ptr(), 0) };
                Err(super::sys::error("dup", &error))
            }
        }
    }
}

/// Where a file without a name can be made, and be named later.
#[cfg(target_os = "linux")]
fn nameless(folder: BorrowedFd<'_>, mode: u32) -> Result<Option<OwnedFd>, Error> {
    match open_at(Some(folder), c".", libc::O_TMPFILE | libc::O_RDWR, mode) {
        Ok(file) => {
            let path = super::sys::magic_path(file.as_fd());
            // SAFETY: a NUL-terminated path.
            let there = again(|| unsafe { libc::access(path.as_ptr(), libc::F_OK) }.into());
            Ok(there.is_ok().then_some(file)) // without /proc it could not be named
        }
        // The file system cannot; the kernel is older than 3.11; a server does not know the flag.
        Err(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL | libc::ENOENT | libc::ENOSYS) => Ok(None),
        Err(errno) => Err(Error::system("open", errno)),
    }
}

#[cfg(not(target_os = "linux"))]
fn nameless(_folder: BorrowedFd<'_>, _mode: u32) -> Result<Option<OwnedFd>, Error> {
    Ok(None)
}

#[cfg(target_os = "linux")]
fn link(file: BorrowedFd<'_>, folder: BorrowedFd<'_>, name: &CStr) -> Result<(), c_int> {
    let from = super::sys::magic_path(file);
    let (to, follow) = (folder.as_raw_fd(), libc::AT_SYMLINK_FOLLOW);
    again(|| {
        // SAFETY: two NUL-terminated names.
        unsafe { libc::linkat(libc::AT_FDCWD, from.as_ptr(), to, name.as_ptr(), follow) }.into()
    })
    .map(drop)
}

#[cfg(not(target_os = "linux"))]
fn link(_file: BorrowedFd<'_>, _folder: BorrowedFd<'_>, _name: &CStr) -> Result<(), c_int> {
    Err(libc::ENOTSUP)
}

fn with_free_name<T>(mut take: impl FnMut(&CStr) -> Result<T, c_int>) -> Result<(T, CString), c_int> {
    for _ in 0..TRIES {
        // Keys from the system's randomness; after fork(2) the process id tells parent and child apart.
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u32(std::process::id());
        let name = CString::new(format!(".sigward-{:016x}", hasher.finish())).unwrap_or_default();
        match take(&name) {
            Err(libc::EEXIST) => {}
            other => return other.map(|taken| (taken, name)),
        }
    }
    Err(libc::EEXIST)
}

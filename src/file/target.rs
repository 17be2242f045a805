//! Where a new file goes, or a log is: a folder, held open, and a name in it. Everything later is
//! relative to the folder, so that moving it meanwhile does no harm.

use super::error::Error;
use crate::sys::call::{open_at, retried, status_at, sync_file_system_of};
use crate::sys::kept::Kept;
use std::ffi::{CStr, CString, c_int};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// What the name belongs to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    Nothing,
    File,
    /// To be replaced itself.
    Link,
}

/// A file, by its type, device and inode.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    kind: libc::mode_t,
    pub(crate) file: (libc::dev_t, libc::ino_t),
}

#[derive(Debug)]
pub(crate) struct Target {
    pub(super) folder: Kept<OwnedFd>,
    pub(super) name: CString,
    /// Without permission to read it a folder cannot be opened for fsync(2).
    readable: bool,
}

/// As many links as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

impl Target {
    /// The text of a link in /proc (`fd`, `exe`) may name another file than the kernel finds there:
    /// where the file was unlinked, or lies in another mount namespace. So both are compared.
    pub(crate) fn find(given: &Path, follow: bool) -> Result<Self, Error> {
        let mut path = given.as_os_str().as_bytes().to_vec();
        let mut last: Option<(Kept<OwnedFd>, Option<Found>)> = None;
        let mut why = libc::ELOOP;
        for _ in 0..=MOST_LINKS {
            let target = Self::split(last.as_ref().map(|(base, _)| base.as_fd()), &path)?;
            let here = target.status(false)?;
            if follow && here.is_some_and(|here| here.kind == libc::S_IFLNK) {
                path = read_link(target.folder.as_fd(), &target.name)?;
                let found = target.status(true)?;
                last = Some((target.folder, found));
            } else if last.is_none_or(|(_, found)| found == here) {
                return Ok(target);
            } else {
                // From the beginning: a link may have been switched in between.
                (path, last, why) = (given.as_os_str().as_bytes().to_vec(), None, libc::ENOENT);
            }
        }
        Err(Error::system("readlink", why))
    }

    fn split(base: Option<BorrowedFd<'_>>, path: &[u8]) -> Result<Self, Error> {
        if path.is_empty() {
            return Err(Error::system("open", libc::ENOENT));
        }
        let slash = path.iter().rposition(|byte| *byte == b'/');
        let (folder, name) = path.split_at(slash.map_or(0, |slash| slash + 1));
        if matches!(name, b"" | b"." | b"..") {
            return Err(Error::NotAFile { errno: libc::EISDIR });
        }
        let nul = |_| Error::Invalid("the path has a NUL byte");
        let folder = if folder.is_empty() { b".".as_slice() } else { folder };
        let (folder, name) = (CString::new(folder).map_err(nul)?, CString::new(name).map_err(nul)?);
        let (folder, readable) =
            open_folder(base, &folder).map_err(|errno| Error::system("open", errno))?;
        Ok(Self { folder: Kept::of(folder)?, name, readable })
    }

    /// What the name stands for, or what a link there leads to; none if nothing is there.
    #[inline(never)]
    pub(crate) fn status(&self, follow: bool) -> Result<Option<Found>, Error> {
        match status_at(self.folder.as_fd(), &self.name, follow) {
            Ok(status) => Ok(Some(Found {
                kind: status.st_mode & libc::S_IFMT,
                file: (status.st_dev, status.st_ino),
            })),
            Err(libc::ENOENT) => Ok(None),
            Err(errno) => Err(Error::system("stat", errno)),
        }
    }

    /// What is to be replaced; an error if that is nothing to replace.
    pub(super) fn existing(&self) -> Result<Existing, Error> {
        match self.status(false)?.map(|found| found.kind) {
            None => Ok(Existing::Nothing),
            Some(libc::S_IFREG) => Ok(Existing::File),
            Some(libc::S_IFLNK) => Ok(Existing::Link),
            Some(libc::S_IFDIR) => Err(Error::NotAFile { errno: libc::EISDIR }),
            Some(_) => Err(Error::NotAFile { errno: libc::ENODEV }),
        }
    }

    /// The folder's entry is on the disk afterwards. `file` is one of the same file system.
    pub(crate) fn sync(&self, file: BorrowedFd<'_>) -> Result<(), c_int> {
        let done = if self.readable {
            retried(|| nix::unistd::fsync(&*self.folder))
        } else {
            sync_file_system_of(file)
        };
        match done {
            // What a file system says that writes folders at once, or cannot otherwise.
            Ok(()) | Err(libc::EINVAL | libc::ENOTSUP) => Ok(()),
            failed => failed,
        }
    }
}

#[cfg(target_os = "linux")]
fn open_folder(base: Option<BorrowedFd<'_>>, folder: &CStr) -> Result<(OwnedFd, bool), c_int> {
    match open_at(base, folder, libc::O_RDONLY | libc::O_DIRECTORY, 0) {
        Err(libc::EACCES) => {
            open_at(base, folder, libc::O_PATH | libc::O_DIRECTORY, 0).map(|folder| (folder, false))
        }
        other => other.map(|folder| (folder, true)),
    }
}

#[cfg(not(target_os = "linux"))]
fn open_folder(base: Option<BorrowedFd<'_>>, folder: &CStr) -> Result<(OwnedFd, bool), c_int> {
    open_at(base, folder, libc::O_RDONLY | libc::O_DIRECTORY, 0).map(|folder| (folder, true))
}

fn read_link(folder: BorrowedFd<'_>, name: &CStr) -> Result<Vec<u8>, Error> {
    let text = retried(|| nix::fcntl::readlinkat(folder, name));
    text.map(OsStringExt::into_vec).map_err(|errno| Error::system("readlink", errno))
}

//! The new file before it has the name: without any where the system can, else with a hidden one.
//!
//! On btrfs of Linux 6.12 fsync(2) of a file without a name succeeds and takes its bytes to the
//! disk, but not their place in the file: named, renamed and with its folder synced it is empty
//! after a power failure. So only file systems that are known to be better get one.
//!
//! Hidden names say by a sum whose they are: `.sigward-SUM-NUMBER`. The first few numbers are
//! small, so that what a killed replacement has left is found without reading the folder; if others
//! have all of those, the number is one that nobody can foresee.

use super::super::error::Error;
use crate::file::target::Target;
#[cfg(target_os = "linux")]
use crate::sys::call::kind_of_file;
use crate::sys::call::{Failed, again, open_at, retried, status, status_in};
#[cfg(target_os = "linux")]
use crate::sys::constants::file_systems::{EXT, TMPFS, XFS};
use crate::sys::kept::Kept;
use nix::fcntl::renameat;
#[cfg(target_os = "linux")]
use nix::fcntl::{AT_FDCWD, AtFlags};
#[cfg(target_os = "linux")]
use nix::unistd::{AccessFlags, linkat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{CStr, CString, c_int};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

#[derive(Debug)]
pub(super) struct Temporary {
    pub(super) file: Kept,
    /// None: it has no name.
    hidden: Option<Hidden>,
}

/// A name of ours, gone when it is dropped.
#[derive(Debug)]
struct Hidden {
    folder: Kept<OwnedFd>,
    name: CString,
    is_there: bool,
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if !self.is_there {
            return;
        }
        // If somebody else has taken it away already, so much the better.
        let _ = unlink(self.folder.as_fd(), &self.name);
    }
}

/// How many small numbers there are.
const SMALL: u64 = 8;
/// How often somebody else may have had a name of 64 random bits.
const TRIES: u64 = 100;

impl Temporary {
    pub(super) fn create(target: &Target, mode: u32) -> Result<Self, Error> {
        let folder = target.folder.as_fd();
        sweep(target);
        if let Some(file) = nameless(folder, mode)? {
            let _ = lock(file.as_fd());
            return Self::of(file, None);
        }
        removable(folder)?;
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
        let (file, name) = with_free_name(target, |name| {
            let file = open_at(Some(folder), name, flags, mode as _)?;
            // Somebody may have taken it for a left-over before it was locked.
            let taken = lock(file.as_fd()) == Err(libc::EWOULDBLOCK)
                || status(file.as_fd()).is_ok_and(|status| status.st_nlink == 0);
            if taken { Err(libc::EEXIST) } else { Ok(file) }
        })
        .map_err(|errno| Error::system("open", errno))?;
        Self::of(file, Some(Hidden::new(folder, name)?))
    }

    fn of(file: OwnedFd, hidden: Option<Hidden>) -> Result<Self, Error> {
        Ok(Self { file: Kept::of(file.into())?, hidden })
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
            removable(target.folder.as_fd())?;
            let linked =
                with_free_name(target, |name| link(self.file.as_fd(), target.folder.as_fd(), name));
            let ((), name) = linked.map_err(|errno| Error::system("link", errno))?;
            self.hidden = Some(Hidden::new(target.folder.as_fd(), name)?);
        }
        let Some(mut hidden) = self.hidden.take() else { return Ok(()) };
        let folder = &*target.folder;
        match retried(|| renameat(folder, hidden.name.as_c_str(), folder, target.name.as_c_str())) {
            Ok(()) => {
                hidden.is_there = false; // free again, and may be somebody else's by now
                // SAFETY: no pointers. From now on it is everybody's, to lock as well.
                let _ =
                    again(|| unsafe { libc::flock(self.file.as_raw_fd(), libc::LOCK_UN) }.into());
                Ok(())
            }
            Err(errno @ (libc::EISDIR | libc::ENOTEMPTY)) => Err(Error::NotAFile { errno }),
            Err(errno) => Err(Error::system("rename", errno)),
        }
    }
}

impl Hidden {
    fn new(folder: BorrowedFd<'_>, name: CString) -> Result<Self, Error> {
        let copy = folder.try_clone_to_owned().map_err(|error| Failed::of("dup", &error));
        match copy.and_then(Kept::of) {
            Ok(folder) => Ok(Self { folder, name, is_there: true }),
            Err(failed) => {
                let _ = unlink(folder, &name);
                Err(failed.into())
            }
        }
    }
}

/// Where a file without a name can be made, taken to the disk, and be named later.
#[cfg(target_os = "linux")]
fn nameless(folder: BorrowedFd<'_>, mode: u32) -> Result<Option<OwnedFd>, Error> {
    // An overlay's layers may be btrfs, too.
    if !matches!(kind_of_file(folder), Some(EXT | XFS | TMPFS)) {
        return Ok(None);
    }
    match open_at(Some(folder), c".", libc::O_TMPFILE | libc::O_RDWR, mode) {
        Ok(file) => {
            let path = crate::sys::call::magic_path(file.as_fd());
            let there = retried(|| nix::unistd::access(path.as_c_str(), AccessFlags::F_OK));
            Ok(there.is_ok().then_some(file)) // without /proc it could not be named
        }
        // The file system cannot; the kernel is older than 3.11; a server does not know the flag.
        Err(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL | libc::ENOENT | libc::ENOSYS) => {
            Ok(None)
        }
        Err(errno) => Err(Error::system("open", errno)),
    }
}

#[cfg(not(target_os = "linux"))]
fn nameless(_folder: BorrowedFd<'_>, _mode: u32) -> Result<Option<OwnedFd>, Error> {
    Ok(None)
}

#[cfg(target_os = "linux")]
fn link(file: BorrowedFd<'_>, folder: BorrowedFd<'_>, name: &CStr) -> Result<(), c_int> {
    let from = crate::sys::call::magic_path(file);
    retried(|| linkat(AT_FDCWD, from.as_c_str(), folder, name, AtFlags::AT_SYMLINK_FOLLOW))
}

#[cfg(not(target_os = "linux"))]
fn link(_file: BorrowedFd<'_>, _folder: BorrowedFd<'_>, _name: &CStr) -> Result<(), c_int> {
    Err(libc::ENOTSUP)
}

fn with_free_name<T>(
    target: &Target,
    mut take: impl FnMut(&CStr) -> Result<T, c_int>,
) -> Result<(T, CString), c_int> {
    for number in 0..SMALL + TRIES {
        let number = if number < SMALL { number } else { random() };
        let name = hidden_name(target, number);
        match take(&name) {
            Err(libc::EEXIST) => {}
            other => return other.map(|taken| (taken, name)),
        }
    }
    Err(libc::EEXIST)
}

/// The sum is FNV-1a of the destination's name: the same in every process and version.
fn hidden_name(target: &Target, number: u64) -> CString {
    let sum = target.name.to_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    CString::new(format!(".sigward-{sum:016x}-{number:x}")).unwrap_or_default()
}

fn random() -> u64 {
    // Keys from the system's randomness; after fork(2) the process id tells parent and child apart.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}

/// Removes what killed replacements of the same file have left.
fn sweep(target: &Target) {
    let folder = target.folder.as_fd();
    for number in 0..SMALL {
        let name = hidden_name(target, number);
        let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        let Ok(file) = open_at(Some(folder), &name, flags, 0) else { continue };
        if is_ours(file.as_fd(), target)
            && lock(file.as_fd()).is_ok()
            && is_named(file.as_fd(), folder, &name)
        {
            let _ = unlink(folder, &name);
        }
    }
}

/// A regular file with no other name, and of one who may replace the destination: the caller, or
/// its owner.
fn is_ours(file: BorrowedFd<'_>, target: &Target) -> bool {
    let Ok(status) = status(file) else { return false };
    let caller = nix::unistd::geteuid().as_raw();
    status.st_mode & libc::S_IFMT == libc::S_IFREG
        && status.st_nlink == 1
        && (status.st_uid == caller
            || status_in(target.folder.as_fd(), &target.name)
                .is_ok_and(|live| live.st_uid == status.st_uid))
}

/// Whoever works on a file has it locked, until the process dies.
fn lock(file: BorrowedFd<'_>) -> Result<(), c_int> {
    // SAFETY: no pointers.
    again(|| unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }.into())
        .map(drop)
}

fn is_named(file: BorrowedFd<'_>, folder: BorrowedFd<'_>, name: &CStr) -> bool {
    let (Ok(file), Ok(named)) = (status(file), status_in(folder, name)) else { return false };
    (file.st_dev, file.st_ino) == (named.st_dev, named.st_ino)
}

fn unlink(folder: BorrowedFd<'_>, name: &CStr) -> Result<(), c_int> {
    retried(|| unlinkat(folder, name, UnlinkatFlags::NoRemoveDir))
}

/// Whether a name in this folder can be removed again.
#[cfg(target_os = "linux")]
fn removable(folder: BorrowedFd<'_>) -> Result<(), Error> {
    const APPEND_OR_IMMUTABLE: c_int = 0x20 | 0x10; // FS_APPEND_FL, FS_IMMUTABLE_FL
    match super::super::linux::inode_flags(folder) {
        Some(flags) if flags & APPEND_OR_IMMUTABLE != 0 => {
            Err(Error::system("rename", libc::EPERM))
        }
        _ => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn removable(_folder: BorrowedFd<'_>) -> Result<(), Error> {
    Ok(())
}

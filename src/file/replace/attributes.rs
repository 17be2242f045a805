//! Mode, owner and extended attributes, from one file to the next.

use super::super::error::Error;
use super::fidelity::Fidelity;
use crate::file::target::Target;
use crate::sys::call::{open_at, retried, status};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Uid, fchown};
use std::os::fd::{AsFd, BorrowedFd};

#[cfg(target_os = "linux")]
use super::xattr;

#[derive(Debug)]
pub(super) struct Attributes {
    mode: libc::mode_t,
    user: libc::uid_t,
    group: libc::gid_t,
    #[cfg(target_os = "linux")]
    extended: xattr::Extended,
}

impl Attributes {
    /// Of a file that is open.
    pub(super) fn of_open(file: BorrowedFd<'_>) -> Result<Self, Error> {
        let status = status(file)?;
        Ok(Self {
            mode: status.st_mode & 0o7777,
            user: status.st_uid,
            group: status.st_gid,
            #[cfg(target_os = "linux")]
            extended: xattr::Extended::of(file)?,
        })
    }

    /// Of the file that has the target's name; none if it has just gone. It need not be readable,
    /// where /proc is there.
    pub(super) fn of_named(target: &Target) -> Result<Option<Self>, Error> {
        let readable = libc::O_RDONLY | libc::O_NONBLOCK;
        #[cfg(target_os = "linux")]
        match Self::of_opened(target, libc::O_PATH) {
            Err(error) if error.errno() == libc::EBADF => {}
            other => return other,
        }
        Self::of_opened(target, readable)
    }

    fn of_opened(target: &Target, flags: libc::c_int) -> Result<Option<Self>, Error> {
        let flags = flags | libc::O_NOFOLLOW;
        match open_at(Some(target.folder.as_fd()), &target.name, flags, 0) {
            Ok(file) => Self::of_open(file.as_fd()).map(Some),
            Err(libc::ENOENT) => Ok(None),
            Err(errno) => Err(Error::system("open", errno)),
        }
    }

    /// Gives them to the new file. The mode last: changing the owner takes set-user-ID away, and an
    /// access control list has the group's bits in it. Privileges (set-user-ID, set-group-ID, file
    /// capabilities) only with `privileged`, and never another user's: somebody else's program
    /// would run with our rights.
    pub(super) fn give(
        &self,
        file: BorrowedFd<'_>,
        fidelity: Fidelity,
        privileged: bool,
    ) -> Result<(), Error> {
        let privileged = self.give_owner(file, fidelity)? && privileged;
        #[cfg(target_os = "linux")]
        self.extended.give(file, fidelity, privileged)?;
        set_mode(file, if privileged { self.mode } else { self.mode & 0o1777 })
    }

    /// Gives a file that was not there what is not permissions: those have been made with it, less
    /// the umask.
    pub(super) fn give_to_new(&self, file: BorrowedFd<'_>) -> Result<(), Error> {
        self.give_owner(file, Fidelity::BestEffort)?;
        #[cfg(target_os = "linux")]
        self.extended.give_to_new(file);
        Ok(())
    }

    fn give_owner(&self, file: BorrowedFd<'_>, fidelity: Fidelity) -> Result<bool, Error> {
        let now = status(file)?;
        if (now.st_uid, now.st_gid) == (self.user, self.group) {
            return Ok(true);
        }
        let group = Some(Gid::from_raw(self.group));
        match retried(|| fchown(file, Some(Uid::from_raw(self.user)), group)) {
            Ok(()) => Ok(true),
            // EINVAL: the owner has no number in this user namespace.
            Err(libc::EPERM | libc::EINVAL) if fidelity == Fidelity::Strict => {
                Err(Error::Owner { user: self.user, group: self.group })
            }
            Err(libc::EPERM | libc::EINVAL) => {
                // At least the group, if it is one of ours.
                let _ = retried(|| fchown(file, None, group));
                Ok(false)
            }
            Err(errno) => Err(Error::system("chown", errno)),
        }
    }
}

pub(super) fn set_mode(file: BorrowedFd<'_>, mode: libc::mode_t) -> Result<(), Error> {
    let done = retried(|| fchmod(file, Mode::from_bits_retain(mode)));
    done.map_err(|errno| Error::system("chmod", errno))
}

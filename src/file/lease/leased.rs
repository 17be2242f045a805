//! One lease: its file, and how it ends.

use super::Notice;
use super::keeper::{Keeper, Noticed};
use super::kernel;
use crate::file::error::Error;
use crate::sys::call::{Failed, open_again, open_at, status};
use crate::sys::event;
use crate::sys::kept::Kept;
use std::ffi::{CString, c_int};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct LeasedFile {
    file: Kept<OwnedFd>,
    event: Kept<OwnedFd>,
    noticed: Arc<Noticed>,
    keeper: &'static Keeper,
    given_up: bool,
}

impl LeasedFile {
    pub(super) fn take(path: &Path) -> Result<Self, Error> {
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Error::Invalid("a path with a NUL byte: name a file"))?;
        // Opening a pipe or a device does something to it, so it is looked at before.
        let status = std::fs::metadata(path).map_err(|error| Failed::of("stat", &error))?;
        regular(std::os::unix::fs::MetadataExt::mode(&status))?;
        // It may have become one since: O_NONBLOCK waits for nobody.
        let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
        Self::hold(open_at(None, &name, flags, 0).map_err(of_open)?)
    }

    pub(super) fn of(file: BorrowedFd<'_>) -> Result<Self, Error> {
        regular(status(file)?.st_mode)?;
        Self::hold(open_again(file, libc::O_RDONLY).map_err(of_open)?)
    }

    fn hold(file: OwnedFd) -> Result<Self, Error> {
        regular(status(file.as_fd())?.st_mode)?;
        let keeper = Keeper::current()?;
        let (file, event) = (Kept::of(file)?, Kept::of(event::new()?)?);
        let noticed = keeper.take(file.number, event.number)?;
        Ok(Self { file, event, noticed, keeper, given_up: false })
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.noticed.is_wanted()
    }

    pub(super) fn is_held(&self) -> bool {
        !self.noticed.is_lost() && self.file.number.current().is_some_and(kernel::is_held)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.noticed.deadline()
    }

    pub(super) fn wait(&self, timeout: Option<Duration>) -> Result<Option<Notice>, Error> {
        // Beyond what a clock can say is for ever.
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if self.noticed.is_lost() || !self.event.is_ours() {
                return Ok(Some(Notice::Broken)); // the file's is not, either: the host closed them
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if event::wait_for(self.event(), left)? {
                return Ok(Some(if self.is_held() { Notice::Wanted } else { Notice::Broken }));
            }
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
        }
    }

    pub(super) fn release(mut self) -> Result<(), Error> {
        if self.give_up() { Ok(()) } else { Err(Error::Broken) }
    }

    fn give_up(&mut self) -> bool {
        if std::mem::replace(&mut self.given_up, true) {
            return true;
        }
        // In a forked child the lease is the parent's, and stays; only the copies of the
        // descriptors are closed.
        if self.keeper.is_ours() {
            self.keeper.give_up(self.file.number, &self.noticed)
        } else {
            self.is_held()
        }
    }
}

impl Drop for LeasedFile {
    fn drop(&mut self) {
        self.give_up();
        if self.noticed.is_lost() {
            self.file.disown();
            self.event.disown();
        }
    }
}

fn of_open(errno: c_int) -> Error {
    match errno {
        // Somebody else has a lease for writing on it.
        libc::EWOULDBLOCK => Error::HasWriter,
        // A socket, or a device that is not there.
        libc::ENXIO => Error::NotAFile { errno: libc::ENODEV },
        errno => Error::system("open", errno),
    }
}

fn regular(mode: libc::mode_t) -> Result<(), Error> {
    match mode & libc::S_IFMT {
        libc::S_IFREG => Ok(()),
        libc::S_IFDIR => Err(Error::NotAFile { errno: libc::EISDIR }),
        _ => Err(Error::NotAFile { errno: libc::ENODEV }),
    }
}

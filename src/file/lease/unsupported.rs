//! Other systems have no leases: none can be taken, so nothing else is ever asked.

use super::Notice;
use crate::file::error::Error;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// Cannot be asked.
pub(crate) fn has_writer(_file: BorrowedFd<'_>) -> Option<bool> {
    None
}

pub(super) enum LeasedFile {}

impl LeasedFile {
    pub(super) fn take(_path: &Path) -> Result<Self, Error> {
        Err(Error::NoLeases)
    }

    pub(super) fn of(_file: BorrowedFd<'_>) -> Result<Self, Error> {
        Err(Error::NoLeases)
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        match *self {}
    }

    pub(super) fn event(&self) -> BorrowedFd<'_> {
        match *self {}
    }

    pub(super) fn is_wanted(&self) -> bool {
        match *self {}
    }

    pub(super) fn wait(&self, _timeout: Option<Duration>) -> Result<Option<Notice>, Error> {
        match *self {}
    }

    pub(super) fn is_held(&self) -> bool {
        match *self {}
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match *self {}
    }

    pub(super) fn release(self) -> Result<(), Error> {
        match self {}
    }
}

//! Where there is no inotify(7): the tick alone.

use std::ffi::c_int;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct News {
    pub(super) written: bool,
    pub(super) concluded: bool,
}

pub(super) enum Queue {}

pub(super) type Id = u64;

/// Of no place.
pub(super) type Chain = ();

pub(super) fn walk(_path: &Path) -> Chain {}

#[derive(Default)]
pub(super) struct Watch;

impl Queue {
    pub(super) fn open() -> Result<Self, c_int> {
        Err(libc::ENOSYS)
    }

    pub(super) fn is_ours(&self) -> bool {
        match *self {}
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

#[allow(clippy::unused_self, reason = "as on Linux")]
impl Watch {
    pub(super) fn put(&mut self, queue: &Queue, _id: Id, (): Chain) -> bool {
        match *queue {}
    }

    pub(super) fn watched(&self, _id: Id) -> Result<(), c_int> {
        Err(libc::ENOSYS)
    }

    pub(super) fn leave(&mut self, _queue: Option<&Queue>, _id: Id) {}

    pub(super) fn news(&self, _id: Id) -> News {
        News::default()
    }

    pub(super) fn take(&mut self, _id: Id) -> News {
        News::default()
    }

    pub(super) fn is_writing(&self, _id: Id) -> bool {
        false
    }

    pub(super) fn read(&mut self, queue: &Queue, _told: impl FnMut(Id)) {
        match *queue {}
    }
}

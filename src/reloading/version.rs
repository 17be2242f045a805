//! One version of a file: its bytes, which nobody can change any more, and what the parser made of
//! them.

use crate::mapping::Snapshot;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::SystemTime;

/// The bytes of one version, for the parser to read and to keep: a handle that costs nothing to
/// clone. They are a copy that belongs to nobody else (where the file system can share blocks, one
/// without memory), so whatever happens to the file, this slice stays as it is; they are given back
/// with the last handle.
///
/// It is `AsRef<[u8]>`, which libraries such as maxminddb take as their source.
#[derive(Clone)]
pub struct Contents(Arc<Snapshot>);

impl Contents {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self(Arc::new(snapshot))
    }

    /// Where the bytes are, what memory they take, and whether a disk has failed under them.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.0
    }
}

impl Deref for Contents {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Contents {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Contents({} bytes)", self.len())
    }
}

/// What the parser made of one version of the file; it dereferences to that.
///
/// It lives until the last [`Arc`] to it is dropped, however many versions have come since.
#[derive(Debug)]
#[non_exhaustive]
pub struct Version<T> {
    /// What the parser returned.
    pub value: T,
    /// 1 for the first, then counting up. A file that was written again with the same bytes is no
    /// new version.
    pub number: u64,
    /// Bytes of the file.
    pub length: u64,
    /// Device and inode of the file, as stat(2) has them.
    pub identity: (u64, u64),
    /// When it was taken.
    pub loaded: SystemTime,
    /// False: it was taken though somebody had the file open for writing, or had written to it and
    /// not closed it, because they took longer than
    /// [`Options::wait_for_writer`](super::Options::wait_for_writer) allows. It is of one moment,
    /// and may be half of what they mean to write; [`Status::settled`](super::Status::settled)
    /// tells when they are done.
    pub settled: bool,
}

impl<T> Deref for Version<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

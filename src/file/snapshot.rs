//! A file as it was at one moment, in a place that nobody else can reach:
//! `crate::mapping::Snapshot` maps it.
//!
//! | | where | when | costs |
//! |---|---|---|---|
//! | [`SnapshotKind::Clone`] | blocks of the disk that are shared with the file (`FICLONE`), under no name (`O_TMPFILE`, `O_EXCL`) | xfs, btrfs, bcachefs and overlay on them, if we may write in the file's folder | no memory; blocks stay taken when the file is changed |
//! | [`SnapshotKind::Memory`] | a memfd, sealed against writing, growing and shrinking | everywhere else | as much memory as the file is long, holes included |
//!
//! Neither can be changed, cut or named by anybody: a memfd because it is sealed, a clone because
//! nobody has it open. What a clone's disk does with its blocks is the disk's affair: reading them
//! may fail.
//!
//! xfs and btrfs clone at one moment: they keep writers and faults of shared maps away meanwhile,
//! so that a snapshot has all of a write(2) or none of it, also of a file that is written all the
//! time. Elsewhere, and whenever a copy is made, the file's length and times are compared before
//! and after, and it is done again if they differ; what that is worth, and what is done where it is
//! worth nothing, is in the table of `snapshot/moment.rs`. Stores through a shared map move the
//! times only when a clean page is first written (on tmpfs never): a file that is written so has to
//! be cloned, or to hold still. What belongs together in several writes nobody but the writer
//! knows: a snapshot between two of them is one of a half-written file, and so
//! [`super::replace_file`] is the habit for writers.
//!
//! What has to be copied and is longer than the memory that the machine and the process's control
//! groups have left is refused (`ENOMEM`), holes included: reading a hole of a memfd takes memory.
//!
//! inotify(7) on the folder tells of the clone, under the name "#" and its inode number: opened,
//! modified, closed.

#[cfg(target_os = "linux")]
mod clone;
#[cfg(target_os = "linux")]
mod memory;
pub(crate) mod moment;
#[cfg(target_os = "linux")]
mod room;

use self::moment::Moment;
use super::error::Error;
use super::replace::contents;
use super::steady;
#[cfg(target_os = "linux")]
use crate::sys::call::status;
use std::fs::File;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::Path;

/// Where a snapshot's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotKind {
    /// On the disk, in blocks that are shared with the file until the file is changed.
    Clone,
    /// In memory that nobody can write to, as much as the file is long.
    Memory,
}

/// What is told while a file is copied: bytes done and in all; it may stop the copy.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>;

/// What is wanted.
#[derive(Default)]
pub(crate) struct Request<'a> {
    pub(crate) limit: Option<u64>,
    pub(crate) memory_only: bool,
    pub(crate) progress: Option<Progress<'a>>,
}

impl Request<'_> {
    fn allow(&self, size: u64) -> Result<(), Error> {
        match self.limit {
            Some(limit) if size > limit => Err(Error::TooLarge { size, limit }),
            _ => Ok(()),
        }
    }

    fn tell(&mut self, done: u64, total: u64) -> Result<(), Error> {
        let Some(progress) = &mut self.progress else { return Ok(()) };
        if progress(done, total).is_break() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// The copy, and what it costs.
#[derive(Debug)]
pub(crate) struct Frozen {
    #[cfg(target_os = "linux")]
    pub(crate) file: std::os::fd::OwnedFd,
    /// Where there is no memfd: nobody but us has it, either.
    #[cfg(not(target_os = "linux"))]
    pub(crate) bytes: Vec<u8>,
    pub(crate) kind: SnapshotKind,
    /// Bytes of memory that it holds.
    pub(crate) memory: u64,
    pub(crate) moment: Moment,
}

/// How many bytes of memory the machine and the control groups of this process have left.
pub(crate) fn memory_left() -> u64 {
    #[cfg(target_os = "linux")]
    return room::left();
    #[cfg(not(target_os = "linux"))]
    u64::MAX
}

/// Takes the copy.
pub(crate) fn freeze(path: &Path, request: &mut Request<'_>) -> Result<Frozen, Error> {
    let source = contents::open(path)?;
    let moment = moment::of(source.as_fd());
    let mut tries = steady::Tries::new();
    loop {
        let mut before = steady::stat_anew(&source)?;
        request.allow(before.st_size as u64)?;
        let frozen = if let Some(frozen) = clone(&source, request, before.st_size as u64)? {
            if clones_at_one_moment(&source) {
                return Ok(frozen);
            }
            frozen
        } else {
            before = steady::settled(&source, true)?;
            request.allow(before.st_size as u64)?;
            copy(&source, request, before.st_size as u64)?
        };
        // A file of /proc has other contents each time, and no length.
        let once = moment == Moment::Proven || before.st_size == 0;
        if (once || moment::is_same_again(&source, &frozen)?)
            && steady::held_still(&source, &before)?
        {
            return Ok(Frozen { moment, ..frozen });
        }
        tries.again()?;
    }
}

#[cfg(target_os = "linux")]
fn clones_at_one_moment(source: &File) -> bool {
    clone::is_at_one_moment(source.as_fd())
}

#[cfg(not(target_os = "linux"))]
fn clones_at_one_moment(_source: &File) -> bool {
    false
}

#[cfg(target_os = "linux")]
fn clone(source: &File, request: &mut Request<'_>, length: u64) -> Result<Option<Frozen>, Error> {
    // An empty one may be a file of /proc that has contents all the same.
    if request.memory_only || length == 0 {
        return Ok(None);
    }
    let Some(file) = clone::clone(source.as_fd()) else { return Ok(None) };
    let length = status(file.as_fd())?.st_size as u64;
    request.allow(length)?;
    request.tell(length, length)?;
    Ok(Some(Frozen { file, kind: SnapshotKind::Clone, memory: 0, moment: Moment::Proven }))
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::unnecessary_wraps, reason = "as on Linux")]
fn clone(
    _source: &File,
    _request: &mut Request<'_>,
    _length: u64,
) -> Result<Option<Frozen>, Error> {
    Ok(None)
}

#[cfg(target_os = "linux")]
fn copy(source: &File, request: &mut Request<'_>, length: u64) -> Result<Frozen, Error> {
    let file = memory::copy(source.as_fd(), request, length)?;
    // Pages that it has, not the length.
    let memory = status(file.as_fd())?.st_blocks as u64 * 512;
    Ok(Frozen { file, kind: SnapshotKind::Memory, memory, moment: Moment::Unproven })
}

#[cfg(not(target_os = "linux"))]
fn copy(source: &File, request: &mut Request<'_>, length: u64) -> Result<Frozen, Error> {
    use std::os::unix::fs::FileExt;
    let no_memory = |_| Error::system("malloc", libc::ENOMEM);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(length).unwrap_or(usize::MAX)).map_err(no_memory)?;
    request.tell(0, length)?;
    loop {
        let done = bytes.len();
        bytes.try_reserve(CHUNK).map_err(no_memory)?;
        bytes.resize(done + CHUNK, 0);
        let room = bytes.get_mut(done..).unwrap_or_default();
        let got = loop {
            match source.read_at(room, done as u64) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => {
                    break other.map_err(|error| crate::sys::call::Failed::of("read", &error))?;
                }
            }
        };
        bytes.truncate(done + got);
        if got == 0 {
            bytes.shrink_to_fit();
            let memory = bytes.capacity() as u64;
            return Ok(Frozen {
                bytes,
                kind: SnapshotKind::Memory,
                memory,
                moment: Moment::Unproven,
            });
        }
        request.allow(bytes.len() as u64)?;
        request.tell(bytes.len() as u64, length.max(bytes.len() as u64))?;
    }
}

/// Bytes that are copied at a time: they stay in the processor's cache in between.
const CHUNK: usize = 1 << 18;

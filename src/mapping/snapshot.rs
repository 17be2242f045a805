//! Snapshots: the bytes of a file as they were at one moment, as a `&[u8]`.
//!
//! | | [`SnapshotKind::Memory`] | [`SnapshotKind::Clone`] |
//! |---|---|---|
//! | the file is cut, written over, replaced, removed | nothing happens to the snapshot | nothing happens to the snapshot |
//! | somebody else wants to change the snapshot | cannot: sealed | cannot: no name, no open descriptor but ours |
//! | the disk fails | nothing happens | a page that was not yet read, or was given up since, is lost |
//! | memory | as much as the file is long | none |
//!
//! A lost page is dealt with as in every guarded map: zeros in its place, no death, and
//! [`Snapshot::check`] tells. Rust's rules for a `&[u8]` know no bytes that change, and here they
//! change only when hardware fails, as with memory that fails. Whoever wants to rule the disk out
//! as well takes [`SnapshotOptions::memory_only`].

use super::error::Error;
#[cfg(target_os = "linux")]
use super::map::Map;
#[cfg(target_os = "linux")]
use super::options::MapOptions;
use crate::file::snapshot::SnapshotKind;
use crate::file::snapshot::moment::Moment;
use crate::file::{Frozen, Request, freeze};
use std::ops::ControlFlow;
use std::path::Path;

/// Takes the bytes of the file at `path` as they are now. [`SnapshotOptions`] has a limit, and
/// more.
///
/// # Errors
/// As [`SnapshotOptions::take`].
#[doc(alias = "FICLONE")]
#[doc(alias = "memfd_create")]
#[doc(alias = "sigward_snapshot")]
pub fn snapshot(path: impl AsRef<Path>) -> Result<Snapshot, Error> {
    SnapshotOptions::new().take(path)
}

/// How a snapshot is taken: of a file of whatever size, cloned where the file system can, unless
/// said otherwise.
///
/// ```
/// use std::ops::ControlFlow;
/// # let own = std::process::id();
/// # let path = std::env::temp_dir().join(format!("sigward-snapshot-options-{own}"));
/// # std::fs::write(&path, [7; 1000])?;
/// let mut tell = |done, total| {
///     println!("{done} of {total} bytes");
///     ControlFlow::Continue(()) // Break: Error::Cancelled
/// };
/// let options = sigward::mapping::SnapshotOptions::new().limit(1 << 30).memory_only(true);
/// let bytes = options.progress(&mut tell).take(&path)?;
/// assert_eq!((bytes.len(), bytes.memory()), (1000, 4096));
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Default)]
pub struct SnapshotOptions<'a> {
    request: Request<'a>,
    populate: bool,
}

impl<'a> SnapshotOptions<'a> {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A file of more bytes is refused ([`crate::file::Error::TooLarge`]). Without a limit only one
    /// that has to be copied and is larger, holes included, than what the machine has available
    /// (`MemAvailable`, `SwapFree`) or the control groups of this process have left (`memory.max`,
    /// `memory.high`, `memory.limit_in_bytes`): `ENOMEM`.
    #[must_use]
    pub fn limit(mut self, bytes: u64) -> Self {
        self.request.limit = Some(bytes);
        self
    }

    /// Copies into memory also where the file system could clone.
    #[must_use]
    pub fn memory_only(mut self, yes: bool) -> Self {
        self.request.memory_only = yes;
        self
    }

    /// Reads every page of a clone at once, so that a disk that fails now is an error of taking the
    /// snapshot. The kernel may give the pages up later and read them again.
    #[must_use]
    pub fn populate(mut self, yes: bool) -> Self {
        self.populate = yes;
        self
    }

    /// Is told the bytes done and the bytes in all, at the beginning of a copy and every 256 KiB;
    /// for a clone once, at its end. `Break` ends it with [`crate::file::Error::Cancelled`]. When
    /// the file was changed meanwhile, the copy begins again at 0.
    #[must_use]
    pub fn progress(mut self, tell: &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>) -> Self {
        self.request.progress = Some(tell);
        self
    }

    /// Takes the bytes of the file at `path` as they are now. A symbolic link is followed. A file
    /// of /proc, whose length is 0, is read to its end.
    ///
    /// Thread-safe; works in a forked child; not for signal handlers. It may wait for the disk, and
    /// for a file that was changed just now: some milliseconds, and where times are whole seconds
    /// (FAT, some daemons in user space) up to two of those.
    ///
    /// # Errors
    /// Nothing is kept then. [`Error::File`] with [`TooLarge`](crate::file::Error::TooLarge),
    /// [`Cancelled`](crate::file::Error::Cancelled),
    /// [`SourceChanged`](crate::file::Error::SourceChanged) (the file was written to during each of
    /// ten attempts), [`NotAFile`](crate::file::Error::NotAFile) for a directory, pipe, socket or
    /// device, [`SizeLimit`](crate::file::Error::SizeLimit) (`RLIMIT_FSIZE` counts for copies in
    /// memory), [`System`](crate::file::Error::System) with `ENOENT`, `EACCES`, `ENOMEM`, `EMFILE`,
    /// `EIO`, …; with [`Self::populate`] [`Error::Lost`]; [`Error::System`], [`Error::Signal`] as
    /// [`Map::open`](super::Map::open).
    pub fn take(mut self, path: impl AsRef<Path>) -> Result<Snapshot, Error> {
        let frozen = freeze(path.as_ref(), &mut self.request)?;
        Snapshot::of(frozen, self.populate)
    }
}

impl std::fmt::Debug for SnapshotOptions<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SnapshotOptions")
            .field("limit", &self.request.limit)
            .field("memory_only", &self.request.memory_only)
            .field("populate", &self.populate)
            .field("progress", &self.request.progress.is_some())
            .finish()
    }
}

/// The bytes of a file as they were when the snapshot was taken, whatever happens to the file
/// since.
///
/// It dereferences to `[u8]`, and the slices live as long as it does. [`Self::kind`] and
/// [`Self::memory`] tell what it costs; a clone also keeps those blocks of the disk that the file
/// no longer has, and the file system cannot be mounted read-only meanwhile.
///
/// What remains: pages of a clone that the disk cannot give are zeros. Where that matters, ask
/// [`Self::check`] after the bytes were used, or take [`SnapshotOptions::memory_only`].
///
/// Thread-safe. In a forked child the bytes are there as well.
///
/// # References
/// ioctl_ficlone(2), memfd_create(2), open(2) (O_TMPFILE).
///
/// ```
/// # let path = std::env::temp_dir().join(format!("sigward-snapshot-{}", std::process::id()));
/// std::fs::write(&path, "the bytes of one moment")?;
/// let bytes = sigward::mapping::snapshot(&path)?;
/// std::fs::File::options().write(true).open(&path)?.set_len(0)?; // by somebody else
/// assert_eq!(std::str::from_utf8(&bytes)?, "the bytes of one moment");
/// bytes.check()?;
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Snapshot {
    #[cfg(target_os = "linux")]
    map: Map,
    #[cfg(not(target_os = "linux"))]
    bytes: Vec<u8>,
    kind: SnapshotKind,
    memory: u64,
    moment: Moment,
}

impl Snapshot {
    #[cfg(target_os = "linux")]
    fn of(frozen: Frozen, populate: bool) -> Result<Self, Error> {
        use std::os::fd::AsRawFd;
        let Frozen { file, kind, memory, moment } = frozen;
        let identity = crate::sigbus::identity::of_mappable(file.as_raw_fd())?;
        // Before Linux 6.7 a file that is sealed against writing cannot be mapped shared through a
        // descriptor that may write.
        let options =
            MapOptions { frozen: true, ..MapOptions::new() }.copy_on_write(true).populate(populate);
        let map = options.finish(file, identity, false, None)?;
        Ok(Self { map, kind, memory, moment })
    }

    #[cfg(not(target_os = "linux"))]
    #[allow(clippy::unnecessary_wraps, reason = "as on Linux")]
    fn of(frozen: Frozen, _populate: bool) -> Result<Self, Error> {
        let Frozen { bytes, kind, memory, moment } = frozen;
        Ok(Self { bytes, kind, memory, moment })
    }

    /// All bytes. The same as dereferencing.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        #[cfg(target_os = "linux")]
        // SAFETY: `len` bytes of the map, which lives as long as `self`; nobody can write to them:
        // there is no other descriptor and no name to open the file by, and the map cannot be
        // written to.
        return unsafe { std::slice::from_raw_parts(self.map.as_ptr(), self.map.len()) };
        #[cfg(not(target_os = "linux"))]
        return &self.bytes;
    }

    /// Where the bytes are.
    #[must_use]
    pub fn kind(&self) -> SnapshotKind {
        self.kind
    }

    /// Bytes of memory that the snapshot holds: for a copy in memory its length in whole pages, for
    /// a clone 0, since the kernel can give its pages up and read them again.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.memory
    }

    /// What it rests on that the bytes are of one moment: [`Moment`] has a table.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// Whether all bytes that were read before were the file's. No system call.
    ///
    /// # Errors
    /// [`Error::Lost`]: the disk could not give a page of a clone, or the memory has failed.
    pub fn check(&self) -> Result<(), Error> {
        #[cfg(target_os = "linux")]
        self.map.check(0..self.map.len())?;
        Ok(())
    }

    /// As C has it.
    #[cfg(all(feature = "capi", target_os = "linux"))]
    pub(crate) fn into_map(self) -> Map {
        self.map
    }
}

impl std::ops::Deref for Snapshot {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for Snapshot {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Snapshot")
            .field("length", &self.len())
            .field("kind", &self.kind)
            .field("memory", &self.memory)
            .field("moment", &self.moment)
            .finish_non_exhaustive()
    }
}

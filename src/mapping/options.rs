//! How a file is to be mapped.

use super::error::Error;
use super::map::Map;
use super::map_mut::MapMut;
use super::open::{self, c_path};
use crate::sigbus::identity::{self, Identity};
use crate::sigbus::registry::Facts;
use crate::sys::pages::page_size;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// How a file is to be mapped: all of it, shared, read-only, unless said otherwise.
///
/// ```
/// use sigward::mapping::MapOptions;
/// # let path = std::env::temp_dir().join(format!("sigward-options-{}", std::process::id()));
/// # std::fs::write(&path, b"0123456789")?;
/// let map = MapOptions::new().offset(2).len(5).populate(true).open(&path)?;
/// let mut bytes = [0; 5];
/// map.read_exact_at(0, &mut bytes)?;
/// assert_eq!(&bytes, b"23456");
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct MapOptions {
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) populate: bool,
    pub(super) copy_on_write: bool,
    pub(super) no_descriptor: bool,
    pub(super) capacity: u64,
    pub(super) reserve_slowly: bool,
    /// Of a copy that nobody can change; it may be empty.
    pub(super) frozen: bool,
    /// Only where the seat for SIGBUS is ours already: it is not taken for this map.
    pub(super) if_guarded: bool,
}

impl MapOptions {
    /// The whole file.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where in the file the map begins, in bytes; any byte will do.
    #[must_use]
    pub fn offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// How many bytes; 0 is up to the end that the file has now.
    #[must_use]
    pub fn len(mut self, length: u64) -> Self {
        self.length = length;
        self
    }

    /// Reads every page in at once, so that a page that cannot be had is an error of opening.
    #[must_use]
    pub fn populate(mut self, populate: bool) -> Self {
        self.populate = populate;
        self
    }

    /// Writes stay in this process (`MAP_PRIVATE`). Pages that were written to are lost by a
    /// truncation as well.
    #[must_use]
    pub fn copy_on_write(mut self, private: bool) -> Self {
        self.copy_on_write = private;
        self
    }

    /// Keeps no file descriptor: for very many maps. Causes are
    /// [`Cause::Unknown`](super::Cause::Unknown) then, lost pages are met and replaced one by one
    /// (a signal each), and `verify` looks at the path alone.
    #[must_use]
    pub fn no_descriptor(mut self, none: bool) -> Self {
        self.no_descriptor = none;
        self
    }

    /// Keeps address space for so many bytes, counted from the file's start, so that the map can
    /// grow in place ([`MapMut::grow_in_place`]) or follow a file that somebody else makes longer
    /// ([`Map::follow`]): no address changes and no reader waits. It costs no memory, only
    /// addresses, so ask for plenty. A file that is longer already is mapped whole. With a capacity
    /// an empty file can be mapped as well.
    ///
    /// For whole files only: not with [`offset`](Self::offset), [`len`](Self::len),
    /// [`copy_on_write`](Self::copy_on_write) or [`no_descriptor`](Self::no_descriptor), and not on
    /// hugetlbfs. `ENOMEM` or `EAGAIN` of opening say that the addresses cannot be had:
    /// `RLIMIT_AS`, or `RLIMIT_MEMLOCK` after mlockall(2) with `MCL_FUTURE`, which counts all of
    /// it.
    #[must_use]
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.capacity = bytes;
        self
    }

    /// Where the file system cannot promise blocks (ext2, some network file systems), growing
    /// writes zeros instead of failing: see [`reserve_slowly`](crate::file::reserve_slowly) for
    /// what that costs.
    #[must_use]
    pub fn reserve_slowly(mut self, slowly: bool) -> Self {
        self.reserve_slowly = slowly;
        self
    }

    /// With as much room as a map that has grown has.
    pub(super) fn with_room_of(mut self, facts: &Facts) -> Self {
        if facts.grows {
            self.capacity = self.capacity.max(facts.capacity as u64);
        }
        self
    }

    /// Takes no seat for it: where a fault would not come to us, making the map fails with
    /// [`Error::Signal`].
    pub(crate) fn if_guarded(mut self) -> Self {
        self.if_guarded = true;
        self
    }

    /// Maps the file at `path` for reading.
    ///
    /// # Errors
    /// As [`Map::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Map, Error> {
        self.open_path(c_path(path.as_ref())?, false)
    }

    /// Maps the file at `path` for reading and writing.
    ///
    /// # Errors
    /// As [`Map::open`].
    pub fn open_mut(self, path: impl AsRef<Path>) -> Result<MapMut, Error> {
        self.open_path(c_path(path.as_ref())?, true).map(MapMut)
    }

    /// Maps an open file for reading; a duplicate of its descriptor is kept, the file need not stay
    /// open.
    ///
    /// # Errors
    /// As [`Map::open`].
    pub fn map(self, file: impl AsFd) -> Result<Map, Error> {
        self.of_descriptor(file.as_fd(), false)
    }

    /// Maps an open file for reading and writing; it must have been opened for both, unless the map
    /// is copy-on-write.
    ///
    /// # Errors
    /// As [`Map::open`].
    pub fn map_mut(self, file: impl AsFd) -> Result<MapMut, Error> {
        self.of_descriptor(file.as_fd(), true).map(MapMut)
    }

    pub(crate) fn open_path(self, path: CString, write: bool) -> Result<Map, Error> {
        let (file, identity) = open::open(&path, write && !self.copy_on_write)?;
        self.finish(file, identity, write, Some(path))
    }

    pub(crate) fn of_descriptor(self, file: BorrowedFd<'_>, write: bool) -> Result<Map, Error> {
        let identity = identity::of_mappable(file.as_raw_fd())?;
        let own = file.try_clone_to_owned().map_err(|error| Error::of(&error, "fcntl"))?;
        self.finish(own, identity, write, None)
    }

    pub(super) fn finish(
        self,
        file: OwnedFd,
        identity: Identity,
        write: bool,
        path: Option<CString>,
    ) -> Result<Map, Error> {
        let map = Map::make(self, file, identity, write, path)?;
        if self.populate {
            map.populate(0..map.len())?;
        }
        Ok(map)
    }
}

/// The bytes that the options ask for, if the file has them.
pub(super) fn length_of(options: &MapOptions, identity: &Identity) -> Result<usize, Error> {
    if identity.length == 0 {
        let may_be_empty = options.capacity != 0 || options.frozen;
        return if may_be_empty { Ok(0) } else { Err(Error::Empty) };
    }
    let end = match options.length {
        0 => identity.length,
        length => options.offset.checked_add(length).ok_or(Error::Overflow)?,
    };
    if options.offset >= identity.length || end > identity.length {
        return Err(Error::PastEnd { length: identity.length });
    }
    isize::try_from(end - options.offset).map(isize::unsigned_abs).map_err(|_| Error::Overflow)
}

/// How many bytes the map may ever have.
pub(super) fn capacity_of(
    options: &MapOptions,
    length: usize,
    granule: usize,
) -> Result<usize, Error> {
    if options.capacity == 0 {
        return Ok(length);
    }
    if options.offset != 0 || options.length != 0 || options.copy_on_write || options.no_descriptor
    {
        return Err(Error::Invalid(
            "a map of a part, a private one, or one without descriptor cannot grow",
        ));
    }
    // There a mapping makes the file itself longer (`hugetlbfs_file_mmap` in the kernel's
    // fs/hugetlbfs/inode.c).
    if granule != page_size() {
        return Err(Error::Invalid("a map of huge pages cannot grow"));
    }
    let capacity = usize::try_from(options.capacity).map_err(|_| Error::Overflow)?;
    Ok(capacity.max(length))
}

//! Opening a log: made anew, or recovered.

use super::bytes::Bytes;
use super::disk::{self, Locked, Named};
use super::error::Error;
use super::format::{self, COPIES, FIRST, Header, NoHeader, PREFIX, SLOTS, UNIT};
use super::scan::{self, End, Patience, Source};
use super::space::Growth;
use super::writer::{Log, Opened};
use crate::file::{Error as SpaceError, reserve, reserve_slowly};
use crate::mapping;
use crate::sys::call::data_in;
use crate::sys::pages::page_size;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Addresses for a log unless said otherwise.
const CAPACITY: u64 = if usize::BITS >= 64 { 64 << 30 } else { 256 << 20 };

/// Where so many cannot be had (`RLIMIT_AS`), these many will do.
pub(super) const LEAST: u64 = 1 << 20;

/// How a log is opened.
///
/// ```
/// use sigward::log::LogOptions;
/// # let path = std::env::temp_dir().join(format!("sigward-log-options-{}", std::process::id()));
/// let log = LogOptions::new().capacity(1 << 30).step(64 << 10).open(&path)?;
/// assert_eq!(log.recovery().records, 0);
/// # drop(log);
/// # std::fs::remove_file(&path).map_err(Box::new)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct LogOptions {
    capacity: u64,
    step: u64,
    slow_zeros: bool,
    discard_after_torn: bool,
}

/// What opening found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// How many whole records there are.
    pub records: u64,
    /// Where the next one will be: bytes from the start of the file.
    pub end: u64,
    /// Up to where everything was known to be on the disk: bytes from the start of the file.
    pub durable: u64,
    /// What was behind the last whole record and is zeros now; none after an orderly end.
    pub torn: Option<Torn>,
}

/// The remains of records that were being written when the process or the machine died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Torn {
    /// Where they began: bytes from the start of the file.
    pub offset: u64,
    /// From there to the last byte that was not zero.
    pub bytes: u64,
}

impl LogOptions {
    /// 64 GiB of addresses, growth by an eighth, no zeros.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the log can become while it is open, in bytes; 0: 64 GiB, or four times what there
    /// is if that is more; where the process cannot have so many addresses (`RLIMIT_AS`), at most
    /// half of what it can. It costs addresses, neither memory nor disk. A smaller one than the
    /// file's length counts as that.
    #[must_use]
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.capacity = bytes;
        self
    }

    /// How many bytes to reserve at a time; 0: an eighth of what there is, 1 MiB at least and 64
    /// MiB at most. Less is taken near the disk's end.
    #[must_use]
    pub fn step(mut self, bytes: u64) -> Self {
        self.step = bytes;
        self
    }

    /// Where the file system cannot promise blocks (ext2, some network file systems), write zeros,
    /// which takes as long as it takes.
    #[must_use]
    pub fn slow_zeros(mut self, slow: bool) -> Self {
        self.slow_zeros = slow;
        self
    }

    /// What to do about a torn record above the durable watermark that whole ones follow: a
    /// machine that stopped may have written the later ones first. Opening fails with
    /// [`Error::Damaged`] and changes nothing ([`salvage`](super::salvage) copies out what is
    /// whole); with this the log ends before the torn record, and those behind it, none of which
    /// was flushed, are overwritten.
    #[must_use]
    pub fn discard_after_torn(mut self, discard: bool) -> Self {
        self.discard_after_torn = discard;
        self
    }

    /// Opens the log at `path`, or makes it (rw-rw-rw- less umask); a symbolic link is followed.
    ///
    /// # Errors
    /// [`Error::Busy`]: another writer. [`Error::NotALog`], [`Error::Version`], [`Error::Damaged`]:
    /// the file is left as it is. [`Error::Space`]: no room for the first page of a new log; an
    /// empty file stays, as somebody else may have begun with it already. [`Error::Map`]: a
    /// directory, a pipe, a device; no addresses for the capacity; bytes that are lost meanwhile.
    /// [`Error::System`] with what open(2), flock(2) or fsync(2) say.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Log, Error> {
        let path = path.as_ref();
        if isize::try_from(self.capacity).is_err() {
            let errno = libc::EOVERFLOW;
            return Err(Error::Map(mapping::Error::System { call: "mmap", errno }));
        }
        let file = locked(path)?;
        let opened = self.prepare(&file, path)?;
        Ok(Log::of(file, opened))
    }

    fn prepare(self, file: &Locked, path: &Path) -> Result<Opened, Error> {
        mapping::check_mappable(file)?;
        let length = disk::length(file)?;
        if length == 0 {
            disk::write_in_place(file);
        }
        // Also zeros that are too short: an earlier beginning ran out of room.
        if length < FIRST && disk::is_blank(file, length)? {
            self.reserve(file, 0, FIRST)?;
        }
        let length = disk::length(file)?;
        let wanted = match self.capacity {
            0 => CAPACITY.max(length.saturating_mul(4)),
            given => given.max(length).max(FIRST + PREFIX),
        };
        let least = if self.capacity == 0 { length + LEAST } else { wanted };
        let (bytes, capacity) = Bytes::of(file, true, wanted, least)?;
        let named = Named::of(path, file);
        // An error that nobody was told yet is not about what is flushed from now on; and what it
        // is about is written again below.
        let _ = disk::sync(file);
        let header = match read_header(&bytes)? {
            Ok(header) => {
                if header.watermark == Some(FIRST) {
                    // Nothing was flushed yet: whoever began it may have been refused.
                    renew(&bytes, file, 0..FIRST)?;
                }
                header
            }
            Err(NoHeader::Blank) => {
                let salt = RandomState::new().build_hasher().finish() as u32;
                begin(&bytes, file, salt)?;
                named.as_ref().map_err(|error| *error)?.sync(file)?;
                Header { salt, watermark: Some(FIRST), slot: 1, good: [true; 2] }
            }
            Err(other) => return Err(other.into()),
        };
        let watermark = header.watermark.ok_or(Error::Damaged { offset: SLOTS[0] })?;
        let mut found = self.settle(&bytes, file, header.salt, watermark)?;
        // What was written again is on the disk now, and may be less than was read before: the page
        // cache drops at any time what it alone knows.
        while let Err(error) = scan::check(&bytes, header.salt, found.0.durable..found.0.position) {
            let before = found;
            found = self.settle(&bytes, file, header.salt, watermark)?;
            if found.0.position >= before.0.position {
                return Err(error);
            }
            found.1 = found.1.or(before.1);
        }
        let (end, torn) = found;
        mend(file, &header, end.durable)?;
        // Not before: the header may be there since a moment ago only.
        let witness = end.witness(&bytes)?;
        let recovery =
            Recovery { records: end.records, end: end.position, durable: end.durable, torn };
        let growth = Growth::new(self.step, capacity, page_size() as u64);
        let (named, slow_zeros) = (named.ok(), self.slow_zeros);
        Ok(Opened { bytes, header, recovery, witness, named, slow_zeros, growth })
    }

    /// Finds the end, and makes it the end on the disk as well.
    fn settle(
        self,
        bytes: &Bytes,
        file: &File,
        salt: u32,
        watermark: u64,
    ) -> Result<(End, Option<Torn>), Error> {
        let end = scan::find_end(bytes, salt, watermark)?;
        if bytes.len() < end.position {
            // The last record's padding was cut off.
            self.reserve(file, bytes.len(), end.position - bytes.len())?;
            bytes.follow()?;
        }
        let torn = written(bytes, file, end.position)?;
        if let Some(range) = torn.clone().filter(|_| !self.discard_after_torn) {
            // Position and salt are in the sum: such a record is this log's, and nobody has given
            // it up.
            nothing_whole(bytes, file, salt, end.position + UNIT..range.end)
                .map_err(|()| Error::Damaged { offset: end.position })?;
        }
        self.forget_behind(bytes, file, end.position);
        let torn = torn.map(|range| scrub(bytes, file, end.position, range)).transpose()?;
        renew(bytes, file, end.durable..end.position)?;
        Ok((end, torn))
    }

    /// Gives whole pages behind the end back, with what the kernel knows of them, also where they
    /// are zeros: see `renew`.
    fn forget_behind(self, bytes: &Bytes, file: &File, end: u64) {
        let (behind, length) = (page_end(end), bytes.len());
        if data_in(file.as_fd(), behind..length).is_some() {
            disk::give_back(file, behind, length);
            if end + PREFIX > behind {
                // Readers look there, and the block was there a moment ago.
                let _ = self.reserve(file, behind, PREFIX.min(length - behind));
            }
        }
    }

    fn reserve(self, file: &File, offset: u64, count: u64) -> Result<(), Error> {
        let reserved = match reserve(file, offset, count) {
            Err(SpaceError::NoPromise) if self.slow_zeros => reserve_slowly(file, offset, count),
            other => other,
        };
        reserved.map(drop).map_err(Error::Space)
    }
}

impl From<NoHeader> for Error {
    fn from(found: NoHeader) -> Self {
        match found {
            NoHeader::Blank => Self::Map(mapping::Error::Empty),
            NoHeader::Foreign => Self::NotALog,
            NoHeader::Version(found) => Self::Version { found },
            NoHeader::Damaged => Self::Damaged { offset: COPIES[0] },
        }
    }
}

/// The file, locked, and still the one that has the name.
fn locked(path: &Path) -> Result<Locked, Error> {
    loop {
        let file = Locked::of(disk::open_or_make(path)?)?;
        let ours = file.metadata().map_err(|error| Error::of("fstat", &error))?;
        match std::fs::metadata(path) {
            Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => return Ok(file),
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => {
                return Err(Error::of("stat", &error));
            }
            _ => {}
        }
    }
}

pub(super) fn read_header(bytes: &Bytes) -> Result<Result<Header, NoHeader>, Error> {
    let mut page = vec![0; bytes.len().min(FIRST) as usize];
    bytes.read(0, &mut page)?;
    Ok(format::read_header(&page))
}

/// Makes a log of a file of zeros, which must be nothing but zeros.
fn begin(bytes: &Bytes, file: &File, salt: u32) -> Result<(), Error> {
    if bytes.len() < FIRST || written(bytes, file, FIRST)?.is_some() {
        return Err(Error::NotALog);
    }
    for copy in [1, 0] {
        disk::write_header(file, COPIES[copy], &format::header(salt, copy))?;
    }
    disk::sync(file).map_err(|errno| Error::System { call: "fdatasync", errno })
}

/// Writes the copies of the header that are damaged again, with the watermark.
fn mend(file: &File, header: &Header, watermark: u64) -> Result<(), Error> {
    let damaged = (0..COPIES.len()).filter(|copy| !header.good[*copy]);
    let damaged: Vec<usize> = damaged.filter(|_| !disk::is_limited()).collect();
    for copy in &damaged {
        let salt = header.salt;
        disk::write_header(file, SLOTS[*copy], &format::slot(salt, watermark))?;
        disk::write_header(file, COPIES[*copy], &format::header(salt, *copy))?;
    }
    if !damaged.is_empty() {
        disk::sync(file).map_err(|errno| Error::System { call: "fdatasync", errno })?;
    }
    Ok(())
}

/// Whether no record in the range counts.
fn nothing_whole(
    bytes: &Bytes,
    file: &File,
    salt: u32,
    range: std::ops::Range<u64>,
) -> Result<(), ()> {
    let mut patience = Patience::of(disk::there(file));
    let mut at = range.start;
    while let Some(data) = data_in(file.as_fd(), at..range.end) {
        at = data.end;
        match scan::find_record(bytes, salt, data, &mut patience) {
            Ok(None) => {}
            _ => return Err(()),
        }
    }
    Ok(())
}

/// From the first to behind the last byte after `start` that is not zero.
fn written(bytes: &Bytes, file: &File, start: u64) -> Result<Option<std::ops::Range<u64>>, Error> {
    let length = bytes.len();
    let mut found: Option<std::ops::Range<u64>> = None;
    let mut at = start;
    while let Some(data) = data_in(file.as_fd(), at..length) {
        at = data.end;
        if let Some(part) = scan::not_zero(bytes, data)? {
            found = Some(found.map_or(part.start, |found| found.start)..part.end);
        }
    }
    Ok(found)
}

/// Zeros behind the end: a torn record must not come to life again behind a shorter new one. They
/// are on the disk before anything is appended.
fn scrub(bytes: &Bytes, file: &File, end: u64, range: std::ops::Range<u64>) -> Result<Torn, Error> {
    zero(bytes, end..range.end.min(page_end(end)))?;
    let mut at = range.start.max(page_end(end));
    while let Some(data) = data_in(file.as_fd(), at..range.end) {
        zero(bytes, data.clone())?;
        at = data.end;
    }
    disk::sync(file).map_err(|errno| Error::System { call: "fdatasync", errno })?;
    Ok(Torn { offset: end, bytes: range.end - end })
}

fn page_end(offset: u64) -> u64 {
    offset.next_multiple_of(page_size() as u64)
}

/// Stores zeros where there are none.
fn zero(bytes: &Bytes, range: std::ops::Range<u64>) -> Result<(), Error> {
    const CHUNK: usize = 1 << 16;
    let zeros = vec![0; CHUNK];
    let mut at = range.start;
    while at < range.end {
        let part = at..(at + CHUNK as u64).min(range.end);
        if let Some(dirty) = scan::not_zero(bytes, part.clone())? {
            let count = (dirty.end - dirty.start) as usize;
            // SAFETY: opened for writing; this is the only writer, and nobody reads what is behind
            // the log's end.
            unsafe { bytes.write(dirty.start, &zeros[..count]) }?;
        }
        at = part.end;
    }
    Ok(())
}

/// Writes what lies in the range again, with the bytes that it has, past the page cache.
///
/// A write to the disk that failed leaves pages that look written, and only the page cache knows
/// their bytes. Whoever has flushed then was told; who opens the log now was not, and the next
/// flush would find nothing to do. To write the same bytes into the cache again is not enough: ext4
/// then writes the blocks, and goes on believing that these were never written (seen on 6.18).
/// Where nothing can be written past the cache there are mostly no disks, and stores have to do.
///
/// What is written past the cache is dropped from it, by whole folios, so what no other place has
/// is read before: no part ends within a folio. After a failure it is put back.
fn renew(bytes: &Bytes, file: &File, range: std::ops::Range<u64>) -> Result<(), Error> {
    if range.is_empty() {
        return Ok(());
    }
    let page = page_size();
    let start = range.start / page as u64 * page as u64;
    let end = page_end(range.end);
    let most = largest_folio(page as u64);
    let mut room = vec![0; most.min(end - start) as usize + page];
    let aligned = room.as_ptr().align_offset(page);
    let room = &mut room[aligned..];
    let mut at = start;
    while at < end {
        let count = (end - at).min(most - at % most);
        let there = (bytes.len() - at).min(count) as usize;
        room[there..].fill(0);
        bytes.read(at, &mut room[..there])?;
        let written = disk::write_past_cache(file, at, &room[..count as usize]);
        if written != Ok(true) {
            // SAFETY: opened for writing; this is the only writer, and the bytes are those that are
            // there, or were.
            unsafe { bytes.write(at, &room[..there]) }?;
        }
        if written? && there < count as usize {
            // The last page has ended behind the file, which stays as long as it was.
            let cut = nix::unistd::ftruncate(file, bytes.len() as _);
            cut.map_err(|errno| Error::System { call: "ftruncate", errno: errno as i32 })?;
        }
        at += count;
    }
    Ok(())
}

/// The page cache has no larger folio, and has each at a multiple of its size: as many pages as one
/// page has entries for, and no more than the kernel's arrays allow.
fn largest_folio(page: u64) -> u64 {
    page * (page / 8).min(1 << 11)
}

//! The reader: reads along while a log is written, in the same process or another, without locks.
//!
//! It sees a record when its length and sum are there, which the writer stores last, and believes
//! it when the sum is right. Nothing, or a record whose sum is wrong, is the end for now if it lies
//! above the durable watermark: what a dead writer has left, and the next one scrubs. Below it is
//! damage. The watermark can go up while a reader looks, so what was found counts as damage only if
//! it is found again after the watermark was read.

use super::bytes::Bytes;
use super::error::Error;
use super::format::{self, FIRST, PREFIX, Prefix, SLOTS, UNIT};
use super::open::{LEAST, read_header};
use super::scan::{self, Source};
use crate::mapping;
use crate::sys::kept::Kept;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Room for a log to grow before the reader maps it anew.
const AHEAD: u64 = if usize::BITS >= 64 { 64 << 30 } else { 64 << 20 };

/// A record that is summed up before there is memory for it.
const LONG: usize = 1 << 20;

/// Reads a log's records one after the other.
///
/// There is no call that waits for the next record: ask again. For one thread at a time; [`Send`].
/// In a forked child it works, and is the child's own. Not for signal handlers.
///
/// ```
/// use sigward::log::{Log, Reader};
/// # let path = std::env::temp_dir().join(format!("sigward-log-reader-{}", std::process::id()));
/// let log = Log::open(&path)?;
/// let mut reader = Reader::open(&path)?;
/// let mut record = Vec::new();
/// assert_eq!(reader.next(&mut record)?, None);
/// log.append(b"later")?;
/// assert!(reader.next(&mut record)?.is_some());
/// assert_eq!(record, b"later");
/// # drop(log);
/// # std::fs::remove_file(&path).map_err(Box::new)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[doc(alias = "sigward_log_reader_open")]
pub struct Reader {
    bytes: Bytes,
    capacity: u64,
    file: Kept,
    salt: u32,
    position: u64,
}

fn bytes_of(file: &File, length: u64) -> Result<(Bytes, u64), Error> {
    Bytes::of(file, false, length + AHEAD, length + LEAST)
}

impl Reader {
    /// Opens the log at `path` for reading, from the first record on. No lock is taken.
    ///
    /// # Errors
    /// [`Error::NotALog`], [`Error::Version`], [`Error::Damaged`] if not even the header can be
    /// read. [`Error::Map`]: the file is empty or nobody has begun the log yet (`ENODATA`), a
    /// directory, a pipe, a device. [`Error::System`] with what open(2) says.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)
            .map_err(|error| Error::of("open", &error))?;
        Self::of(file)
    }

    pub(super) fn of(file: File) -> Result<Self, Error> {
        mapping::check_mappable(&file)?;
        let length = super::disk::length(&file)?;
        if length == 0 {
            return Err(Error::Map(mapping::Error::Empty));
        }
        let (bytes, capacity) = bytes_of(&file, length)?;
        let header = read_header(&bytes)??;
        if header.watermark.is_none() {
            return Err(Error::Damaged { offset: SLOTS[0] });
        }
        let (salt, file) = (header.salt, Kept::of(file)?);
        Ok(Self { bytes, capacity, file, salt, position: FIRST })
    }

    /// Copies the next record into `record`, whose contents it replaces, and returns its position;
    /// none if there is no further one for now.
    ///
    /// # Errors
    /// [`Error::Damaged`] if what was there was durable once and is not, or not as it was written;
    /// [`Error::Map`] if bytes of the file are lost, because somebody has cut it. The reader stays
    /// where it is then.
    pub fn next(&mut self, record: &mut Vec<u8>) -> Result<Option<u64>, Error> {
        record.clear();
        self.sure(|reader| {
            let Some(length) = reader.length_if_whole()? else { return Ok(None) };
            // Memory for a long one only if it is one.
            let mut room = vec![0; if length > LONG { LONG / 16 } else { 0 }];
            let (salt, position) = (reader.salt, reader.position);
            if length > LONG && scan::record_at(&reader.bytes, salt, position, &mut room)?.is_none()
            {
                return Ok(None);
            }
            record.resize(length, 0);
            let taken = reader.copy(record)?;
            if taken.is_none() {
                record.clear();
            }
            Ok(taken)
        })
    }

    /// Bytes of the record that is next; none if there is none for now. It may still turn out to be
    /// none when it is read.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub fn length_of_next(&mut self) -> Result<Option<usize>, Error> {
        self.sure(Self::length_if_whole)
    }

    /// Copies the next record into as many bytes as it has.
    #[cfg(feature = "capi")]
    pub(crate) fn take(&mut self, record: &mut [u8]) -> Result<Option<u64>, Error> {
        self.sure(|reader| reader.copy(record))
    }

    fn copy(&mut self, record: &mut [u8]) -> Result<Option<u64>, Error> {
        let position = self.position;
        let number = self.bytes.number(position)?;
        match format::read_prefix(number) {
            Prefix::Record(length) if length as usize == record.len() => {}
            _ => return Ok(None),
        }
        if self.bytes.number(position + UNIT)?
            != format::place(self.salt, position, record.len() as u32)
        {
            return Ok(None);
        }
        self.bytes.read(position + PREFIX, record)?;
        let mut sum = format::begin(self.salt);
        sum.update(record);
        if format::prefix(sum, position, record.len() as u32) != number {
            return Ok(None);
        }
        self.position += format::size_of_record(record.len());
        Ok(Some(position))
    }

    /// Where the next record is or will be: bytes from the start of the file.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes to a position that an append or a reader returned. At any other one there is no record,
    /// or damage: a sum that is right is right only for its place.
    ///
    /// # Errors
    /// [`Error::Map`] (`EINVAL`) if no record can begin there.
    pub fn seek(&mut self, position: u64) -> Result<(), Error> {
        if position < FIRST || !position.is_multiple_of(UNIT) || isize::try_from(position).is_err()
        {
            return Err(Error::Map(mapping::Error::Invalid("no record begins at such a position")));
        }
        self.position = position;
        Ok(())
    }

    /// The length that the next record has, if it is one.
    fn length_if_whole(&mut self) -> Result<Option<usize>, Error> {
        if !self.reaches(self.position + PREFIX)? {
            return Ok(None);
        }
        let Prefix::Record(length) = format::read_prefix(self.bytes.number(self.position)?) else {
            return Ok(None);
        };
        // Whoever has made up a length gets no memory for it.
        if self.bytes.number(self.position + UNIT)?
            != format::place(self.salt, self.position, length)
        {
            return Ok(None);
        }
        let is_there = self.reaches(self.position + PREFIX + u64::from(length))?;
        Ok(is_there.then_some(length as usize))
    }

    /// Whether there are bytes up to `end`, the file having grown perhaps.
    fn reaches(&mut self, end: u64) -> Result<bool, Error> {
        if end <= self.bytes.len() {
            return Ok(true);
        }
        let length = self.file.length()?;
        if length > self.capacity {
            (self.bytes, self.capacity) = bytes_of(&self.file, length)?;
        } else {
            self.bytes.follow()?;
        }
        Ok(end <= self.bytes.len())
    }

    /// What is found; nothing only above the watermark.
    fn sure<T>(
        &mut self,
        mut find: impl FnMut(&mut Self) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let found = find(self)?;
        if found.is_some() || self.position >= self.watermark()? {
            return Ok(found);
        }
        // It was there when the watermark was written. But did we look before?
        find(self)?.map(Some).ok_or(Error::Damaged { offset: self.position })
    }

    fn watermark(&self) -> Result<u64, Error> {
        // Else it is being written.
        Ok(read_header(&self.bytes)?.ok().and_then(|header| header.watermark).unwrap_or(FIRST))
    }

    /// Everything before this position is on the disk, and survives a power failure: bytes from the
    /// start of the file. The writer's flushes make it greater.
    ///
    /// # Errors
    /// [`Error::Map`] if bytes of the file are lost.
    pub fn durable(&self) -> Result<u64, Error> {
        self.watermark()
    }
}

#[cfg(test)]
mod tests {
    use super::super::writer::Log;
    use super::*;

    /// The one moment that no test from outside can choose.
    #[test]
    fn what_becomes_durable_between_the_look_and_the_watermark_is_no_damage() {
        let path = std::env::temp_dir().join(format!("sigward-log-between-{}", std::process::id()));
        let log = Log::open(&path).unwrap();
        let mut reader = log.reader().unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut looks = 0;
        let found = reader.sure(|reader| {
            let length = reader.length_if_whole()?;
            looks += 1;
            if looks == 1 {
                assert_eq!(length, None);
                log.append(b"a record")?;
                assert_eq!(log.flush(), Err(Error::Moved)); // it is on the disk
            }
            Ok(length)
        });
        assert_eq!((found, looks), (Ok(Some(8)), 2));
    }
}

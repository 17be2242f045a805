//! What of a log is good, and copying that out. Both only read the log, and read past what is
//! damaged.
//!
//! They use pread(2) and no map: a page that the disk cannot read is lost to a map for good, here
//! it is damage like any other.

use super::error::Error;
use super::format::{self, FIRST, PREFIX};
use super::scan::{self, Patience, Source};
use super::writer::Log;
use crate::mapping;
use crate::sys::call::data_in;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// What a log's file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// How many copies of the header are as they were written, of two.
    pub headers: u32,
    /// How many whole records there are, before and behind damage.
    pub records: u64,
    /// Where the last of them ends: bytes from the start of the file.
    pub end: u64,
    /// Up to where everything was on the disk once; the start of the records if nobody can tell.
    pub durable: u64,
    /// How many places are damaged: below the watermark, or with whole records behind them.
    pub damaged: u64,
    /// Where the first of them begins; 0 if there is none.
    pub first_damage: u64,
    /// How many bytes they have together.
    pub lost: u64,
    /// Bytes behind the end that are no record: what was being written when the process or the
    /// machine died, or is being written now.
    pub torn: u64,
}

impl Check {
    /// Whether everything that was ever acknowledged can be had: opening it succeeds.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.headers > 0 && self.damaged == 0
    }
}

/// Looks at every record of the log at `path`. It takes no lock and changes nothing; what a writer
/// appends meanwhile may be seen or not.
///
/// ```
/// use sigward::log::{Log, check};
/// # let path = std::env::temp_dir().join(format!("sigward-log-check-{}", std::process::id()));
/// let log = Log::open(&path)?;
/// log.append(b"a record")?;
/// log.close()?;
/// let found = check(&path)?;
/// assert!(found.is_sound() && found.records == 1 && found.durable == found.end);
/// # std::fs::remove_file(&path).map_err(Box::new)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::NotALog`], [`Error::Version`], [`Error::Damaged`] if no copy of the header can be
/// read; [`Error::Map`] (`ENODATA`) if nobody has begun a log there; [`Error::System`] with what
/// open(2) says. Damage further behind is no error: it is told.
#[doc(alias = "sigward_log_check")]
pub fn check(path: impl AsRef<Path>) -> Result<Check, Error> {
    walk(&Image::open(path.as_ref())?, |_, _| Ok(()))
}

/// Copies all whole records of the log at `from`, in their order, into a new log at `to`, and says
/// what was found. `from` is only read; in `to` they have other positions.
///
/// # Errors
/// As [`check`] and [`Log::append`]; [`Error::System`] (`EEXIST`) if there is a file at `to`. On
/// failure what was copied so far stays there.
#[doc(alias = "sigward_log_salvage")]
pub fn salvage(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Check, Error> {
    let (image, to) = (Image::open(from.as_ref())?, to.as_ref());
    // Before a file is made: is it a log at all?
    image.header()?;
    File::create_new(to).map_err(|error| Error::of("open", &error))?;
    let log = Log::open(to)?;
    let mut record = Vec::new();
    let found = walk(&image, |position, length| {
        record.resize(length, 0);
        image.read(position + PREFIX, &mut record)?;
        log.append(&record).map(drop)
    })?;
    log.close()?;
    Ok(found)
}

/// Goes through all of it; `whole` is told of each record: where it is, and how long.
fn walk(
    image: &Image,
    mut whole: impl FnMut(u64, usize) -> Result<(), Error>,
) -> Result<Check, Error> {
    let header = image.header()?;
    let salt = header.salt;
    let durable = header.watermark.unwrap_or(FIRST);
    let headers = header.good.iter().map(|good| u32::from(*good)).sum();
    let mut found = Check {
        headers,
        records: 0,
        end: FIRST,
        durable,
        damaged: 0,
        first_damage: 0,
        lost: 0,
        torn: 0,
    };
    let mut patience = Patience::of(super::disk::there(&image.file));
    let mut room = vec![0; 1 << 16];
    let mut position = FIRST;
    loop {
        if let Some(size) = scan::record_at(image, salt, position, &mut room)? {
            whole(position, image.length_at(position)?)?;
            position += size;
            (found.records, found.end) = (found.records + 1, position);
            continue;
        }
        let next = image.next_record(salt, position + format::UNIT, &mut patience)?;
        // What was durable and is nothing now is damage as well.
        let end = next.map_or(durable.max(position), |next| next.position);
        if end > position {
            if found.damaged == 0 {
                found.first_damage = position;
            }
            (found.damaged, found.lost) = (found.damaged + 1, found.lost + (end - position));
        }
        position = end;
        if !next.is_some_and(|next| next.is_sure) {
            break;
        }
    }
    found.torn = image.last_written(position)?.map_or(0, |last| last - position);
    Ok(found)
}

/// A file as it is.
struct Image {
    file: File,
    length: u64,
}

impl Image {
    fn open(path: &Path) -> Result<Self, Error> {
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let file = options.open(path).map_err(|error| Error::of("open", &error))?;
        mapping::check_mappable(&file)?;
        let length = super::disk::length(&file)?;
        Ok(Self { file, length })
    }

    fn header(&self) -> Result<format::Header, Error> {
        let mut start = vec![0; self.length.min(FIRST) as usize];
        self.read(0, &mut start)?;
        Ok(format::read_header(&start)?)
    }

    /// Of a record that counts.
    fn length_at(&self, position: u64) -> Result<usize, Error> {
        let mut number = [0; 8];
        self.read(position, &mut number)?;
        match format::read_prefix(u64::from_le_bytes(number)) {
            format::Prefix::Record(length) => Ok(length as usize),
            _ => Err(Error::Damaged { offset: position }),
        }
    }

    fn next_record(
        &self,
        salt: u32,
        start: u64,
        patience: &mut Patience,
    ) -> Result<Option<scan::Found>, Error> {
        let mut at = start;
        while let Some(data) = data_in(self.file.as_fd(), at..self.length) {
            at = data.end;
            let found = scan::find_record(self, salt, data, patience)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Behind the last byte after `start` that is not zero.
    fn last_written(&self, start: u64) -> Result<Option<u64>, Error> {
        let (mut at, mut last) = (start, None);
        while let Some(data) = data_in(self.file.as_fd(), at..self.length) {
            at = data.end;
            last = scan::not_zero(self, data)?.map_or(last, |part| Some(part.end));
        }
        Ok(last)
    }

    /// As much as the disk gives; what it does not give is zeros.
    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                // Somebody has cut it.
                Ok(0) => {
                    buffer[done..].fill(0);
                    return Ok(());
                }
                Ok(count) => done += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::of("pread", &error)),
            }
        }
        Ok(())
    }
}

impl Source for Image {
    fn len(&self) -> u64 {
        self.length
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        match self.read_some(offset, buffer) {
            Err(Error::System { errno: libc::EIO, .. }) => {}
            read => return read,
        }
        // Only the blocks that cannot be read are lost.
        let mut rest = buffer;
        let mut at = offset;
        while !rest.is_empty() {
            let count = rest.len().min(512 - (at % 512) as usize);
            let (block, later) = rest.split_at_mut(count);
            match self.read_some(at, block) {
                Err(Error::System { errno: libc::EIO, .. }) => block.fill(0),
                read => read?,
            }
            (at, rest) = (at + count as u64, later);
        }
        Ok(())
    }
}

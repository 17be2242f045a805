//! The bytes of a log's file, had in one of two ways. Which one is decided when the file is opened.
//!
//! | way | when | an append | a cut of the file |
//! |---|---|---|---|
//! | a guarded map | our handler for SIGBUS is on top | a copy into memory | a fault, which our handler takes |
//! | pread(2) and pwrite(2) | else | some system calls | an error of the call |
//!
//! A log takes no seat: a map whose faults nobody catches would be the death of the process. A seat
//! that is ours cannot be left while the map is there ([`crate::mapping::restore`]).
//!
//! Both ways show the same page cache, so it is nothing to a reader which one the writer has. What
//! a reader waits for, the number before a record, is written last in both: here by a store with
//! release, there by a call of its own. Only there it may be seen in part, and then it is none
//! that counts.

use super::disk;
use super::error::Error;
use super::format::{self, PREFIX, UNIT};
use super::scan::{Source, Witness};
use crate::file::Error as SpaceError;
use crate::mapping::{self, Cause, Fault, Map, MapOptions};
use crate::sys::kept::Kept;
use crate::sys::pages::LEAST_PAGE as PAGE;
use crate::sys::undisturbed::within_limit;
use std::ffi::c_int;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(super) enum Bytes {
    Mapped(Map),
    Plain(Plain),
}

/// A file, and how long it was when it was looked at last.
#[derive(Debug)]
pub(super) struct Plain {
    file: Kept,
    length: AtomicU64,
}

impl Bytes {
    /// With `write` the file must be open for both. The addresses of a map are between `least` and
    /// `wanted`; how many bytes the file may have is returned as well.
    pub(super) fn of(
        file: &File,
        write: bool,
        wanted: u64,
        least: u64,
    ) -> Result<(Self, u64), Error> {
        let map_of = |capacity| {
            MapOptions::new().capacity(capacity).if_guarded().of_descriptor(file.as_fd(), write)
        };
        let mut capacity = wanted;
        loop {
            match map_of(capacity) {
                Ok(map) if capacity == wanted || capacity == least => {
                    return Ok((Self::Mapped(map), capacity));
                }
                // The process may not have many more addresses than these: half of them are left to
                // others, whose allocations fail without.
                Ok(map) => {
                    drop(map);
                    capacity = (capacity / 2).max(least);
                    return Ok((Self::Mapped(map_of(capacity)?), capacity));
                }
                Err(mapping::Error::Signal(_)) => break,
                Err(mapping::Error::System {
                    call: "mmap",
                    errno: libc::ENOMEM | libc::EAGAIN,
                }) if capacity > least => {
                    capacity = (capacity / 4).max(least);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let length = AtomicU64::new(disk::length(file)?);
        let file = file.try_clone().map_err(|error| Error::of("fcntl", &error))?;
        Ok((Self::Plain(Plain { file: Kept::of(file)?, length }), wanted))
    }

    pub(super) fn is_mapped(&self) -> bool {
        matches!(self, Self::Mapped(_))
    }

    /// Takes over the length that the file has now; one that is shorter than before is an error.
    pub(super) fn follow(&self) -> Result<(), Error> {
        match self {
            Self::Mapped(map) => map.follow().map(drop).map_err(Error::Map),
            Self::Plain(plain) => plain.follow(),
        }
    }

    /// Whether a byte below `end` is known to be lost.
    pub(super) fn check(&self, end: u64) -> Result<(), Error> {
        match self {
            Self::Mapped(map) => Ok(map.check(0..end as usize)?),
            Self::Plain(_) => Ok(()), // a call has said it
        }
    }

    /// The number at `offset`, a multiple of 8 within; what was written before it is seen as well.
    pub(super) fn number(&self, offset: u64) -> Result<u64, Error> {
        let number = match self {
            Self::Mapped(map) => {
                let number = number_in(map, offset).ok_or(BEYOND)?.load(Ordering::Acquire);
                let at = offset as usize;
                map.check(at..at + UNIT as usize)?;
                number
            }
            Self::Plain(plain) => {
                let mut bytes = [0; UNIT as usize];
                plain.read(offset, &mut bytes)?;
                u64::from_ne_bytes(bytes)
            }
        };
        Ok(u64::from_le(number))
    }

    /// Whether what was written last is still there. A pwrite(2) makes a file that was just cut
    /// longer again and writes there what is looked for, so where there is no map the one before it
    /// is looked for as well: it was not written again.
    #[inline]
    pub(super) fn holds(&self, last: Witness, before: Witness) -> Result<bool, Error> {
        match self {
            Self::Mapped(map) => {
                let word = number_in(map, last.offset).map(|place| place.load(Ordering::Relaxed));
                Ok(word == Some(last.word.to_le()))
            }
            Self::Plain(plain) => plain.hold(last, before),
        }
    }

    /// Writes a record, the number that makes one of it last, and returns the last word of it that
    /// is not zero. After [`Error::Space`] nothing is there, after another error nobody knows.
    ///
    /// # Safety
    /// The file was opened for writing, nobody else writes there, and nobody reads beyond the log's
    /// end.
    #[inline]
    pub(super) unsafe fn put(
        &self,
        salt: u32,
        position: u64,
        record: &[u8],
    ) -> Result<Witness, Error> {
        match self {
            // SAFETY: by this function's contract.
            Self::Mapped(map) => unsafe { put_in(map, salt, position, record) },
            Self::Plain(plain) => plain.put(salt, position, record),
        }
    }

    /// # Safety
    /// As [`Bytes::put`], or the bytes are those that are there.
    pub(super) unsafe fn write(&self, mut offset: u64, mut bytes: &[u8]) -> Result<(), Error> {
        let map = match self {
            Self::Mapped(map) => map,
            Self::Plain(plain) => return plain.write(offset, bytes),
        };
        while !bytes.is_empty() {
            // Page by page: see `put_in`. To the compiler, writing back what was read is nothing.
            let count = bytes.len().min(PAGE - offset as usize % PAGE);
            let (part, rest) = std::hint::black_box(bytes).split_at(count);
            // SAFETY: by this function's contract.
            if unsafe { map.write_shared(offset, part) }? < count {
                map.check(0..map.len())?;
                return Err(BEYOND);
            }
            (offset, bytes) = (offset + count as u64, rest);
        }
        Ok(())
    }
}

impl Source for Bytes {
    fn len(&self) -> u64 {
        match self {
            Self::Mapped(map) => map.len() as u64,
            Self::Plain(plain) => plain.length.load(Ordering::Acquire),
        }
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        match self {
            Self::Mapped(map) => map.read_exact_at(offset, buffer).map_err(Error::Map),
            Self::Plain(plain) => plain.read(offset, buffer),
        }
    }
}

const BEYOND: Error = Error::Map(mapping::Error::Invalid("the file ends before"));

#[inline]
fn number_in(map: &Map, offset: u64) -> Option<&AtomicU64> {
    let fits = offset.checked_add(UNIT).is_some_and(|end| end <= map.len() as u64);
    #[allow(clippy::cast_ptr_alignment, reason = "a map begins with a page")]
    let place = map.as_ptr().wrapping_add(offset as usize).cast::<AtomicU64>();
    // SAFETY: within the map, which lives as long, and aligned. A map for reading is only loaded
    // from, which read-only memory allows.
    (fits && place.is_aligned()).then(|| unsafe { &*place })
}

/// # Safety
/// As [`Bytes::put`].
#[inline]
unsafe fn put_in(map: &Map, salt: u32, position: u64, record: &[u8]) -> Result<Witness, Error> {
    let mut room = MaybeUninit::<[u8; PAGE]>::uninit();
    let mut sum = format::begin(salt);
    let mut witness = None;
    // Page by page: on a full btrfs each first store into a page has all others written out and
    // protected again, and a store across a boundary never gets both pages at once (seen on
    // 6.18: it is tried for ever).
    let (mut rest, mut at) = (record, position + PREFIX);
    while !rest.is_empty() {
        let (part, later) = rest.split_at(rest.len().min(PAGE - at as usize % PAGE));
        // SAFETY: a part has a page at most.
        let part = unsafe { read_once(part, room.as_mut_ptr().cast()) };
        sum.update(part);
        witness = Witness::last(at, part).or(witness);
        // SAFETY: by this function's contract.
        if unsafe { map.write_shared(at, part) }? < part.len() {
            let lost = map.status().map(|fault| Error::Map(mapping::Error::Lost(fault)));
            return Err(lost.unwrap_or(BEYOND));
        }
        at += part.len() as u64;
        rest = later;
    }
    let number = format::prefix(sum, position, record.len() as u32);
    let place = format::place(salt, position, record.len() as u32);
    number_in(map, position + UNIT).ok_or(BEYOND)?.store(place.to_le(), Ordering::Relaxed);
    // Release: who sees it (Acquire, in `Bytes::number`) sees the payload.
    number_in(map, position).ok_or(BEYOND)?.store(number.to_le(), Ordering::Release);
    let at = position as usize;
    map.check_written(at..at + PREFIX as usize)?;
    Ok(witness.unwrap_or(Witness { offset: position + UNIT, word: place }))
}

/// Copies a part to where there is room, so that all who use it afterwards see the same bytes,
/// whoever changes the original.
///
/// # Safety
/// As many bytes at `to` may be written, and nobody else has them.
#[inline]
unsafe fn read_once<'a>(part: &[u8], to: *mut u8) -> &'a [u8] {
    // SAFETY: by this function's contract.
    unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), to, part.len()) };
    // The compiler must not read the original again in the copy's place.
    let copy = std::hint::black_box(to);
    // SAFETY: just written.
    unsafe { std::slice::from_raw_parts(copy, part.len()) }
}

impl Plain {
    /// What one call writes at most.
    const CHUNK: usize = 1 << 16;

    fn follow(&self) -> Result<(), Error> {
        let now = disk::length(&self.file)?;
        if now < self.length.load(Ordering::Acquire) {
            return Err(cut(now, now));
        }
        self.length.fetch_max(now, Ordering::AcqRel);
        Ok(())
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            match self.file.read_at(&mut buffer[done..], at) {
                Ok(0) => return Err(cut(at, disk::length(&self.file)?)),
                Ok(count) => done += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(refused("pread", at, errno_of(&error))),
            }
        }
        Ok(())
    }

    fn hold(&self, last: Witness, before: Witness) -> Result<bool, Error> {
        let is_there = |witness: Witness, bytes: &[u8]| bytes == witness.word.to_le_bytes();
        let mut room = [0; 256];
        // Mostly one call reads both.
        let apart = last.offset.wrapping_sub(before.offset);
        if let Some(both) = room.get_mut(..apart.saturating_add(UNIT) as usize) {
            return Ok(self.has(before.offset, both)?
                && is_there(before, &both[..UNIT as usize])
                && is_there(last, &both[apart as usize..]));
        }
        let mut word = [0; UNIT as usize];
        for witness in [before, last] {
            if !self.has(witness.offset, &mut word)? || !is_there(witness, &word) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// As `read`; false if the file ends before.
    fn has(&self, offset: u64, buffer: &mut [u8]) -> Result<bool, Error> {
        match self.read(offset, buffer) {
            Err(Error::Map(mapping::Error::Lost(fault)))
                if matches!(fault.cause(), Cause::Truncated { .. }) =>
            {
                Ok(false)
            }
            read => read.map(|()| true),
        }
    }

    fn put(&self, salt: u32, position: u64, record: &[u8]) -> Result<Witness, Error> {
        let start = position + UNIT;
        let length = record.len() as u32;
        let place = format::place(salt, position, length);
        let mut sum = format::begin(salt);
        let mut witness = Witness { offset: start, word: place };
        let mut small = MaybeUninit::<[u8; PAGE]>::uninit();
        let mut large = Vec::<u8>::new();
        let (room, size) = if UNIT as usize + record.len() <= PAGE {
            (small.as_mut_ptr().cast::<u8>(), PAGE)
        } else {
            large.reserve_exact(Self::CHUNK);
            (large.as_mut_ptr(), Self::CHUNK)
        };
        let mut at = start;
        let done = within_limit(|| {
            // SAFETY: the place comes first.
            unsafe { room.cast::<[u8; UNIT as usize]>().write(place.to_le_bytes()) };
            let (mut before, mut rest) = (UNIT as usize, record);
            loop {
                let (part, later) = rest.split_at(rest.len().min(size - before));
                // SAFETY: what fits behind `before` may be written.
                let part = unsafe { read_once(part, room.wrapping_add(before)) };
                sum.update(part);
                witness = Witness::last(at + before as u64, part).unwrap_or(witness);
                // SAFETY: so many bytes were written.
                let bytes = unsafe { std::slice::from_raw_parts(room, before + part.len()) };
                self.write_all(&mut at, bytes)?;
                (before, rest) = (0, later);
                if rest.is_empty() {
                    break;
                }
            }
            let number = format::prefix(sum, position, length);
            self.write_all(&mut { position }, &number.to_le_bytes())
        });
        match done {
            Ok(()) => Ok(witness),
            // The limit has become less than what was reserved before.
            Err(libc::EFBIG) if self.forget(start, at) => {
                Err(Error::Space(SpaceError::SizeLimit { limit: disk::limit() }))
            }
            Err(errno) => Err(refused("pwrite", at, errno)),
        }
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut at = offset;
        within_limit(|| self.write_all(&mut at, bytes))
            .map_err(|errno| refused("pwrite", at, errno))
    }

    /// Goes on to behind what was written. Not for itself: see [`within_limit`].
    fn write_all(&self, at: &mut u64, mut bytes: &[u8]) -> Result<(), c_int> {
        while !bytes.is_empty() {
            match self.file.write_at(bytes, *at) {
                Ok(0) => return Err(libc::EIO),
                Ok(count) => {
                    *at += count as u64;
                    bytes = &bytes[count..];
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(errno_of(&error)),
            }
        }
        Ok(())
    }

    /// Zeros again where a record was begun. A write went well there, so this does.
    fn forget(&self, mut start: u64, end: u64) -> bool {
        let zeros = vec![0; Self::CHUNK.min((end - start) as usize)];
        while start < end {
            let part = &zeros[..zeros.len().min((end - start) as usize)];
            if self.write(start, part).is_err() {
                return false;
            }
            start += part.len() as u64;
        }
        true
    }
}

fn errno_of(error: &std::io::Error) -> c_int {
    error.raw_os_error().unwrap_or(libc::EIO)
}

fn refused(call: &'static str, offset: u64, errno: c_int) -> Error {
    match errno {
        libc::ENOSPC | libc::EDQUOT => lost(offset, Cause::NoSpace, errno),
        libc::EIO => lost(offset, Cause::Io(errno), errno),
        _ => Error::System { call, errno },
    }
}

/// Bytes of the file are gone.
#[cold]
fn lost(offset: u64, cause: Cause, errno: c_int) -> Error {
    Error::Map(mapping::Error::Lost(Fault { offset, ..Fault::of(cause, errno) }))
}

/// It ends before them.
#[cold]
pub(super) fn cut(offset: u64, length: u64) -> Error {
    lost(offset, Cause::Truncated { len_now: length }, libc::EFAULT)
}

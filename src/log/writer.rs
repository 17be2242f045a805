//! The writer: append and flush.
//!
//! A record's payload is written first, then it is found out whether all of it is in the file, and only then the number that makes
//! it a record is stored, at once. Appends go one after the other: a record that is acknowledged must not lie behind one that a dying
//! process leaves unfinished, so there is nothing to win by letting two write at the same time. The sum of the payload is made
//! before it is a thread's turn.
//!
//! Flushes let appends go on. Those that wait for each other share one: whoever comes first takes all along that were
//! appended until then.
//!
//! The durable watermark is written after the data is on the disk, and not waited for: it reaches the disk with the next flush. An
//! earlier one is not wrong, only less strict, and waiting would double the price of each flush.

use super::disk::{self, Locked};
use super::error::Error;
use super::format::{self, MAX_RECORD, PREFIX, SLOTS};
use super::open::{LogOptions, Recovery};
use super::reader::Reader;
use super::space::Growth;
use crate::file::{Error as SpaceError, reserve, reserve_slowly};
use crate::mapping::{self, Cause, Fault, MapMut};
use crate::sys::cancel::Uncancelled;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// The smallest page there is.
const PAGE: usize = 4096;

/// A log that is written to.
///
/// Thread-safe. It belongs to the process that opened it: in a forked child every call fails with [`Error::Forked`] and dropping it
/// does nothing, but the child keeps the lock until it ends, execs or drops the log. Not for signal handlers.
///
/// ```
/// use sigward::log::Log;
/// # let path = std::env::temp_dir().join(format!("sigward-log-writer-{}", std::process::id()));
/// let log = Log::open(&path)?;
/// std::thread::scope(|threads| {
///     for name in ["one", "two"] {
///         let log = &log;
///         threads.spawn(move || log.append(name.as_bytes()).map(drop));
///     }
/// });
/// let durable = log.flush()?;
/// assert_eq!(durable, log.end());
/// drop(log);
/// assert_eq!(Log::open(&path)?.recovery().records, 2);
/// # std::fs::remove_file(&path).map_err(Box::new)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Log {
    map: MapMut,
    file: Locked,
    salt: u32,
    slow_zeros: bool,
    recovery: Recovery,
    tail: Mutex<Tail>,
    durable: Mutex<Durable>,
    /// Why nothing more can be done with it.
    failed: OnceLock<Error>,
}

/// Where the log ends, and what lies behind.
#[derive(Debug)]
struct Tail {
    end: u64,
    /// Up to here there are blocks.
    reserved: u64,
    growth: Growth,
}

#[derive(Debug)]
struct Durable {
    position: u64,
    /// Where the watermark is written next.
    slot: usize,
}

/// What opening has found out.
pub(super) struct Opened {
    pub(super) map: MapMut,
    pub(super) header: format::Header,
    pub(super) recovery: Recovery,
    pub(super) slow_zeros: bool,
    pub(super) growth: Growth,
}

impl Log {
    /// Opens the log at `path`, or makes it. After a crash the end is found, and what is torn behind it becomes zeros:
    /// [`Log::recovery`].
    ///
    /// # Errors
    /// As [`LogOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        LogOptions::new().open(path)
    }

    pub(super) fn of(file: Locked, opened: Opened) -> Self {
        let Opened { map, header, recovery, slow_zeros, growth } = opened;
        let (end, length) = (recovery.end, map.len() as u64);
        Self {
            map,
            file,
            salt: header.salt,
            slow_zeros,
            recovery,
            // What lies behind the end may be a hole: nothing there is taken for granted. The padding may have been cut off.
            tail: Mutex::new(Tail { end, reserved: end.min(length), growth }),
            durable: Mutex::new(Durable { position: header.watermark, slot: 1 - header.slot }),
            failed: OnceLock::new(),
        }
    }

    /// Adds a record of up to [`MAX_RECORD`] bytes, none is allowed, and returns its position: bytes from the start of the file,
    /// for [`Reader::seek`].
    ///
    /// It survives the process from now on, and the machine from the next [`Log::flush`] on.
    ///
    /// # Errors
    /// [`Error::Space`] if no blocks can be had (`ENOSPC`, `EDQUOT`, `RLIMIT_FSIZE` without a signal, no promise on this file
    /// system): the record is not there, all before is, and a later append may find room. [`Error::Full`], [`Error::TooLong`],
    /// [`Error::Forked`]. [`Error::Map`] if bytes of the file are lost, because somebody has cut it or (btrfs) a page found no
    /// room; then, and after [`Error::Unsynced`], every later call fails, too: open the log anew.
    pub fn append(&self, record: &[u8]) -> Result<u64, Error> {
        if record.len() > MAX_RECORD {
            return Err(Error::TooLong { length: record.len() });
        }
        self.usable()?;
        let mut sum = format::begin(self.salt);
        sum.update(record);
        let size = format::size_of_record(record.len());
        let mut tail = hold(&self.tail);
        let position = tail.end;
        // The zeros that end the log have their block as well: readers look there.
        let needed = position + size + PREFIX;
        if needed > tail.reserved {
            self.grow(&mut tail, needed)?;
        }
        self.write(position, record, format::prefix(sum, position, record.len() as u32))
            .map_err(|error| self.fail(error))?;
        tail.end = position + size;
        Ok(position)
    }

    /// The only place where bytes of a log are written.
    fn write(&self, position: u64, record: &[u8], prefix: u64) -> Result<(), Error> {
        let beyond = Error::Map(mapping::Error::Invalid("the map ends before"));
        // Page by page: on a full btrfs each first store into a page has all others written out and protected again, and a store
        // across a boundary never gets both pages at once (seen on 6.18: it is tried for ever).
        let (mut rest, mut at) = (record, position + PREFIX);
        while !rest.is_empty() {
            let (part, later) = rest.split_at(rest.len().min(PAGE - at as usize % PAGE));
            // SAFETY: writable; nobody else writes here (the tail is held, and so is the file's lock), and nobody reads what is
            // behind the log's end.
            let written = unsafe { self.map.write_shared(at, part) }?;
            if written < part.len() {
                let lost = self.map.status().map(|fault| Error::Map(mapping::Error::Lost(fault)));
                return Err(lost.unwrap_or(beyond));
            }
            at += written as u64;
            rest = later;
        }
        let at = position as usize;
        let number = self.map.atomic_u64(at).ok_or(beyond)?;
        // Release: who sees it (Acquire, in `Reader`) sees the payload.
        number.store(prefix.to_le(), Ordering::Release);
        self.map.check_written(at..at + PREFIX as usize)?;
        Ok(())
    }

    /// Makes room up to `needed` at least.
    #[cold]
    fn grow(&self, tail: &mut Tail, needed: u64) -> Result<(), Error> {
        // Others wait for the tail, and what follows has cancellation points.
        let _whole = Uncancelled::enter();
        // Growing a file that somebody has cut would hide what is gone.
        self.check_length(tail.reserved)?;
        let mut refusal = None;
        for end in tail.growth.ends(needed) {
            let count = end - tail.reserved;
            let reserved = match reserve(&*self.file, tail.reserved, count) {
                Err(SpaceError::NoPromise) if self.slow_zeros => {
                    reserve_slowly(&*self.file, tail.reserved, count)
                }
                other => other,
            };
            match reserved {
                Ok(_) => {
                    self.map.follow()?;
                    tail.growth.learn(needed, end, refusal.is_none());
                    tail.reserved = end;
                    return Ok(());
                }
                Err(error) if matches!(error.errno(), libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => {
                    refusal = Some(Error::Space(error));
                }
                Err(error) => return Err(Error::Space(error)),
            }
        }
        if refusal.is_some() {
            tail.growth.refused();
        }
        Err(refusal.unwrap_or(Error::Full { capacity: tail.growth.capacity }))
    }

    /// Waits until everything that was appended before is on the disk, and returns up to where: bytes from the start of the file.
    /// Appends go on meanwhile; flushes that wait for each other share one write.
    ///
    /// # Errors
    /// [`Error::Unsynced`] if the disk does not take it: what is there nobody knows, so every later call fails as well, and
    /// opening the log anew tells. [`Error::Map`] if bytes of the file are lost. [`Error::Forked`].
    pub fn flush(&self) -> Result<u64, Error> {
        self.usable()?;
        let wanted = self.end();
        let mut durable = hold(&self.durable);
        if durable.position >= wanted {
            self.usable()?;
            return Ok(durable.position);
        }
        let end = self.end();
        disk::sync(&self.file).map_err(|errno| self.fail(Error::Unsynced { errno }))?;
        self.check_length(end)?;
        self.map.check(0..end as usize).map_err(|error| self.fail(error.into()))?;
        durable.position = end;
        let slot = SLOTS[durable.slot];
        // That the data is durable is true without it, too; what is missing then is the difference between torn and damaged.
        if !disk::is_limited() && disk::write_header(&self.file, slot, &format::slot(self.salt, end)).is_ok()
        {
            durable.slot = 1 - durable.slot;
        }
        Ok(end)
    }

    /// Where the next record will be: bytes from the start of the file.
    #[must_use]
    pub fn end(&self) -> u64 {
        if self.file.is_ours() { hold(&self.tail).end } else { self.recovery.end }
    }

    /// What was found when it was opened.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        self.recovery
    }

    /// A reader from the first record on, with a map of its own.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn reader(&self) -> Result<Reader, Error> {
        Reader::of(self.file.try_clone().map_err(|error| Error::of("fcntl", &error))?)
    }

    /// Takes the log away and gives reserved blocks behind its end back. Dropping it does the same; neither flushes.
    pub fn close(self) {
        drop(self);
    }

    fn usable(&self) -> Result<(), Error> {
        if !self.file.is_ours() {
            return Err(Error::Forked);
        }
        self.failed.get().map_or(Ok(()), |error| Err(*error))
    }

    /// Notes what cannot be mended.
    #[cold]
    fn fail(&self, error: Error) -> Error {
        *self.failed.get_or_init(|| error)
    }

    /// Whether the file reaches so far; a cut may have met no store yet.
    fn check_length(&self, end: u64) -> Result<(), Error> {
        let length = disk::length(&self.file)?;
        if length >= end {
            return Ok(());
        }
        let fault = Fault::of(Cause::Truncated { len_now: length }, libc::EFAULT);
        Err(self.fail(Error::Map(mapping::Error::Lost(Fault { offset: length, ..fault }))))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if self.file.is_ours() && self.failed.get().is_none() {
            let tail = hold(&self.tail);
            // The page where readers look for the next record stays.
            let unused = (tail.end + PREFIX).next_multiple_of(tail.growth.page);
            if let Ok(length) = disk::length(&self.file) {
                disk::give_back(&self.file, unused, length);
            }
        }
    }
}

/// A thread that has panicked while it held it has left nothing half done.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The writer: append and flush.
//!
//! A record's payload is written first, then it is found out whether all of it is in the file, and
//! only then the number that makes it a record is stored, at once. Appends go one after the other:
//! a record that is acknowledged must not lie behind one that a dying process leaves unfinished, so
//! there is nothing to win by letting two write at the same time. The sum is that of the bytes that
//! were written: each part of the caller's buffer, which others may change meanwhile, is read once.
//!
//! Somebody else can cut the file, and make it as long again: then stores go on without a fault,
//! behind zeros. So each append looks first whether the last word before it is still there.
//!
//! Flushes let appends go on. Those that wait for each other share one: whoever comes first takes
//! all along that were appended until then.
//!
//! The durable watermark is written after the data is on the disk, and not waited for: it reaches
//! the disk with the next flush. An earlier one is not wrong, only less strict, and waiting would
//! double the price of each flush. A log that is closed flushes and waits for its watermark: after
//! that a changed bit is damage, and no torn tail.
//!
//! Before the watermark goes up, the sums of all records that it passes are looked at again, as
//! they are after the write: it never passes bytes that were cut off or written over in between.

use super::bytes::{self, Bytes};
use super::disk::{self, Locked, Named};
use super::error::Error;
use super::format::{self, FIRST, MAX_RECORD, PREFIX, SLOTS};
use super::open::{LogOptions, Recovery};
use super::reader::Reader;
use super::scan::{self, Witness};
use super::space::{Ahead, Growth};
use crate::file::{Error as SpaceError, reserve, reserve_slowly};
use crate::sys::cancel::Uncancelled;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// A log that is written to.
///
/// Thread-safe. It belongs to the process that opened it: in a forked child append and flush fail
/// with [`Error::Forked`] and dropping it does nothing, but the child keeps the lock until it ends,
/// execs or drops the log. Not for signal handlers.
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
#[doc(alias = "journal")]
#[doc(alias = "sigward_log_open")]
pub struct Log {
    bytes: Bytes,
    file: Locked,
    /// None where the file had no name that could be found out (/proc/self/fd).
    named: Option<Named>,
    salt: u32,
    slow_zeros: bool,
    recovery: Recovery,
    tail: Mutex<Tail>,
    durable: Mutex<Durable>,
    is_open: AtomicBool,
    /// Why nothing more can be done with it.
    failed: OnceLock<Error>,
}

/// Where the log ends, and what lies behind.
#[derive(Debug)]
struct Tail {
    end: u64,
    witness: Witness,
    /// Of the record before.
    before: Witness,
    /// Up to here there are blocks.
    reserved: u64,
    ahead: Ahead,
    growth: Growth,
}

#[derive(Debug)]
struct Durable {
    position: u64,
    /// What the newest slot says; all below is on the disk, the slot perhaps not yet.
    written: u64,
    /// Whether the slot is on the disk.
    is_marked: bool,
    /// Where the watermark is written next.
    slot: usize,
}

/// What opening has found out.
pub(super) struct Opened {
    pub(super) bytes: Bytes,
    pub(super) header: format::Header,
    pub(super) recovery: Recovery,
    pub(super) witness: Witness,
    pub(super) named: Option<Named>,
    pub(super) slow_zeros: bool,
    pub(super) growth: Growth,
}

impl Log {
    /// Opens the log at `path`, or makes it. After a crash the end is found, and what is torn
    /// behind it becomes zeros: [`Log::recovery`].
    ///
    /// # Errors
    /// As [`LogOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        LogOptions::new().open(path)
    }

    pub(super) fn of(file: Locked, opened: Opened) -> Self {
        let is_worth_it = opened.bytes.is_mapped() && disk::keeps_what_it_gave(&file);
        let Opened { bytes, header, recovery, witness, named, slow_zeros, growth } = opened;
        let end = recovery.end;
        Self {
            bytes,
            file,
            named,
            salt: header.salt,
            slow_zeros,
            recovery,
            // What lies behind the end may be a hole: nothing there is taken for granted.
            tail: Mutex::new(Tail {
                end,
                witness,
                before: witness,
                reserved: end,
                ahead: Ahead::new(end, is_worth_it),
                growth,
            }),
            durable: Mutex::new(Durable {
                position: recovery.durable,
                written: recovery.durable,
                is_marked: true,
                slot: 1 - header.slot,
            }),
            is_open: AtomicBool::new(true),
            failed: OnceLock::new(),
        }
    }

    /// Adds a record of up to [`MAX_RECORD`] bytes, none is allowed, and returns its position:
    /// bytes from the start of the file, for [`Reader::seek`].
    ///
    /// It survives the process from now on, and the machine from the next [`Log::flush`] on.
    ///
    /// # Errors
    /// [`Error::Space`] if no blocks can be had (`ENOSPC`, `EDQUOT`, `RLIMIT_FSIZE` without a
    /// signal, no promise on this file system): the record is not there, all before is, and a
    /// later append may find room. [`Error::Full`], [`Error::TooLong`], [`Error::Forked`].
    /// [`Error::Map`] if bytes of the file are lost, because somebody has cut it or (btrfs) a page
    /// found no room; [`Error::System`] if pwrite(2) fails otherwise; then, and after
    /// [`Error::Unsynced`], every later call fails, too: open the log anew.
    #[doc(alias = "sigward_log_append")]
    pub fn append(&self, record: &[u8]) -> Result<u64, Error> {
        if record.len() > MAX_RECORD {
            return Err(Error::TooLong { length: record.len() });
        }
        self.usable()?;
        // Others wait for the tail, and pread(2) and pwrite(2) are cancellation points.
        let _whole = (!self.bytes.is_mapped()).then(Uncancelled::enter);
        let size = format::size_of_record(record.len());
        let mut tail = hold(&self.tail);
        let position = tail.end;
        self.check_witness(&tail)?;
        // The zeros that end the log have their block as well: readers look there.
        let needed = position + size + PREFIX;
        if needed > tail.reserved || needed > tail.ahead.ready {
            if needed > tail.reserved {
                self.grow(&mut tail, needed)?;
            } else {
                self.check_length(0)?;
            }
            let _whole = Uncancelled::enter(); // pwrite(2) is a cancellation point
            let reserved = tail.reserved;
            disk::write_zeros(&self.file, tail.ahead.next(needed, reserved));
            // A file that was cut meanwhile is long again now, and what is looked for next time is
            // the record that is written here.
            self.check_witness(&tail)?;
        }
        // SAFETY: opened for writing; nobody else writes here (the tail is held, and so is the
        // file's lock), and nobody reads what is behind the log's end.
        let witness =
            unsafe { self.bytes.put(self.salt, position, record) }.map_err(
                |error| match error {
                    Error::Space(_) => error,
                    error => self.fail(error),
                },
            )?;
        (tail.before, tail.witness) = (tail.witness, witness);
        tail.end = position + size;
        Ok(position)
    }

    /// Whether the last word before the log's end is still there.
    #[inline]
    fn check_witness(&self, tail: &Tail) -> Result<(), Error> {
        let holds =
            self.bytes.holds(tail.witness, tail.before).map_err(|error| self.fail(error))?;
        if holds { Ok(()) } else { self.is_cut(tail) }
    }

    #[cold]
    fn is_cut(&self, tail: &Tail) -> Result<(), Error> {
        self.bytes.check(tail.end).map_err(|error| self.fail(error))?;
        self.check_length(tail.end)?;
        let now = self.file.length()?;
        Err(self.cut_at(tail.witness.offset, now))
    }

    fn cut_at(&self, offset: u64, length: u64) -> Error {
        self.fail(bytes::cut(offset, length))
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
            let reserved = match reserve(&**self.file, tail.reserved, count) {
                Err(SpaceError::NoPromise) if self.slow_zeros => {
                    reserve_slowly(&**self.file, tail.reserved, count)
                }
                other => other,
            };
            match reserved {
                Ok(_) => {
                    self.bytes.follow()?;
                    tail.growth.learn(needed, end, refusal.is_none());
                    tail.reserved = end;
                    return Ok(());
                }
                Err(error)
                    if matches!(error.errno(), libc::ENOSPC | libc::EDQUOT | libc::EFBIG) =>
                {
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

    /// Waits until everything that was appended before is on the disk, and returns up to where:
    /// bytes from the start of the file. Appends go on meanwhile; flushes that wait for each other
    /// share one write.
    ///
    /// # Errors
    /// [`Error::Unsynced`] if the disk does not take it: what is there nobody knows, so every later
    /// call fails as well, and opening the log anew tells. [`Error::Map`] if bytes of the file are
    /// lost, [`Error::Damaged`] if somebody else has written over them. [`Error::Moved`] if the
    /// file has lost its name: everything is on the disk, in that file; every later call fails,
    /// too. [`Error::Forked`].
    #[doc(alias = "fdatasync")]
    #[doc(alias = "sigward_log_flush")]
    pub fn flush(&self) -> Result<u64, Error> {
        self.usable()?;
        let wanted = self.whole_end()?;
        let mut durable = hold(&self.durable);
        if durable.position < wanted {
            self.flush_to(&mut durable)?;
        }
        self.usable()?;
        if self.named.as_ref().is_some_and(Named::is_gone) {
            return Err(self.fail(Error::Moved));
        }
        Ok(durable.position)
    }

    /// Writes what is there to the disk, and then up to where that is.
    fn flush_to(&self, durable: &mut Durable) -> Result<(), Error> {
        let end = self.whole_end()?;
        let unsynced = |errno| self.fail(Error::Unsynced { durable: durable.position, errno });
        disk::sync(&self.file).map_err(unsynced)?;
        self.check_length(end)?;
        self.bytes.check(end).map_err(|error| self.fail(error))?;
        scan::check(&self.bytes, self.salt, durable.position..end)
            .map_err(|error| self.fail(error))?;
        durable.position = end;
        // That the data is durable is true without it, too; what is missing then is the difference
        // between torn and damaged.
        let _ = self.write_watermark(durable);
        Ok(())
    }

    fn write_watermark(&self, durable: &mut Durable) -> Result<(), Error> {
        if !disk::is_limited() {
            let slot = format::slot(self.salt, durable.position);
            disk::write_header(&self.file, SLOTS[durable.slot], &slot)?;
            durable.slot = 1 - durable.slot;
            durable.written = durable.position;
            durable.is_marked = false;
        }
        Ok(())
    }

    /// Where the next record will be, all before it being there.
    fn whole_end(&self) -> Result<u64, Error> {
        let mut tail = hold(&self.tail);
        self.check_witness(&tail)?;
        let end = tail.end;
        tail.ahead.flushed(end);
        Ok(tail.end)
    }

    /// Up to where everything is on the disk, in the process that has opened it.
    #[cfg(feature = "capi")]
    pub(crate) fn durable(&self) -> u64 {
        hold(&self.durable).position
    }

    /// Where the next record will be: bytes from the start of the file.
    #[must_use]
    pub fn end(&self) -> u64 {
        if self.file.is_ours() { hold(&self.tail).end } else { self.recovery.end }
    }

    /// Whether it goes through a guarded map, and an append is a copy into memory: SIGBUS was
    /// guarded ([`crate::init`], [`crate::mapping::guard`]) when it was opened. Else each append is
    /// some system calls.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        self.bytes.is_mapped()
    }

    /// What was found when it was opened.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        self.recovery
    }

    /// A reader from the first record on.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn reader(&self) -> Result<Reader, Error> {
        Reader::of(self.file.try_clone().map_err(|error| Error::of("fcntl", &error))?)
    }

    /// Flushes, says in the file that the log was closed in order, and gives reserved blocks behind
    /// its end back. Dropping it does the same and says nothing. A log that was not appended to
    /// costs no write.
    ///
    /// # Errors
    /// As [`Log::flush`], but not what an append or a flush has failed with already.
    pub fn close(self) -> Result<(), Error> {
        self.finish()
    }

    fn finish(&self) -> Result<(), Error> {
        if !self.is_open.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        if !self.file.is_ours() {
            return Err(Error::Forked);
        }
        // A file that has lost its name is a log like any other.
        let flushed = match self.failed.get() {
            None => self.flush().map(drop),
            Some(Error::Moved) => Ok(()),
            Some(_) => return Ok(()),
        };
        if !matches!(flushed, Ok(()) | Err(Error::Moved)) {
            return flushed;
        }
        let tail = hold(&self.tail);
        let mut durable = hold(&self.durable);
        self.check_length(0)?;
        // The page where readers look for the next record stays.
        let unused = (tail.end + PREFIX).next_multiple_of(tail.growth.page);
        if tail.reserved > unused || self.recovery.torn.is_some() {
            disk::give_back(&self.file, unused, self.file.length()?);
        }
        if durable.written < durable.position {
            self.write_watermark(&mut durable)?;
        }
        if !durable.is_marked && durable.written > FIRST {
            // In both copies of the header.
            self.write_watermark(&mut durable)?;
            let unsynced = |errno| Error::Unsynced { durable: durable.position, errno };
            disk::sync(&self.file).map_err(unsynced)?;
        }
        flushed
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
        let length = self.file.length().map_err(|failed| self.fail(failed.into()))?;
        if length >= end {
            return Ok(());
        }
        Err(self.cut_at(length, length))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

/// A thread that has panicked while it held it has left nothing half done.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

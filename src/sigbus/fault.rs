//! What was lost, where and why: the record that a handler leaves behind.

use std::ffi::{c_char, c_int};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Why the bytes of a guarded map are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The file is shorter now, or was cut and written again.
    Truncated {
        /// Its length in bytes when the fault was handled.
        len_now: u64,
    },
    /// The file system has no room, or the user no quota, for what was written (on tmpfs: also for
    /// a hole that was read).
    NoSpace,
    /// Reading or writing the page failed with this errno.
    Io(c_int),
    /// The memory itself is damaged (`BUS_MCEERR_AR`).
    Hardware,
    /// The kernel gave no reason that could be found, or the map keeps no descriptor to ask about.
    Unknown,
}

/// The first loss of a map at its lowest lost offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[repr(C)]
pub struct Fault {
    /// Lowest lost offset in bytes from the start of the map; everything below is intact.
    pub offset: u64,
    /// When the file was cut: its length in bytes as the fault was handled.
    pub len_now: u64,
    /// The address that faulted.
    pub address: u64,
    /// Nanoseconds since 1970 (`CLOCK_REALTIME`).
    pub time_ns: u64,
    /// 1 truncated, 2 no space, 3 input/output error, 4 hardware, 5 unknown.
    pub cause: i32,
    /// The errno of the cause (`ENOSPC`, `EDQUOT`, `EIO`, `EHWPOISON`…); `EFAULT` where there is
    /// none.
    pub error: i32,
    /// Kernel thread id of who met it first.
    pub tid: i32,
    /// 1 if that was a write, 0 if it was a read or cannot be told.
    pub write: u32,
    /// That thread's name, NUL-terminated.
    pub thread: [c_char; 16],
    /// Zero; room for later fields.
    pub(crate) reserved: [u64; 3],
    /// How many bytes of this struct the library knew and has filled.
    pub(crate) size: u64,
}

const TRUNCATED: i32 = 1;
const NO_SPACE: i32 = 2;
const IO: i32 = 3;
const HARDWARE: i32 = 4;
const UNKNOWN: i32 = 5;

const WORDS: usize = size_of::<Fault>() / 8;

impl Fault {
    /// What C sees of a map that has lost nothing.
    #[cfg(feature = "capi")]
    pub(crate) const NONE: Self = Self {
        offset: u64::MAX,
        len_now: 0,
        address: 0,
        time_ns: 0,
        cause: 0,
        error: 0,
        tid: 0,
        write: 0,
        thread: [0; 16],
        reserved: [0; 3],
        size: 0,
    };

    /// A fault of which only the cause is known yet. Signal-safe.
    pub(crate) fn of(cause: Cause, error: c_int) -> Self {
        let (number, len_now) = match cause {
            Cause::Truncated { len_now } => (TRUNCATED, len_now),
            Cause::NoSpace => (NO_SPACE, 0),
            Cause::Io(_) => (IO, 0),
            Cause::Hardware => (HARDWARE, 0),
            Cause::Unknown => (UNKNOWN, 0),
        };
        Self {
            offset: 0,
            len_now,
            address: 0,
            time_ns: 0,
            cause: number,
            error,
            tid: 0,
            write: 0,
            thread: [0; 16],
            reserved: [0; 3],
            size: 0,
        }
    }

    /// Why the bytes are gone. Signal-safe.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match self.cause {
            TRUNCATED => Cause::Truncated { len_now: self.len_now },
            NO_SPACE => Cause::NoSpace,
            IO => Cause::Io(self.error),
            HARDWARE => Cause::Hardware,
            _ => Cause::Unknown,
        }
    }

    /// The name of the thread that met it first.
    #[must_use]
    pub fn thread_name(&self) -> String {
        self.thread
            .iter()
            .take_while(|byte| **byte != 0)
            .map(|byte| char::from(*byte as u8))
            .collect()
    }

    fn words(&self) -> [u64; WORDS] {
        const { assert!(size_of::<Fault>() == 96) };
        // SAFETY: repr(C), 96 bytes of numbers without padding.
        unsafe { std::ptr::from_ref(self).cast::<[u64; WORDS]>().read() }
    }

    fn from_words(words: [u64; WORDS]) -> Self {
        // SAFETY: as long as a fault, and any bytes are numbers.
        unsafe { std::ptr::from_ref(&words).cast::<Self>().read() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "lost from byte {} on: ", self.offset)?;
        match self.cause() {
            Cause::Truncated { len_now } => {
                write!(out, "the file was cut, it has {len_now} bytes now")?;
            }
            Cause::NoSpace if self.error == libc::EDQUOT => {
                out.write_str("the quota is used up")?;
            }
            Cause::NoSpace => out.write_str("no space left for the file's pages")?,
            Cause::Io(errno) => write!(out, "{}", std::io::Error::from_raw_os_error(errno))?,
            Cause::Hardware => out.write_str("the memory is damaged")?,
            Cause::Unknown => out.write_str("the kernel gave no reason")?,
        }
        write!(out, " (met by thread {:?}, tid {})", self.thread_name(), self.tid)
    }
}

/// A fault that handlers write and anybody reads, torn by nobody.
///
/// One writer at a time (the patch lock); readers compare the sequence before and after.
pub(crate) struct Record {
    /// Odd while a fault is being written.
    sequence: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl Record {
    #[cfg(target_os = "linux")]
    pub(crate) const fn new() -> Self {
        Self { sequence: AtomicU64::new(0), words: [const { AtomicU64::new(0) }; WORDS] }
    }

    pub(crate) fn clear(&self) {
        self.sequence.store(0, Ordering::Relaxed);
    }

    /// Signal-safe; only under the patch lock.
    pub(crate) fn write(&self, fault: &Fault) {
        let before = self.sequence.load(Ordering::Relaxed) & !1;
        self.sequence.store(before + 1, Ordering::Relaxed);
        // The odd sequence is seen before any of the words: pairs with the fence in `read`.
        fence(Ordering::Release);
        for (word, value) in self.words.iter().zip(fault.words()) {
            word.store(value, Ordering::Relaxed);
        }
        self.sequence.store(before + 2, Ordering::Release);
    }

    /// The fault, whose lowest lost offset is `offset` at most; in a child that was forked in the
    /// middle of a write, and where nobody could write it, only that is known.
    pub(crate) fn read(&self, offset: u64) -> Fault {
        const ATTEMPTS: usize = 1000;
        let unrecorded = Fault { offset, ..Fault::of(Cause::Unknown, libc::EFAULT) };
        for _ in 0..ATTEMPTS {
            let before = self.sequence.load(Ordering::Acquire);
            if before != 0 && before.is_multiple_of(2) {
                let mut words = [0; WORDS];
                for (value, word) in words.iter_mut().zip(&self.words) {
                    *value = word.load(Ordering::Relaxed);
                }
                fence(Ordering::Acquire);
                if self.sequence.load(Ordering::Relaxed) == before {
                    let fault = Fault::from_words(words);
                    // One that was published without its record lies before it.
                    return if fault.offset <= offset { fault } else { unrecorded };
                }
            }
            std::hint::spin_loop();
        }
        unrecorded
    }
}

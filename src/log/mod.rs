//! An append log: a full disk is an error of one append, a dead process loses nothing, a torn tail
//! is found.
//!
//! No signal's disposition is touched. Where SIGBUS is guarded when the log is opened
//! ([`crate::init`], [`crate::mapping::guard`], any guarded map; with no other handler above), it
//! goes through a guarded map that grows, and appending is a copy into memory, at the price of
//! one: no system call but for growth, which happens a few dozen times in a log's life. Else it
//! goes through pread(2) and pwrite(2), and each append takes some system calls, several times as
//! long as a write(2). So guard first for the fast way; [`Log::is_mapped`] says which one it is.
//! Readers likewise; what they see is the same.
//!
//! Blocks are reserved before anything is written, so no store meets a hole. Each record has a
//! sum; who opens the log after a crash gets exactly a prefix of what was appended, with
//! everything in it that was flushed.
//!
//! | what happens | what is lost |
//! |---|---|
//! | the process dies (kill -9 included) | no record whose [`Log::append`] has returned; one under way is there wholly or not |
//! | the machine stops | nothing that was appended before a [`Log::flush`] that has returned; of the rest a prefix stays |
//! | the disk is full | that append fails, all before it is safe, and later ones work when there is room |
//! | a write to the disk fails | flush says so, and up to where everything is; who opens the log anew has what is still in memory written again, past the page cache |
//! | somebody cuts the file, also if it gets as long again | append and flush fail with [`Error::Map`]; nobody dies |
//! | somebody unlinks, renames or replaces it | flush fails with [`Error::Moved`] |
//! | bytes below the durable watermark are damaged or gone, after [`Log::close`] that is all of them | [`Error::Damaged`] with the place, for writer and reader; nothing is cut, nothing written |
//!
//! ```
//! use sigward::log::{Log, Reader};
//! # let path = std::env::temp_dir().join(format!("sigward-log-doc-{}", std::process::id()));
//! let log = Log::open(&path)?;
//! let position = log.append(b"a record")?;
//! log.append(b"")?;
//! log.flush()?; // both are on the disk
//!
//! let mut reader = Reader::open(&path)?; // here or in another process, while the log goes on
//! let mut record = Vec::new();
//! assert_eq!((reader.next(&mut record)?, record.as_slice()), (Some(position), &b"a record"[..]));
//! assert!(reader.next(&mut record)?.is_some() && record.is_empty());
//! assert_eq!(reader.next(&mut record)?, None); // for now
//! # drop(log);
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), sigward::log::Error>(()).map_err(Box::new)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Opening writes over nothing that is valid: where whole records follow a torn one, it is
//! [`Error::Damaged`], [`check`] says what is good, [`salvage`] copies that out, and
//! [`LogOptions::discard_after_torn`] gives up what was not flushed.
//!
//! # What it rests on
//!
//! One writer (a lock on the file, flock(2)), any number of readers without locks. The file is
//! longer than the log: reserved blocks, zeros, follow it. They are given back, in place, when the
//! log is closed; the length stays, so that no reader dies of a cut.
//!
//! A child that forks off belongs to no log: it is known by a page of memory that the kernel clears
//! in it, not by its process id.
//!
//! | file system | |
//! |---|---|
//! | tmpfs, ext4, xfs | as above |
//! | btrfs | copies on write, so a reserved block may find no room when it is written again. A new log is exempted (`chattr +C`). For a file that was there before: such a store is an error of append ([`Error::Map`], no space) and no death; open the log anew |
//! | ext2, some network and user-space file systems | cannot promise blocks: [`LogOptions::slow_zeros`] writes zeros instead |
//! | other systems than Linux | have no such call: [`Error::Space`] |

mod bytes;
mod check;
mod disk;
mod error;
mod format;
mod open;
mod reader;
mod scan;
mod space;
mod writer;

pub use check::{Check, check, salvage};
pub use error::Error;
pub use format::MAX_RECORD;
pub use open::{LogOptions, Recovery, Torn};
pub use reader::Reader;
pub use writer::Log;

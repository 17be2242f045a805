//! Habits that never need a guard: blocks before bytes, and new contents as a new file.
//!
//! Most deaths by SIGBUS begin with one of two habits. `ftruncate` and hope: the file has a length,
//! the disk has no blocks for it, and the store that first meets a hole is the one that dies. And
//! `cp` over a live file: it cuts the file to nothing before it writes, under whoever has it
//! mapped.
//!
//! | instead of | do | and a failure is |
//! |---|---|---|
//! | ftruncate(2), then writes through a map | [`reserve`], then those writes | `ENOSPC` of one call, with the file's length and bytes as they were |
//! | reading a file that others may cut or change | [`Snapshot`](crate::mapping::Snapshot): the bytes of one moment | an error of taking it |
//! | `cp new live`, open with `O_TRUNC` and write | [`replace_file`], [`Replacement`] | an error, with the old file untouched |
//! | reading a file that others may cut, and hope | [`Lease::take`], read, [`Lease::release`] | an error beforehand, or of `release`; a writer waits meanwhile |
//!
//! ```
//! # let folder = std::env::temp_dir();
//! # let path = folder.join(format!("sigward-file-{}", std::process::id()));
//! use std::io::Write;
//! let mut new = sigward::file::Replacement::create(&path)?;
//! new.write_all(b"wholly old or wholly new, at whatever moment the machine stops")?;
//! new.commit()?;
//!
//! let file = std::fs::File::options().read(true).write(true).open(&path)?;
//! match sigward::file::reserve(&file, 0, 1 << 20) {
//!     Ok(promise) => println!("a store into the first MiB finds its block: {promise:?}"),
//!     Err(error) => println!("{error}"), // no space: the file is as long as before
//! }
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing in here touches a signal's disposition or needs [`crate::init`].

mod error;
mod lease;
#[cfg(target_os = "linux")]
mod linux;
mod replace;
mod reserve;
pub(crate) mod snapshot;
mod steady;
mod target;

pub use error::Error;
#[cfg(feature = "capi")]
pub(crate) use error::UNSYNCED;
pub(crate) use lease::has_writer;
pub use lease::{Lease, Notice};
pub use replace::{ReplaceOptions, Replacement, replace_file};
pub(crate) use reserve::reserve_with_pauses;
pub use reserve::{Promise, reserve, reserve_slowly};

pub(crate) use snapshot::{Frozen, Request, freeze, memory_left};
pub(crate) use target::Target;

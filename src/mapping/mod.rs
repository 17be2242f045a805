//! Guarded maps: a mapped file that is truncated, overwritten or out of space is an error, never a
//! death and never a silent zero.
//!
//! Touching a page of a map that the file no longer has raises SIGBUS. Our handler, first in line,
//! looks up which map the address belongs to, asks the file why, stores the lowest lost offset in
//! the map's *poison word*, puts zeros in the place of exactly the lost pages, and returns. Whoever
//! reads looks at the poison word *after* the bytes. A good read costs what a read costs. Every
//! other SIGBUS goes to whoever had it before.
//!
//! | you | take |
//! |---|---|
//! | map files yourself | [`Map`], [`MapMut`], [`MapOptions`] |
//! | have a mapping that another crate or language made | [`adopt_range`] |
//! | use a library that maps by itself | [`adopt_file`] |
//! | want no registration at all | [`try_copy`] |
//! | want a `&[u8]` that stays | [`Snapshot`] |
//!
//! ```
//! use sigward::mapping::Map;
//! # let path = std::env::temp_dir().join(format!("sigward-mapping-{}", std::process::id()));
//! # std::fs::write(&path, b"some bytes")?;
//! let map = Map::open(&path)?;
//! let sum = map.with(0..map.len(), |view| (0..view.len()).filter_map(|at| view.get(at)).map(u64::from).sum::<u64>())?;
//! # assert_eq!(sum, b"some bytes".iter().map(|byte| u64::from(*byte)).sum());
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), std::io::Error>(())
//! ```

#[cfg_attr(not(target_os = "linux"), path = "adopted/unsupported.rs")]
mod adopted;
mod copy;
mod error;
mod fault;
mod fetch;
mod freshness;
mod grow;
mod handler;
mod identity;
mod kept;
mod map;
mod map_mut;
mod open;
mod options;
mod registry;
mod seat;
mod snapshot;
mod spare;
mod sync;
mod view;

pub use crate::file::snapshot::SnapshotKind;
pub use adopted::{Adopted, adopt_file, adopt_range};
pub use copy::{try_copy, try_copy_segv};
pub use error::Error;
pub use fault::{Cause, Fault};
pub use map::Map;
pub use map_mut::MapMut;
pub use options::MapOptions;
pub use seat::{Unprotected, guard, restore, thread_check};
pub use snapshot::{Snapshot, SnapshotOptions, snapshot};
pub use view::View;

#[cfg(feature = "capi")]
pub(crate) use adopted::adopt_path;
#[cfg(feature = "capi")]
pub(crate) use error::NO_DATA;
pub(crate) use seat::{ensure_on_top, is_guarding, mend_seat, seat};

use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Whether a fault at `address` would be looked after. Signal-safe. Of a map some nanoseconds;
/// else, where anything is adopted, the kernel is asked which file is mapped there.
#[must_use]
pub fn is_guarded(address: *const u8) -> bool {
    registry::find(address.addr()).is_some() || adopted::is_guarded(address.addr())
}

/// Memory that is promised without being kept ready, where that can be asked for.
#[cfg(not(any(target_os = "freebsd", target_os = "dragonfly")))]
const NO_RESERVE: c_int = libc::MAP_NORESERVE;
#[cfg(any(target_os = "freebsd", target_os = "dragonfly"))]
const NO_RESERVE: c_int = 0;

/// Bytes of a page. Known before any handler needs it, which may not ask.
pub(crate) fn page_size() -> usize {
    static SIZE: AtomicUsize = AtomicUsize::new(0);
    let known = SIZE.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    // SAFETY: no pointers.
    let size = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
    SIZE.store(size, Ordering::Relaxed);
    size
}

/// Whether a file can be mapped at all, for who wants to know before.
pub(crate) fn check_mappable(file: &std::fs::File) -> Result<(), Error> {
    identity::of_mappable(std::os::fd::AsRawFd::as_raw_fd(file)).map(drop)
}

/// What can be mapped and replaced of a file: pages, on hugetlbfs huge pages. `block` is what
/// fstat(2) said: only a file with large blocks has to be asked.
#[cfg(target_os = "linux")]
fn granule_of(descriptor: c_int, block: u64) -> Result<usize, Error> {
    if block <= page_size() as u64 {
        return Ok(page_size());
    }
    let mut room = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: room for one struct.
    if unsafe { libc::fstatfs(descriptor, room.as_mut_ptr()) } != 0 {
        return Err(Error::system("fstatfs"));
    }
    // SAFETY: the call returned 0, so it filled the struct.
    let room = unsafe { room.assume_init_ref() };
    #[allow(clippy::unnecessary_cast, clippy::cast_lossless, reason = "the types differ between C libraries")]
    let huge = room.f_type as i64 == libc::HUGETLBFS_MAGIC as i64;
    Ok(if huge { room.f_bsize as usize } else { page_size() })
}

#[cfg(not(target_os = "linux"))]
fn granule_of(_descriptor: c_int, _block: u64) -> Result<usize, Error> {
    Ok(page_size())
}

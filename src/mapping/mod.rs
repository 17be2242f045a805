//! Guarded maps: a mapped file that is truncated, overwritten or out of space is an error, and no
//! death or silent zero, wherever the kernel raises a signal. What raises none is listed at
//! [`Map`]; [`Map::verify`] looks for it.
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
//! let sum = map.with(0..map.len(), |view| {
//!     (0..view.len()).filter_map(|at| view.get(at)).map(u64::from).sum::<u64>()
//! })?;
//! # assert_eq!(sum, b"some bytes".iter().map(|byte| u64::from(*byte)).sum());
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), std::io::Error>(())
//! ```

#[cfg_attr(not(target_os = "linux"), path = "adopted/unsupported.rs")]
mod adopted;
mod cache;
mod error;
mod failures;
mod freshness;
mod grow;
mod kept;
mod lengths;
mod map;
mod map_mut;
mod open;
mod options;
mod snapshot;
mod view;

pub use crate::file::snapshot::SnapshotKind;
pub use crate::file::snapshot::moment::Moment;
pub use crate::sigbus::copy::try_copy;
pub use crate::sigbus::fault::{Cause, Fault};
pub use crate::sigbus::is_guarded;
#[doc(hidden)]
pub use crate::sigbus::outside;
pub use crate::sigbus::seat::{Unprotected, guard, thread_check};
pub use crate::sigbus::segv::try_copy_segv;
pub use adopted::{Adopted, adopt_file, adopt_range};
pub use error::Error;
pub use map::Map;
pub use map_mut::MapMut;
pub use options::MapOptions;
pub use snapshot::{Snapshot, SnapshotOptions, snapshot};
pub use view::View;

pub(crate) use crate::sigbus::guarding::is_guarding;
pub(crate) use crate::sigbus::seat::{ensure_on_top, mend_seat, seat};
#[cfg(feature = "capi")]
pub(crate) use adopted::adopt_path;
#[cfg(feature = "capi")]
pub(crate) use error::NO_DATA;

/// Leaves the seat: SIGBUS is as it was before us. A [`try_copy`] that another thread is in
/// meanwhile is not looked after any more. Idempotent. Thread-safe, works in a forked child, not
/// for signal handlers.
///
/// # Errors
/// [`Error::Busy`] while maps are open or files adopted; else as [`guard`].
pub fn restore() -> Result<(), Error> {
    if crate::sigbus::seat::vacate()? { Ok(()) } else { Err(Error::Busy) }
}

/// How many maps are guarded.
#[cfg(target_os = "linux")]
pub(crate) fn guarded() -> u64 {
    crate::sigbus::registry::registered()
}

/// Whether a file can be mapped at all: lets callers check in advance.
pub(crate) fn check_mappable(file: &std::fs::File) -> Result<(), Error> {
    crate::sigbus::identity::of_mappable(std::os::fd::AsRawFd::as_raw_fd(file))?;
    Ok(())
}

//! What Linux has for [`super::reserve`], and the calls that [`super::replace`] and
//! [`super::snapshot`] make quiet.

mod allocate;
mod extents;
mod promise;
mod quiet;
mod room;
mod slowly;

pub(super) use allocate::{Reservation, over_size_limit};
pub(super) use extents::extents;
pub(super) use promise::inode_flags;
pub(super) use quiet::{Hold, quietly};

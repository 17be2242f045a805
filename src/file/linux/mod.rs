//! What Linux has for [`super::reserve`].

mod allocate;
mod extents;
mod promise;
mod room;
mod slowly;

pub(super) use allocate::{Reservation, over_size_limit};
pub(super) use extents::extents;
pub(super) use promise::inode_flags;

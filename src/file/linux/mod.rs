//! What Linux has for [`super::reserve`], and the calls that [`super::replace`] makes quiet.

mod allocate;
mod extents;
mod growing;
mod promise;
mod quiet;
mod slowly;
mod undo;

pub(super) use allocate::Reservation;
pub(super) use growing::Growing;
pub(super) use quiet::{Hold, quietly};

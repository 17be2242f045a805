//! What happened: counters, and the last deliveries one by one. Written inside handlers, read anywhere.

pub mod counters;
mod event;
mod library;
pub(crate) mod ring;

pub use counters::Counters;
pub use event::{Event, FdKind};
pub use ring::read as read_events;

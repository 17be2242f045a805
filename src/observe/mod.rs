//! What happened: counters, and the last deliveries one by one. Written inside handlers, read anywhere.

#[cfg(target_os = "linux")]
mod call_site;
pub(crate) mod counters;
mod event;
pub(crate) mod in_handler;
pub(crate) use library::object_at;
mod library;
pub(crate) mod log;
pub(crate) mod ring;

pub use counters::Counters;
pub use event::{Event, FdKind};
pub use log::to_stderr as log_to_stderr;
pub use ring::read as read_events;

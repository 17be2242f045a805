//! What happened: counters, and the last deliveries one by one. Written inside handlers, read
//! anywhere.

#[cfg(target_os = "linux")]
mod call_site;
pub(crate) mod counters;
mod event;
#[cfg(any(feature = "log", feature = "tracing"))]
mod fields;
pub(crate) mod in_handler;
pub(crate) use library::object_at;
pub(crate) mod last_words;
pub(crate) mod library;
mod line;
pub(crate) mod log;
pub(crate) mod ring;
pub(crate) mod text;
#[cfg(feature = "log")]
mod to_log;
#[cfg(feature = "tracing")]
mod to_tracing;
#[cfg(target_os = "linux")]
mod unwind;
mod watch;
pub(crate) mod without_events;

pub use counters::Counters;
pub use event::{Event, FdKind};
pub use last_words::{last_words, last_words_as_json};
pub use log::to_stderr as log_to_stderr;
pub use ring::read as read_events;
#[cfg(feature = "log")]
pub use to_log::log_events;
#[cfg(feature = "tracing")]
pub use to_tracing::trace_events;
pub use watch::{Unreported, Watch, watch};
pub use without_events::without_events;

//! Events for the `tracing` crate.

use super::fields::{Fields, REST};
use super::{Unreported, Watch, watch};
use std::io;
use std::time::Duration;

/// Emits a `tracing` event for each event from now on: target `sigward`, level warn, the event's
/// line as the message, and as fields what is known of it.
///
/// | field | |
/// |---|---|
/// | `error.type` | `EPIPE`; of a loss in a map `truncated`, `no_space`, `io`, `hardware`, `unknown` |
/// | `process.pid`, `thread.id`, `thread.name` | who wrote, or met the loss |
/// | `network.peer.address`, `network.peer.port`, `network.transport`, `network.type` | of a broken peer |
/// | `file.path`, `file.inode`, `file.size` | of the mapped file; its size if it was cut |
/// | `sigward.signal`, `sigward.event`, `sigward.time_ns` | SIGPIPE or SIGBUS; the event's number; when it was |
/// | `sigward.fd`, `sigward.library` | the descriptor; who called |
/// | `sigward.call`, `sigward.kind`, `sigward.inode`, `sigward.written` | the system call; what was written to; bytes of a partial write |
/// | `sigward.access`, `sigward.offset` | read or write; the lowest lost byte |
/// | `sigward.missed`, `sigward.suppressed` | [`Unreported`] since the event before, where it is not 0 |
///
/// Names are OpenTelemetry's where there are such; a field whose value is not known is left out.
/// The thread, its end and forked children are as [`watch`] says. On that thread it is the global
/// default subscriber that gets them, in no span.
///
/// # Errors
/// As [`watch`].
///
/// ```
/// let watch = sigward::observe::trace_events(std::time::Duration::from_secs(1))?;
/// // …
/// drop(watch); // all is told
/// # Ok::<(), std::io::Error>(())
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
pub fn trace_events(interval: Duration) -> io::Result<Watch> {
    watch(interval, |event, Unreported { missed, suppressed }| {
        let missed = (missed > 0).then_some(missed);
        let suppressed = (suppressed > 0).then_some(suppressed);
        let Some(event) = event else {
            tracing::warn!(
                target: "sigward",
                { "sigward.missed" = missed, "sigward.suppressed" = suppressed },
                "{REST}"
            );
            return;
        };
        let of = Fields::of(event);
        tracing::warn!(
            target: "sigward",
            {
                "error.type" = of.error_type,
                "process.pid" = of.process_pid,
                "thread.id" = of.thread_id,
                "thread.name" = of.thread_name,
                "sigward.event" = of.event,
                "sigward.time_ns" = of.time_ns,
                "sigward.signal" = of.signal,
                "sigward.fd" = of.fd,
                "sigward.library" = of.library.as_deref(),
                "network.peer.address" = of.peer_address.as_deref(),
                "network.peer.port" = of.peer_port,
                "network.transport" = of.transport,
                "network.type" = of.network_type,
                "sigward.call" = of.call,
                "sigward.kind" = of.kind,
                "sigward.inode" = of.inode,
                "sigward.written" = of.written,
                "file.path" = of.file_path.as_deref(),
                "file.inode" = of.file_inode.as_deref(),
                "file.size" = of.file_size,
                "sigward.access" = of.access,
                "sigward.offset" = of.offset,
                "sigward.missed" = missed,
                "sigward.suppressed" = suppressed,
            },
            "{event}"
        );
    })
}

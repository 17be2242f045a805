//! Events for the `log` crate.

#[cfg(doc)]
use super::Unreported;
use super::fields::{Fields, REST};
use super::{Watch, watch};
use log::kv::Value;
use std::io;
use std::time::Duration;

/// Logs each event from now on with the `log` crate: target `sigward`, level warn, the event's line
/// as the message, and as key-values what is known of it.
///
/// | key | |
/// |---|---|
/// | `error.type` | `EPIPE`; of a loss in a map `truncated`, `no_space`, `io`, `hardware`, `unknown` |
/// | `process.pid`, `thread.id`, `thread.name` | who wrote, or met the loss |
/// | `network.peer.address`, `network.peer.port`, `network.transport`, `network.type` | of a broken peer |
/// | `file.path`, `file.inode`, `file.size` | of the mapped file; its size if it was cut |
/// | `sigward.signal`, `sigward.event`, `sigward.time_ns` | SIGPIPE or SIGBUS; the event's number; when it was |
/// | `sigward.fd`, `sigward.library` | the descriptor; who called |
/// | `sigward.call`, `sigward.kind`, `sigward.inode`, `sigward.written` | the system call; what was written to; bytes of a partial write |
/// | `sigward.access`, `sigward.offset` | read or write; the lowest lost byte |
/// | `sigward.missed`, `sigward.suppressed` | [`Unreported`] since the record before, where it is not 0 |
///
/// Names are OpenTelemetry's where there are such; a key whose value is not known is left out. The
/// thread, its end and forked children are as [`watch`] says.
///
/// # Errors
/// As [`watch`].
///
/// ```
/// let watch = sigward::observe::log_events(std::time::Duration::from_secs(1))?;
/// // …
/// drop(watch); // all is logged
/// # Ok::<(), std::io::Error>(())
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "log")))]
pub fn log_events(interval: Duration) -> io::Result<Watch> {
    watch(interval, |event, unreported| {
        if !log::log_enabled!(target: "sigward", log::Level::Warn) {
            return;
        }
        let fields = event.map(Fields::of);
        let mut keys = fields.as_ref().map(keys).unwrap_or_default();
        for (key, count) in
            [("sigward.missed", unreported.missed), ("sigward.suppressed", unreported.suppressed)]
        {
            put(&mut keys, key, (count > 0).then_some(count));
        }
        match event {
            Some(event) => record(format_args!("{event}"), &keys),
            None => record(format_args!("{REST}"), &keys),
        }
    })
}

type Keys<'a> = Vec<(&'static str, Value<'a>)>;

fn put<'a>(keys: &mut Keys<'a>, key: &'static str, value: Option<impl Into<Value<'a>>>) {
    keys.extend(value.map(|value| (key, value.into())));
}

fn keys<'a>(of: &'a Fields<'_>) -> Keys<'a> {
    let mut keys = vec![
        ("error.type", of.error_type.into()),
        ("process.pid", of.process_pid.into()),
        ("thread.id", of.thread_id.into()),
        ("thread.name", of.thread_name.into()),
        ("sigward.event", of.event.into()),
        ("sigward.time_ns", of.time_ns.into()),
        ("sigward.signal", of.signal.into()),
    ];
    put(&mut keys, "sigward.fd", of.fd);
    put(&mut keys, "sigward.library", of.library.as_deref());
    put(&mut keys, "network.peer.address", of.peer_address.as_deref());
    put(&mut keys, "network.peer.port", of.peer_port);
    put(&mut keys, "network.transport", of.transport);
    put(&mut keys, "network.type", of.network_type);
    put(&mut keys, "sigward.call", of.call);
    put(&mut keys, "sigward.kind", of.kind);
    put(&mut keys, "sigward.inode", of.inode);
    put(&mut keys, "sigward.written", of.written);
    put(&mut keys, "file.path", of.file_path.as_deref());
    put(&mut keys, "file.inode", of.file_inode.as_deref());
    put(&mut keys, "file.size", of.file_size);
    put(&mut keys, "sigward.access", of.access);
    put(&mut keys, "sigward.offset", of.offset);
    keys
}

fn record(message: std::fmt::Arguments<'_>, keys: &[(&str, Value<'_>)]) {
    let mut record = log::Record::builder();
    record.args(message).level(log::Level::Warn).target("sigward").key_values(&keys);
    log::logger().log(&record.build());
}

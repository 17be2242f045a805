//! What a log says of an event, field by field, under the names of OpenTelemetry's semantic
//! conventions where there are such. The Go package's `sigwardslog.Attrs` has the same.

use super::event::{Event, FdKind};
use std::borrow::Cow;

/// The fields of one event; none where it could not be told or makes no sense.
pub(super) struct Fields<'a> {
    /// `EPIPE`; of a loss its cause in one word.
    pub(super) error_type: &'static str,
    pub(super) process_pid: u32,
    pub(super) thread_id: i32,
    pub(super) thread_name: &'a str,
    pub(super) event: u64,
    pub(super) time_ns: u64,
    pub(super) signal: &'static str,
    pub(super) fd: Option<i32>,
    pub(super) library: Option<String>,

    pub(super) peer_address: Option<String>,
    pub(super) peer_port: Option<u16>,
    pub(super) transport: Option<&'static str>,
    pub(super) network_type: Option<&'static str>,
    pub(super) call: Option<&'static str>,
    pub(super) kind: Option<&'static str>,
    pub(super) inode: Option<u64>,
    /// Bytes of a partial write.
    pub(super) written: Option<u64>,

    pub(super) file_path: Option<Cow<'a, str>>,
    pub(super) file_inode: Option<String>,
    /// Of a file that was cut.
    pub(super) file_size: Option<u64>,
    pub(super) access: Option<&'static str>,
    pub(super) offset: Option<u64>,
}

impl<'a> Fields<'a> {
    pub(super) fn of(event: &'a Event) -> Self {
        let loss = event.kind() == FdKind::Map;
        let unless_loss = |value: &'static str| (!loss).then_some(value);
        let address = event.peer_address();
        let path = event.peer_path();
        let transport = match event.kind() {
            FdKind::Pipe => Some("pipe"),
            _ => path.map(|_| "unix"),
        };
        let kind = match event.kind() {
            FdKind::Pipe => "pipe",
            FdKind::Socket => "socket",
            FdKind::Other => "other",
            FdKind::Map | FdKind::Unknown => "unknown",
        };
        let cause = match event.cause {
            1 => "truncated",
            2 => "no_space",
            3 => "io",
            4 => "hardware",
            _ => "unknown",
        };
        Self {
            error_type: if loss { cause } else { "EPIPE" },
            process_pid: std::process::id(),
            thread_id: event.tid,
            thread_name: event.thread_name(),
            event: event.number,
            time_ns: event.time_ns,
            signal: if loss { "SIGBUS" } else { "SIGPIPE" },
            fd: (event.fd >= 0).then_some(event.fd),
            library: event.library(),
            peer_address: address
                .map(|address| address.ip().to_string())
                .or_else(|| path.map(|path| path.display().to_string())),
            peer_port: address.map(|address| address.port()),
            transport,
            network_type: address.map(|address| if address.is_ipv4() { "ipv4" } else { "ipv6" }),
            call: event.operation_name().filter(|_| !loss),
            kind: unless_loss(kind),
            inode: (!loss && event.inode != 0).then_some(event.inode),
            written: u64::try_from(event.result).ok().filter(|_| !loss),
            file_path: event.map_path().map(|path| path.to_string_lossy()),
            file_inode: loss.then(|| event.inode.to_string()),
            file_size: (loss && event.cause == 1).then_some(event.len_now),
            access: loss.then_some(if event.write == 1 { "write" } else { "read" }),
            offset: loss.then_some(event.offset),
        }
    }
}

/// The message of what is left at the end.
pub(super) const REST: &str = "events of sigward without a record";

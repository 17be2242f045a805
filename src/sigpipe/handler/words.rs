//! What is said of a SIGPIPE that ends the process.

use super::{describe, find_echo};
use crate::chain::Delivery;
use crate::observe::last_words::in_handler::{Subject, Told, report};
use crate::observe::text::Text;
use crate::observe::{FdKind, library};

/// Before the default action. A handler gets it every time, and lives.
pub(in crate::sigpipe) fn farewell(delivery: &Delivery<'_>, handler: Option<usize>) {
    if handler.is_some() {
        return;
    }
    let subject = Subject {
        signal: delivery.signal,
        code: delivery.code(),
        address: None,
        sender: delivery.sender(),
        handler,
    };
    report(&subject, &mut |line| tell(line, delivery));
}

/// Which write, to whom, by which library, if it is the echo of one.
fn tell(line: &mut Text<'_>, delivery: &Delivery<'_>) -> Told {
    let Some(echo) = find_echo(delivery) else { return Told::Nothing };
    let event = describe::event(&echo);
    line.push(event.operation_c_name().map_or(b"a write".as_slice(), std::ffi::CStr::to_bytes));
    line.push(b" to ");
    line.target(&event);
    if let Some(library) = library::caller(&event) {
        line.push(b" by ");
        line.push_name(library.bytes());
    }
    line.push(if event.kind() == FdKind::Pipe {
        b": its reader is gone"
    } else {
        b": the peer is gone"
    });
    if event.result < 0 {
        line.push(b" (EPIPE)");
    } else {
        line.push(b" after ");
        line.grouped(event.result.unsigned_abs());
        line.push(b" bytes");
    }
    Told::Cause
}

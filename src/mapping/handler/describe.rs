//! Who met the loss, when, in which file: for the map's record, the ring of events and the line on stderr.

use super::Fault as Delivered;
use crate::mapping::fault::Fault;
use crate::mapping::kept;
use crate::mapping::registry::Facts;
use crate::observe::in_handler::{describe_moment, link_of, stack_words};
use crate::observe::{Event, log, ring};

/// Fills in time and thread.
pub(super) fn complete(fault: &mut Fault, delivered: &Delivered) {
    let mut moment = Event::blank(libc::SIGBUS);
    describe_moment(&mut moment);
    fault.time_ns = moment.time_ns;
    fault.tid = moment.tid;
    fault.thread = moment.thread;
    fault.address = delivered.address as u64;
    fault.write = u32::from(delivered.write == Some(true));
}

/// Writes the event.
pub(super) fn report(facts: &Facts, fault: &Fault, delivered: &Delivered) {
    let mut event = Event::blank(libc::SIGBUS);
    event.time_ns = fault.time_ns;
    event.tid = fault.tid;
    event.thread = fault.thread;
    let own = kept::look(facts).is_some();
    event.fd = if own { facts.descriptor } else { -1 };
    event.fd_kind = Event::MAP;
    event.inode = facts.identity.inode;
    event.result = -i64::from(fault.error);
    event.pc = delivered.pc as u64;
    event.stack = stack_words(delivered.stack);
    if delivered.link != 0 {
        // It comes before everything on the stack.
        event.stack.rotate_right(1);
        event.stack[0] = delivered.link as u64;
    }
    event.offset = fault.offset;
    event.len_now = fault.len_now;
    event.cause = fault.cause as u32;
    event.write = fault.write;
    if facts.path.is_null() && own {
        // Opened by somebody else: the kernel knows the name.
        event.peer_len = link_of(facts.descriptor, &mut event.peer) as u32;
    } else {
        event.set_path(facts.path);
    }
    log::in_handler(&event);
    ring::push(&event);
}

//! Who met the loss, when, in which file: for the map's record, the ring of events and the line on
//! stderr.

use super::Fault as Delivered;
use crate::observe::in_handler::{describe_moment, link_of, stack_words};
use crate::observe::{Event, log, ring};
use crate::sigbus::fault::Fault;
use std::ffi::{c_char, c_int};

/// Fills in what the delivery says: time, thread, address.
#[inline(never)]
pub(crate) fn complete(fault: &mut Fault, delivered: &Delivered) {
    moment(fault);
    place(fault, delivered);
}

/// Fills in where.
pub(crate) fn place(fault: &mut Fault, delivered: &Delivered) {
    fault.address = delivered.address as u64;
    fault.write = u32::from(delivered.write == Some(true));
}

/// Fills in time and thread. Never inlined, here and below: their frames are not on the stack while
/// pages are replaced.
#[inline(never)]
pub(crate) fn moment(fault: &mut Fault) {
    let mut moment = Event::blank(libc::SIGBUS);
    describe_moment(&mut moment);
    (fault.time_ns, fault.tid, fault.thread) = (moment.time_ns, moment.tid, moment.thread);
}

/// Fills in what tells who has met the fault.
pub(crate) fn call_site(event: &mut Event, delivered: &Delivered) {
    event.pc = delivered.pc as u64;
    event.stack = stack_words(delivered.stack);
    if delivered.link != 0 {
        // It comes before everything on the stack.
        event.stack.rotate_right(1);
        event.stack[0] = delivered.link as u64;
    }
}

/// Fills in the event of a loss in the file of this descriptor (or -1), inode and path (or null).
#[inline(never)]
pub(crate) fn event(
    event: &mut Event,
    fault: &Fault,
    delivered: &Delivered,
    descriptor: c_int,
    inode: u64,
    path: *const c_char,
) {
    event.time_ns = fault.time_ns;
    event.tid = fault.tid;
    event.thread = fault.thread;
    event.fd = descriptor;
    event.fd_kind = Event::MAP;
    event.inode = inode;
    event.result = -i64::from(fault.error);
    call_site(event, delivered);
    event.offset = fault.offset;
    event.len_now = fault.len_now;
    event.cause = fault.cause as u32;
    event.write = fault.write;
    if path.is_null() && descriptor >= 0 {
        // Opened by somebody else: the kernel knows the name.
        event.peer_len = link_of(descriptor, &mut event.peer) as u32;
    } else {
        event.set_path(path);
    }
}

/// Makes the event of a loss and writes it.
#[inline(never)]
pub(crate) fn tell(
    fault: &Fault,
    delivered: &Delivered,
    descriptor: c_int,
    inode: u64,
    path: *const c_char,
) {
    let mut made = Event::blank(libc::SIGBUS);
    event(&mut made, fault, delivered, descriptor, inode, path);
    report(&made);
}

/// Writes it.
pub(crate) fn report(event: &Event) {
    log::in_handler(event);
    ring::push(event);
}

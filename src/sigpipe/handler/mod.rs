//! One SIGPIPE inside the handler: is it the echo of a write, whose is it, who gets it.

mod calls;
pub(super) mod describe;
pub(super) mod echo;
#[cfg(target_os = "linux")]
mod words;

use super::{quiet, runtime, stdio, wanted};
#[cfg(not(target_os = "linux"))]
pub(super) use crate::chain::no_farewell as farewell;
use crate::chain::{Delivery, Kind, Verdict};
use crate::observe::{counters, log, ring, without_events};
use crate::sys::wiped;
use echo::{Echo, Probe, Written};
use std::ffi::c_int;
#[cfg(target_os = "linux")]
pub(super) use words::farewell;

/// Whether this system's contexts show the system call that a SIGPIPE came from.
pub(super) const SEES_ECHOES: bool =
    cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")));

/// The decision for one delivery.
pub(super) fn decide(delivery: &Delivery<'_>) -> Verdict {
    if !delivery.active || wanted::only_explains() {
        // Another copy of this library above us has not left.
        let wanted = delivery.is_noted_echo() && delivery.predecessor.kind() == Kind::Default;
        return if wanted { Verdict::Swallow } else { leave_to_runtime(delivery) };
    }
    let Some(echo) = find_echo(delivery) else { return leave_to_runtime(delivery) };
    let quiet = is_quiet(&echo);
    if !quiet && stdio::is_the_predecessors(echo.fd()) {
        // As if it were no echo: `prog | head` ends.
        delivery.tell_of_sender();
        return leave_to_runtime(delivery);
    }
    if !quiet && belongs_to_predecessor(delivery, &echo) {
        delivery.note_echo();
        return Verdict::PassOn;
    }
    counters::SWALLOWED.add();
    if without_events::is_on() {
        counters::UNATTRIBUTED.add();
    } else {
        tell(&echo);
    }
    Verdict::Swallow
}

/// Keeps the event.
#[cold]
#[inline(never)]
fn tell(echo: &Echo) {
    let event = describe::event(echo);
    if event.fd < 0 {
        counters::UNATTRIBUTED.add();
    }
    log::in_handler(&event);
    ring::push(&event);
}

#[inline(never)]
fn find_echo(delivery: &Delivery<'_>) -> Option<Echo> {
    let own = || {
        delivery.code() == Some(echo::SI_USER)
            && delivery.sender().is_some_and(wiped::is_own_process)
    };
    if !delivery.is_unsigned() && !own() {
        return None;
    }
    // By reference: a copy would lie on every delivery's stack.
    let registers = delivery.registers();
    let mut echo = echo::find(registers.as_ref()?, &Kernel)?;
    if echo.written == Written::ToFirst {
        echo.written = delivery
            .first_argument()
            .and_then(echo::descriptor_in)
            .map_or(Written::Unknown, Written::To);
    }
    Some(echo)
}

/// Whether the thread or the descriptor was declared quiet. Where the number of the call is
/// unknown, as in Go's own, the descriptor is looked for only if one of those that it can be is in
/// the table.
#[inline(never)]
fn is_quiet(echo: &Echo) -> bool {
    match echo.written {
        Written::OneOf(choice)
            if choice.into_iter().flatten().any(|fd| quiet::is_quiet(Some(fd))) =>
        {
            quiet::is_quiet(describe::only_refusing(choice))
        }
        _ => quiet::is_quiet(echo.fd()),
    }
}

/// The kernel, asked by signal-safe system calls.
struct Kernel;

impl Probe for Kernel {
    fn is_broken(&self, fd: c_int) -> bool {
        without_events::is_on() || describe::is_broken(fd)
    }

    fn is_ring(&self, fd: c_int) -> bool {
        !without_events::is_on() && describe::is_ring(fd)
    }

    fn is_aio_context(&self, context: u64) -> bool {
        without_events::is_on() || describe::is_aio_context(context)
    }

    fn length_of(&self, vector: u64, pieces: u64) -> Option<u64> {
        (!without_events::is_on()).then(|| describe::length_of(vector, pieces)).flatten()
    }

    fn vector_of(&self, message: u64) -> Option<[u64; 2]> {
        (!without_events::is_on()).then(|| describe::vector_of(message)).flatten()
    }
}

/// Whether the predecessor would have dealt with this echo itself, and well.
#[inline(never)]
fn belongs_to_predecessor(delivery: &Delivery<'_>, echo: &Echo) -> bool {
    match delivery.predecessor.kind() {
        // "Deal with" would be to end the process: the death that we are here for.
        Kind::Default | Kind::Ignore => false,
        // Go's own writes are Go's business (`signal.Notify`); a foreign thread's would end the
        // process.
        Kind::Handler { .. } if runtime::go_is_here() => runtime::is_go_code(echo.pc),
        // A C host's, the JVM's, another copy of this library: it was there first and keeps its
        // signals.
        Kind::Handler { .. } => true,
    }
}

/// A signal that is no echo goes to the predecessor, with one exception.
///
/// When Go has forwarded it to our constructor's seat from one of its own threads (idle, or in a C
/// call), then without us Go would have found SIG_DFL here, kept the signal and ignored it. Ending
/// the process would make things worse. (The Go package avoids this by giving Go its SIG_DFL back:
/// then nothing is forwarded.)
fn leave_to_runtime(delivery: &Delivery<'_>) -> Verdict {
    if delivery.predecessor.kind() != Kind::Default || !delivery.was_forwarded() {
        return Verdict::PassOn;
    }
    let kept_by_go = runtime::go_is_here() && describe::on_go_signal_stack(delivery.stack());
    // HotSpot drops a SIGPIPE that nobody beneath it wants (`JVM_handle_linux_signal`).
    let kept = kept_by_go || describe::is_mapped(b"/libjvm.so\n");
    if kept { Verdict::Swallow } else { Verdict::PassOn }
}

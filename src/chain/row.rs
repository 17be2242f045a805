//! What we write into the kernel's table.

use super::disposition::{Disposition, Kind};
use super::handler::trampolines::address_of;
use std::ffi::c_int;

/// Flags of a predecessor that change what the kernel does before and after the handler, and so are
/// ours as well. `SA_RESETHAND` is not: it would remove us; the handler does it for the
/// predecessor.
const KEPT: c_int = libc::SA_RESTART | libc::SA_NODEFER | libc::SA_NOCLDSTOP | libc::SA_NOCLDWAIT;

/// What goes into the kernel's table for entry `index` above `predecessor`.
pub(super) fn disposition_of(
    signal: c_int,
    index: usize,
    predecessor: &Disposition,
) -> Disposition {
    let flags = match predecessor.kind() {
        // With the default action nothing would have been interrupted and then gone on.
        Kind::Default | Kind::Ignore => libc::SA_RESTART,
        Kind::Handler { .. } => predecessor.flags & KEPT,
    };
    // SA_SIGINFO: who sent it decides. SA_ONSTACK: a goroutine's stack has no room for a handler,
    // and Go ends the process over a handler without it; harmless for threads that have no
    // alternate stack.
    Disposition {
        handler: address_of(index),
        flags: flags | libc::SA_SIGINFO | libc::SA_ONSTACK,
        mask: marked(mask_of(signal, predecessor), signal, flags),
    }
}

/// What is blocked while our handler runs. For faults it is everything: the handler of some other
/// signal that interrupted ours and met a fault of its own would be killed, as its signal is
/// blocked then. (A predecessor runs with its own mask all the same.)
fn mask_of(signal: c_int, predecessor: &Disposition) -> libc::sigset_t {
    let mut mask = predecessor.mask;
    if matches!(signal, libc::SIGBUS | libc::SIGSEGV) {
        // SAFETY: room for a set.
        unsafe { libc::sigfillset(&raw mut mask) };
    }
    mask
}

/// Makes our row in the kernel's table one that nobody else writes: whether the signal itself is in
/// the mask means nothing, as the kernel blocks it anyway without `SA_NODEFER`. So a SIG_IGN with
/// our flags and our mask can only be from somebody who copied our row and changed the handler.
fn marked(mut mask: libc::sigset_t, signal: c_int, flags: c_int) -> libc::sigset_t {
    if flags & libc::SA_NODEFER == 0 {
        // SAFETY: an initialised set and a valid number.
        let held = unsafe { libc::sigismember(&raw const mask, signal) } == 1;
        let change = if held { libc::sigdelset } else { libc::sigaddset };
        // SAFETY: as above.
        unsafe { change(&raw mut mask, signal) };
    }
    mask
}

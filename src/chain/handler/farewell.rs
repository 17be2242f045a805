//! Last words, before a delivery goes on to what may end the process.

use super::Delivery;
#[cfg(target_os = "linux")]
use super::Errno;
#[cfg(target_os = "linux")]
use crate::chain::entry::entries_for;
#[cfg(target_os = "linux")]
use crate::observe::last_words;

/// Lets the owner of the seat say what has happened. What a handler has raised again is told as the
/// fault that it was called for.
#[cfg(target_os = "linux")]
pub(super) fn farewell(delivery: &Delivery<'_>, handler: Option<usize>) {
    if last_words::explains() {
        say(delivery, handler);
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn farewell(_delivery: &Delivery<'_>, _handler: Option<usize>) {}

#[cfg(target_os = "linux")]
#[cold]
#[inline(never)]
fn say(delivery: &Delivery<'_>, handler: Option<usize>) {
    let errno = Errno::save();
    if let Some(owner) = entries_for(delivery.signal).find_map(|(_, entry)| entry.owner()) {
        match delivery.raised_for() {
            Some(fault) => {
                let (info, context, filled) = (fault.info, fault.context, fault.filled);
                (owner.farewell)(&Delivery { info, context, filled, ..*delivery }, handler);
            }
            None => (owner.farewell)(delivery, handler),
        }
    }
    errno.restore();
}

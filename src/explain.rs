//! Last words: the library's two seats, taken to say what the process dies of.

use crate::error::Error;
#[cfg(target_os = "linux")]
use crate::{mapping, sigpipe};

/// Says what the process dies of, from now on: one line on stderr, and to the descriptor of
/// [`observe::last_words`](crate::observe::last_words), before a SIGPIPE or SIGBUS that comes by
/// here ends it. Whether it ends is not changed: the default action follows, or the handler of
/// somebody else, with its own report.
///
/// ```text
/// sigward: last words: SIGPIPE (code 0) on thread "pool-3" (tid 4713) of pid 4711: write to fd 17
///     (socket:[8123], peer 127.0.0.1:5432) by libfoo.so: the peer is gone (EPIPE)
/// sigward: last words: SIGBUS (code 2, address 0x7f3a50014000) on thread "app" (tid 4711) of pid
///     4711: read at offset 81,920 of /data/geo.mmdb (67,108,864 bytes mapped) by app: the file is
///     0 bytes long now
/// sigward: last words: SIGBUS (…) on thread …: write at offset 81,920 of /var/lib/app.db
///     (67,108,864 bytes mapped) by app: the disk is full (0 bytes free), and the file with holes
///     has no block there
/// ```
///
/// (Each is one line.) The beginning, up to the signal's name, stays as it is in later versions, so
/// `grep 'sigward: last words: SIGBUS'` finds them. A line is one write of at most 1,024 bytes. A
/// long path loses its beginning; control characters in names become `?`.
///
/// A fault that goes to somebody's handler may end there or go on (Go's panics, the JVM, a
/// longjmp): nobody knows before. Such a one is told in other words, at most 16 times in the life
/// of a process: `sigward: passing on: SIGBUS …; it goes to the handler of libjvm.so`.
///
/// The seat for SIGBUS is taken as by [`guard`](crate::mapping::guard). Where SIGPIPE has its
/// default action and no policy was set, a seat that lets everything pass is taken for it;
/// [`filter`](crate::sigpipe::filter) makes it one that filters,
/// [`restore`](crate::sigpipe::restore) leaves it. Nothing is told where somebody else has written
/// over a seat, of a SIGPIPE that a handler gets or that is ignored, of a fault in a thread that
/// has SIGBUS blocked (the kernel asks nobody), and in the first process of a pid namespace, which
/// such a signal does not end.
///
/// A line that stderr cannot take at once is left out, and so is one for a stderr that was closed
/// or has become another file since: call this again after redirecting it. Of two threads that die
/// at once, one is told or both, each in a line of its own; a thread waits for the other's line for
/// 200 ms at most.
///
/// Idempotent, thread-safe; a forked child goes on as its parent. Not for signal handlers.
///
/// # Errors
/// [`Error::Unsupported`] on other systems than Linux. [`Error::System`] (ENOMEM), and as
/// [`guard`](crate::mapping::guard) and [`filter`](crate::sigpipe::filter).
///
/// ```
/// sigward::explain()?;
/// # Ok::<(), sigward::Error>(())
/// ```
pub fn explain() -> Result<(), Error> {
    explain_faults(true)
}

/// As [`explain`]; without `faults` the seat for SIGBUS is not taken.
#[cfg(target_os = "linux")]
pub(crate) fn explain_faults(faults: bool) -> Result<(), Error> {
    crate::sys::wiped::words().ok_or(Error::System(libc::ENOMEM))?;
    if faults {
        mapping::guard()?;
    }
    sigpipe::explain()?;
    crate::observe::last_words::explain();
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn explain_faults(_faults: bool) -> Result<(), Error> {
    Err(Error::Unsupported)
}

//! stdout and stderr that are pipes: Go's own rule, for every host.
//!
//! `prog | head` must end. A program whose stdout is a pipe that nobody reads any more is told so
//! by SIGPIPE, and most programs do not look at what printf(3) returned. So the echo of a write to
//! descriptor 1 or 2 goes to whoever had SIGPIPE before us, as os/signal documents it for Go's own
//! writes, provided that the descriptor is a pipe. A socket there is a peer like any other: an
//! inetd service, output that goes to journald, a daemon that uses the number anew.
//!
//! Where the processor hides the descriptor, the echo is swallowed.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

/// Relaxed: nothing else is read because of it.
static SWALLOW: AtomicBool = AtomicBool::new(false);

/// Whether the filter swallows the echoes of writes to a stdout or stderr that is a pipe as well.
/// Without it they go to the predecessor, and by default the program ends as `prog | head` does.
/// For services whose stdout somebody reads who may go away. [`restore`](super::restore) takes it
/// back.
///
/// Signal-safe, thread-safe; a forked child goes on as its parent.
///
/// ```
/// sigward::sigpipe::swallow_stdio(true);
/// # sigward::sigpipe::restore()?;
/// # Ok::<(), sigward::Error>(())
/// ```
#[doc(alias = "SIGWARD_SWALLOW_STDIO")]
pub fn swallow_stdio(swallow: bool) {
    SWALLOW.store(swallow, Ordering::Relaxed);
}

/// Whether the echo of a write to this descriptor is the predecessor's. Signal-safe; one system
/// call for descriptors 1 and 2 alone.
pub(super) fn is_the_predecessors(fd: Option<c_int>) -> bool {
    let Some(fd @ (libc::STDOUT_FILENO | libc::STDERR_FILENO)) = fd else { return false };
    !SWALLOW.load(Ordering::Relaxed) && !crate::observe::without_events::is_on() && is_pipe(fd)
}

/// Not inlined: what fstat(2) fills would lie on every delivery's stack.
#[cold]
#[inline(never)]
fn is_pipe(fd: c_int) -> bool {
    let mut found = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: room for the answer; a bad descriptor is an error.
    let status = unsafe { libc::fstat(fd, found.as_mut_ptr()) };
    // SAFETY: numbers, zero or filled.
    let found = unsafe { found.assume_init() };
    status == 0 && found.st_mode & libc::S_IFMT == libc::S_IFIFO
}

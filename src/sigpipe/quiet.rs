//! Threads and descriptors whose echoes end with us, whatever stands behind.
//!
//! A host's own handler keeps the echoes of its process: it was there first. A library that lives
//! in such a host and knows that it looks at each error declares its threads, for as long as they
//! work for it, or its descriptors. That changes no disposition and no mask, costs no system call,
//! and children know nothing of it.

#[cfg(any(test, all(target_os = "linux", target_arch = "x86_64")))]
mod descriptors;
mod threads;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) use descriptors::declare;
pub(crate) use threads::{enter, leave};

use crate::error::Error;
use std::ffi::c_int;
use std::marker::PhantomData;

/// Whether this thread, or the descriptor that it wrote to, was declared quiet. Signal-safe.
pub(super) fn is_quiet(fd: Option<c_int>) -> bool {
    threads::is_quiet() || fd.is_some_and(is_quiet_descriptor)
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
use descriptors::is_quiet as is_quiet_descriptor;

/// Elsewhere none can be declared.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn is_quiet_descriptor(_fd: c_int) -> bool {
    false
}

/// While this lives, SIGPIPEs that are the echo of a write of this thread end in our handler,
/// whatever stands behind it: a host's own handler, Go's.
///
/// It needs [`filter`](super::filter) or [`init`](crate::init), and our handler to be asked: on
/// top, or beneath one that passes signals on. Unlike a [`ThreadGuard`](super::ThreadGuard) it
/// changes no mask: nothing leaks into children, and a kill(2) does what it always did. What waits
/// behind a mask of yours comes, when you open that, as without us.
///
/// It nests. No system call, except for the first of a process, and for more threads at a time than
/// ever before. A thread that ends is not quiet any more. In a forked child the thread that forked
/// stays quiet. Signal-safe, except for that first one.
///
/// ```
/// sigward::init()?;
/// let quiet = sigward::sigpipe::QuietThread::enter()?;
/// // … calls that may write to a broken peer …
/// drop(quiet);
/// # Ok::<(), sigward::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the thread is quiet only while the guard lives"]
#[doc(alias = "sigward_quiet_thread_enter")]
pub struct QuietThread(PhantomData<*const ()>);

impl QuietThread {
    /// Makes this thread quiet.
    ///
    /// # Errors
    /// [`Error::System`] with ENOMEM if the kernel has no memory for one more thread, with
    /// EOVERFLOW at 2,047 guards of one thread.
    pub fn enter() -> Result<Self, Error> {
        enter().map(|()| Self(PhantomData))
    }
}

impl Drop for QuietThread {
    fn drop(&mut self) {
        // It was entered, on this thread: the guard cannot be sent to another.
        let _ = leave();
    }
}

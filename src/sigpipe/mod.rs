//! The process's policy for SIGPIPE: let it end where it is only the echo of an error, and nowhere
//! else.
//!
//! A write to a broken pipe or socket returns `EPIPE` *and* raises SIGPIPE, whose default is to end
//! the process. Code that looks at what write returned does not need the signal. So [`filter`] lets
//! those signals end in our handler that are provably such an echo, and gives every other one
//! (`kill -PIPE`, raise(3), sigqueue(3)) to whoever had it before us.
//!
//! | what stands there before | an echo of non-Go code | an echo of Go code | anything else |
//! |---|---|---|---|
//! | `SIG_DFL` | ends here | ends here | default action |
//! | Go's handler | ends here | Go gets it | Go gets it |
//! | another handler, no Go in the process | that handler gets it | – | that handler gets it |
//! | `SIG_IGN` | nobody is asked: `AlreadyIgnored` | | |
//!
//! In a process with Go the echo of a foreign thread must not reach Go's handler: with nothing
//! beneath it, Go puts SIG_DFL back and raises the signal again (`badsignal`,
//! runtime/signal_unix.go).

#[cfg(target_os = "linux")]
mod elf;

mod handler;
#[cfg(target_os = "linux")]
#[doc(hidden)]
pub mod outside;
mod policy;
pub(crate) mod quiet;
pub(crate) mod runtime;
mod stdio;
mod thread_guard;
mod wanted;

pub use crate::chain::Seat;
#[cfg(all(target_os = "linux", any(fuzzing, test)))]
pub(crate) use elf::names_go;
#[cfg(feature = "early")]
pub(crate) use policy::beneath;
pub(crate) use policy::ensure_on_top;
#[cfg(target_os = "linux")]
pub(crate) use policy::explain;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) use policy::is_asked;
#[cfg(feature = "capi")]
pub(crate) use policy::leave_alone;
#[cfg(all(feature = "early", target_os = "linux"))]
pub(crate) use policy::step_aside;
pub use policy::{
    Outcome, Previous, Status, filter, filter_instead_of_ignore, ignore, restore, status,
};
#[cfg(feature = "capi")]
pub(crate) use policy::{give_default_to_runtime, has_default_beneath};
pub use quiet::QuietThread;
pub use stdio::swallow_stdio;
pub(crate) use thread_guard::GuardState;
pub use thread_guard::ThreadGuard;

/// Whether a Go runtime is in the process, as its program or in a library.
#[cfg(target_os = "linux")]
pub(crate) fn has_go() -> bool {
    runtime::is_loaded()
}

/// Whether this system shows a handler what a system call has returned.
pub(crate) fn is_supported() -> bool {
    handler::SEES_ECHOES
}

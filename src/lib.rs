//! Signal hygiene for a process that holds more than one runtime.
//!
//! A write to a broken pipe or socket raises SIGPIPE, and on a thread that Go did not create that
//! ends a Go process: no core, no log. sigward lets such a signal end where it is only the echo of
//! an error that the write returned anyway, keeps every other one for whoever had it before, and
//! says which thread wrote to which descriptor and peer.
//!
//! A mapped file that somebody truncates, overwrites or that runs out of disk space raises SIGBUS.
//! In a guarded map that is an error with its cause ([`mapping::Map`]).
//!
//! ```
//! sigward::init()?;                       // once, from any thread
//! // … write on any thread, through any library: a broken peer is EPIPE …
//! let mut cursor = 0;
//! let mut events = [sigward::Event::default(); 16];
//! let count = sigward::read_events(&mut cursor, &mut events);
//! for event in &events[..count] {
//!     eprintln!("{event}");
//! }
//! # Ok::<(), sigward::Error>(())
//! ```
//!
//! | module | what for |
//! |---|---|
//! | [`sigpipe`] | the process's policy: [`sigpipe::filter`], [`sigpipe::ignore`], [`sigpipe::restore`] |
//! | [`mapping`] | mapped files whose loss is an error: [`mapping::Map`], guarding others' maps, the checked copy |
//! | [`mod@file`] | the habits that need no guard: reserved blocks, files replaced at once, leases |
//! | [`log`] | an append log: a full disk, a dead process, a torn tail are answers |
//! | [`reloading`] | the newest good version of a file that others update: [`reloading::Reloading`] |
//! | [`io`] | writers that cannot raise SIGPIPE, for libraries that leave the process's dispositions alone |
//! | `audit` | what may go wrong with signals in this process, before it does (Linux) |
//! | [`observe`] | [`Counters`], and the last swallowed signals and losses one by one |
//! | [`chain`] | the handlers of others: [`chain::repair`], [`chain::Rows`]; what a seat is |
//!
//! # Threads, signals, fork
//!
//! What a type says of these holds for its methods. Where nothing is said, a function may be called
//! from any thread and in a forked child, and from no signal handler.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `early` | a constructor of priority 101 that takes the seat beneath Go, before Go starts |
//! | `capi` | the `extern "C"` functions of `include/sigward.h`; re-export them with `pub use sigward::ffi::*` |
//! | `log` | `observe::log_events`: each event as a record of the `log` crate, with key-values |
//! | `tracing` | `observe::trace_events`: each event as one of the `tracing` crate, with fields |
//! | `signal-hook` | `signals`: signal-hook's registrations made safe inside Go |
//! | `tokio` | [`io::NoSigpipe`] around tokio's writers |
//! | `header` | build.rs makes the C header; for this repository's own use |

// docs.rs says of each item which feature and system it belongs to.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(target_os = "linux")]
pub mod audit;
pub mod chain;
#[cfg(feature = "early")]
mod early;
mod error;
mod explain;
#[cfg(target_os = "linux")]
mod fatal;
#[cfg(feature = "capi")]
pub mod ffi;
pub mod file;
#[cfg(all(target_os = "linux", any(fuzzing, test)))]
#[doc(hidden)]
pub mod fuzzing;
pub mod io;
pub mod log;
pub mod mapping;
pub mod observe;
#[cfg(all(feature = "capi", target_os = "linux"))]
mod preload;
pub mod reloading;
mod sigbus;
#[cfg(feature = "signal-hook")]
pub mod signals;
pub mod sigpipe;
mod status;
mod sys;

pub use error::Error;
pub use explain::{explain, explain_signals};
pub use observe::{Counters, Event, read_events};
pub use status::{Reason, Standing, Status, status};

/// Sets the default policy: [`sigpipe::filter`], and [`mapping::guard`] for SIGBUS. Idempotent,
/// thread-safe, works in a forked child; not for signal handlers.
///
/// # Errors
/// As [`sigpipe::filter`]; then nothing has changed.
#[doc(alias = "sigward_init")]
pub fn init() -> Result<sigpipe::Outcome, Error> {
    init_with(sigpipe::filter)
}

/// As [`init`], with another policy for SIGPIPE.
pub(crate) fn init_with(
    sigpipe: fn() -> Result<sigpipe::Outcome, Error>,
) -> Result<sigpipe::Outcome, Error> {
    let guarded_before = mapping::is_guarding();
    mapping::guard()?;
    if guarded_before {
        mapping::mend_seat()?;
    }
    let outcome = sigpipe();
    if outcome.is_err() && !guarded_before {
        // Refused as well at worst; the first error is the one to tell.
        let _ = mapping::restore();
    }
    outcome
}

/// Takes the seats on top again after another runtime or library has installed its handlers: a Go
/// c-shared library that was loaded late, a crash reporter. What stands there now becomes our
/// predecessor. A SIG_IGN that was put over our seat for SIGPIPE goes, and a row of ours whose
/// flags or mask somebody has changed is written anew. Does nothing where no policy was set, where
/// we are on top, and where SIGPIPE was ignored before we came. The seats of [`explain_signals`]
/// and [`mapping::try_copy_segv`] are taken again as well.
///
/// Thread-safe, works in a forked child; not for signal handlers.
///
/// # Errors
/// [`Error::NoEntryPoint`] if too many different handlers have been stacked above us in this
/// process's life, else as [`sigpipe::filter`] and [`mapping::guard`].
///
/// ```
/// sigward::init()?;
/// // … dlopen of a plugin that installs handlers …
/// sigward::ensure_on_top()?;
/// # Ok::<(), sigward::Error>(())
/// ```
#[doc(alias = "sigward_ensure_on_top")]
pub fn ensure_on_top() -> Result<(), Error> {
    mapping::ensure_on_top()?;
    #[cfg(target_os = "linux")]
    fatal::ensure_on_top()?;
    sigpipe::ensure_on_top()
}

/// The README's Rust lines, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

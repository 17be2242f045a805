//! How both signals stand: armed or not, why, and who is called first.

use crate::chain::{Disposition, Kind};
use crate::sigpipe::{self, Outcome, Seat};
use crate::{Error, mapping};

/// Why a signal is armed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It is armed: our handler is asked.
    Armed,
    /// Nobody has asked for it, or it was taken back.
    NotAsked,
    /// The signal is ignored: nothing ends the process, and no handler of anybody's is asked.
    Ignored,
    /// Another handler, or SIG_DFL, stands above ours: [`crate::ensure_on_top`] takes the top
    /// again.
    Covered,
    /// Our row has lost its flags or its mask, as signal(3) leaves it that puts back what signal(3)
    /// has returned: [`crate::ensure_on_top`] writes it anew, and so does our handler when it is
    /// called.
    Altered,
    /// This system shows no handler what a system call has returned.
    Unsupported,
}

impl Reason {
    /// One sentence that says what to do next.
    #[must_use]
    pub fn text(self) -> &'static std::ffi::CStr {
        match self {
            Self::Armed => c"armed",
            Self::NotAsked => c"not armed: nobody has called init",
            Self::Ignored => c"ignored: nothing ends the process, and nothing is counted",
            Self::Covered => {
                c"another handler, or the default action, stands above ours: call ensure_on_top"
            }
            Self::Altered => {
                c"somebody has changed the flags of our handler with signal(3): call ensure_on_top"
            }
            Self::Unsupported => {
                c"not available on this system: use sigpipe_ignore, or the writers"
            }
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.text().to_str().unwrap_or_default())
    }
}

/// How one signal stands.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Standing {
    /// Where our seat is.
    pub seat: Seat,
    /// Why it is armed or not.
    pub reason: Reason,
    /// What the kernel calls: SIG_DFL (0), SIG_IGN (1) or the address of a function.
    pub handler: usize,
}

impl Standing {
    /// Whether our handler is asked, first or by a runtime above it.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.reason == Reason::Armed
    }

    /// The file name of the executable or library that holds [`Self::handler`], if it is a function
    /// and that can be known; `the executable` for a program without a path to tell (ld.so was
    /// started with it). Not for signal handlers: it allocates.
    #[must_use]
    pub fn owner(&self) -> Option<String> {
        Self::owner_of(self.handler)
    }

    /// The same of any handler.
    pub(crate) fn owner_of(handler: usize) -> Option<String> {
        (handler > libc::SIG_IGN).then(|| crate::observe::object_at(handler)).flatten()
    }

    fn of(signal: libc::c_int, seat: Seat) -> Result<Self, Error> {
        let top = Disposition::read(signal)?;
        let reason = match seat {
            Seat::OnTop | Seat::Beneath => Reason::Armed,
            _ if top.kind() == Kind::Ignore => Reason::Ignored,
            Seat::Covered if crate::chain::is_ours(top.handler) => Reason::Altered,
            Seat::Covered => Reason::Covered,
            Seat::None => Reason::NotAsked,
        };
        Ok(Self { seat, reason, handler: top.handler })
    }
}

/// How both signals stand now.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Status {
    /// What the last policy call for SIGPIPE found and did.
    pub outcome: Outcome,
    /// SIGPIPE.
    pub sigpipe: Standing,
    /// SIGBUS.
    pub sigbus: Standing,
}

/// How both signals stand now. Signal-safe, thread-safe, the same in a forked child; changes
/// nothing but the counter `overwritten`, when it is the first to see that somebody stands above
/// us.
///
/// # Errors
/// [`Error::System`] if sigaction(2) cannot even be asked.
///
/// ```
/// sigward::init()?;
/// let status = sigward::status()?;
/// assert!(status.sigbus.is_armed());
/// assert_eq!(status.sigpipe.reason, sigward::Reason::Ignored); // by Rust's `main`
/// # Ok::<(), sigward::Error>(())
/// ```
#[doc(alias = "sigward_status")]
pub fn status() -> Result<Status, Error> {
    let sigpipe::Status { outcome, seat } = sigpipe::status()?;
    let mut sigpipe = Standing::of(libc::SIGPIPE, seat)?;
    if sigpipe.reason == Reason::NotAsked && !sigpipe::is_supported() {
        sigpipe.reason = Reason::Unsupported;
    }
    if sigpipe.reason == Reason::Armed && outcome == Outcome::Untouched {
        // A seat for last words, which lets everything pass.
        sigpipe.reason = Reason::NotAsked;
    }
    Ok(Status { outcome, sigpipe, sigbus: Standing::of(libc::SIGBUS, mapping::seat()?)? })
}

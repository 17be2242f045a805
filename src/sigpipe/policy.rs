//! Setting the policy, asking for it, taking it back. Nothing here runs in a handler.

use super::wanted::{EXPLAIN, FILTER, IGNORE, NOTHING, POLICY};
use super::{handler, runtime};
use crate::chain::{self, Disposition, Kind, Lock, Owner, Seat, Standing};
use crate::error::Error;
use libc::SIGPIPE;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) static OWNER: Owner = Owner::new(SIGPIPE, handler::decide, handler::farewell, false);

/// What [`filter`] or [`ignore`] found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Nobody has asked for anything, or it was taken back.
    Untouched,
    /// SIGPIPE was ignored when we came (systemd's `IgnoreSIGPIPE=`, a parent, Rust's `main`): left
    /// as it is.
    AlreadyIgnored,
    /// SIG_IGN now stands where SIG_DFL stood. Children inherit it unless they reset it.
    Ignored,
    /// Echoes end in our handler, all else goes to this. Children start with SIG_DFL.
    Filtered {
        /// What stood there before us.
        previous: Previous,
    },
    /// As `Filtered`, but the host has a handler of its own, and no Go is here: that handler gets
    /// the echoes as well, as it did before us, except those of quiet threads and descriptors.
    Chained {
        /// Its address.
        handler: usize,
    },
}

/// What stands behind our seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Previous {
    /// SIG_DFL.
    Default,
    /// SIG_IGN.
    Ignored,
    /// A handler at this address.
    Handler(usize),
}

/// How things stand now: what was done, and whether it still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// What the last call did.
    pub outcome: Outcome,
    /// Where our seat is at this moment.
    pub seat: Seat,
}

/// SIG_IGN stands because we put it there.
static OUR_IGNORE: AtomicBool = AtomicBool::new(false);
/// The constructor took a seat before any runtime began.
static EARLY: AtomicBool = AtomicBool::new(false);
/// A constructor took the seat that stands, and the program has asked for none.
static UNASKED: AtomicBool = AtomicBool::new(false);

/// Lets SIGPIPEs that are the echo of a failed write end in our handler; all others pass to what
/// stood there before. Idempotent; [`restore`] takes it back.
///
/// Thread-safe, works in a forked child. Not for signal handlers. Signals that others send wait
/// while anything is changed. With SIGPIPE blocked in a thread, the signal stays pending there as
/// it would without us.
///
/// # Errors
/// [`Error::NoEntryPoint`], [`Error::Reentered`], [`Error::System`] if the kernel refuses
/// (seccomp), and [`Error::Unsupported`] where a context does not show the system call's result
/// (anything but Linux on x86-64 and aarch64). Then nothing has changed.
///
/// # References
/// write(2), signal(7), sigaction(2).
///
/// ```
/// use sigward::sigpipe::{self, Outcome};
/// // Rust's own `main` ignores SIGPIPE, so there is nothing to do:
/// assert_eq!(sigpipe::filter()?, Outcome::AlreadyIgnored);
/// # Ok::<(), sigward::Error>(())
/// ```
#[doc(alias = "SIGPIPE")]
#[doc(alias = "EPIPE")]
#[doc(alias = "sigward_sigpipe_filter")]
#[cold]
pub fn filter() -> Result<Outcome, Error> {
    filter_with(false)
}

#[cold]
fn filter_with(replace: bool) -> Result<Outcome, Error> {
    let held = chain::lock()?;
    UNASKED.store(false, Ordering::Relaxed);
    filter_under(&held, replace)
}

/// Looks for Go if it may have come since the last time.
#[cold]
fn look_for_go(held: &Lock, top: &Disposition) {
    let stranger = matches!(top.kind(), Kind::Handler { address, .. } if !chain::is_ours(address));
    runtime::look_for_go(held, stranger);
}

/// As [`filter`], and a SIG_IGN that stands there, inherited or set by a runtime (Rust, CPython,
/// Node) or a library, is replaced by the filter in one step: children start with SIG_DFL then.
/// What is no echo is ignored as before.
///
/// # Errors
/// As [`filter`].
///
/// ```
/// use sigward::sigpipe::{self, Outcome, Previous};
/// let outcome = sigpipe::filter_instead_of_ignore()?; // Rust's own `main` ignores SIGPIPE
/// assert_eq!(outcome, Outcome::Filtered { previous: Previous::Ignored });
/// # Ok::<(), sigward::Error>(())
/// ```
#[doc(alias = "SIGWARD_REPLACE_IGNORE")]
pub fn filter_instead_of_ignore() -> Result<Outcome, Error> {
    filter_with(true)
}

/// Takes the seat where SIG_IGN stands, if it is to be taken there: somebody copied our row and put
/// SIG_IGN in it (libcurl), a library put it over the seat that the program has asked for, or the
/// program says so. None: it stays.
#[cold]
fn take_from_ignore(
    held: &Lock,
    top: &Disposition,
    replace: bool,
) -> Result<Option<Disposition>, Error> {
    if top.kind() != Kind::Ignore {
        return Ok(None);
    }
    // What our constructor took before a runtime's own SIG_IGN was not asked for by the program.
    let asked_for = || !EARLY.load(Ordering::Relaxed) && POLICY.load(Ordering::Relaxed) == FILTER;
    let covered = || chain::seats_of(&OWNER).last().filter(|_| asked_for());
    let predecessor = match chain::flipped(&OWNER, top).or_else(covered) {
        Some(predecessor) => predecessor,
        None if replace => *top,
        None => return Ok(None),
    };
    notice(top);
    chain::take_in_place_of(held, &OWNER, *top, predecessor).map(Some)
}

#[cold]
fn filter_under(held: &Lock, replace: bool) -> Result<Outcome, Error> {
    if !handler::SEES_ECHOES {
        return Err(Error::Unsupported);
    }
    let top = Disposition::read(SIGPIPE)?;
    let standing = chain::standing_below(&OWNER, &top);
    let on_top = matches!(standing, Standing::OnTop { .. });
    if !on_top || !crate::sys::wiped::knows_process() {
        crate::sys::wiped::remember_process();
    }
    if on_top {
        // Even if our constructor took it: now the program has asked for it.
        EARLY.store(false, Ordering::Relaxed);
        POLICY.store(FILTER, Ordering::Relaxed);
        return Ok(outcome_of(&standing));
    }
    crate::observe::log::read_environment();
    look_for_go(held, &top);
    let ours_to_lift = top.kind() == Kind::Ignore && OUR_IGNORE.load(Ordering::Relaxed);
    let taken = if ours_to_lift {
        let predecessor =
            chain::take_in_place_of(held, &OWNER, top, Disposition::default_action())?;
        OUR_IGNORE.store(false, Ordering::Relaxed);
        Some(predecessor)
    } else if let Some(predecessor) = take_from_ignore(held, &top, replace)? {
        Some(predecessor)
    } else if top.kind() == Kind::Ignore || runtime_above(&top) {
        None
    } else {
        notice(&top);
        Some(if top.kind() == Kind::Default && chain::interposed(SIGPIPE) {
            // libjsig says "default" where HotSpot stands: what is not ours HotSpot has dealt with.
            chain::take_in_place_of(held, &OWNER, top, Disposition::ignore())?
        } else {
            // Above what stood there: a SIG_IGN that a library has put there meanwhile soon goes.
            chain::take_above(held, &OWNER, top)?
        })
    };
    POLICY.store(FILTER, Ordering::Relaxed);
    // What was done is told, and not what stands there by now: a sandbox may refuse to say.
    Ok(outcome_of(&taken.map_or(standing, |predecessor| Standing::OnTop { predecessor })))
}

/// SIG_IGN where SIG_DFL stands; an existing handler is chained as by [`filter`], never
/// overwritten. Idempotent; [`restore`] takes it back.
///
/// SIG_IGN is inherited by children across exec: prefer [`filter`] where they matter. Thread-safe,
/// works in a forked child, not for signal handlers.
///
/// # Errors
/// As [`filter`]; on systems without the filter, [`Error::Unsupported`] only where a handler stands
/// already.
///
/// ```
/// let outcome = sigward::sigpipe::ignore()?;
/// assert_eq!(outcome, sigward::sigpipe::Outcome::AlreadyIgnored); // by Rust's `main`
/// # Ok::<(), sigward::Error>(())
/// ```
#[doc(alias = "SIG_IGN")]
#[doc(alias = "sigward_sigpipe_ignore")]
pub fn ignore() -> Result<Outcome, Error> {
    let held = chain::lock()?;
    UNASKED.store(false, Ordering::Relaxed);
    let top = Disposition::read(SIGPIPE)?;
    let standing = chain::standing_below(&OWNER, &top);
    let default_behind_us = matches!(
        standing,
        Standing::OnTop { predecessor } if predecessor.kind() == Kind::Default
    );
    let replaceable = top.kind() == Kind::Default || default_behind_us;
    if replaceable && chain::put(SIGPIPE, &top, &Disposition::ignore())? {
        OUR_IGNORE.store(true, Ordering::Relaxed);
        // The constructor's seat, if that is what stood there, is no longer one.
        chain::vacate(&held, &OWNER)?;
    } else if top.kind() != Kind::Ignore {
        return filter_under(&held, false);
    }
    POLICY.store(IGNORE, Ordering::Relaxed);
    Ok(outcome_of(&standing))
}

/// Changes nothing that the program has asked for. What a constructor did before it could ask is
/// taken back.
#[cfg(feature = "capi")]
pub(crate) fn leave_alone() -> Result<Outcome, Error> {
    if UNASKED.load(Ordering::Relaxed) {
        restore()?;
    }
    Ok(outcome_of(&chain::standing(&OWNER)?))
}

/// Takes back what [`filter`], [`ignore`] and the constructor did: seats pass through, SIG_IGN of
/// ours becomes SIG_DFL again. What somebody else has installed since stays. Idempotent.
///
/// Thread-safe, works in a forked child, not for signal handlers.
///
/// # Errors
/// [`Error::Reentered`], [`Error::Contended`], [`Error::System`].
///
/// ```
/// sigward::sigpipe::restore()?;
/// # Ok::<(), sigward::Error>(())
/// ```
#[doc(alias = "SIG_DFL")]
#[doc(alias = "sigward_sigpipe_restore")]
pub fn restore() -> Result<(), Error> {
    let held = chain::lock()?;
    if OUR_IGNORE.load(Ordering::Relaxed) {
        let top = Disposition::read(SIGPIPE)?;
        if top.kind() == Kind::Ignore {
            chain::put(SIGPIPE, &top, &Disposition::default_action())?;
        }
        OUR_IGNORE.store(false, Ordering::Relaxed);
    }
    chain::vacate(&held, &OWNER)?;
    super::swallow_stdio(false);
    UNASKED.store(false, Ordering::Relaxed);
    POLICY.store(NOTHING, Ordering::Relaxed);
    Ok(())
}

/// How things stand now. Signal-safe, thread-safe; changes nothing but the counter `overwritten`,
/// when it is the first to see that somebody stands above us.
///
/// # Errors
/// [`Error::System`] if sigaction(2) cannot even be asked.
pub fn status() -> Result<Status, Error> {
    let top = Disposition::read(SIGPIPE)?;
    notice(&top);
    let standing = chain::standing_below(&OWNER, &top);
    let seat = match standing {
        Standing::Absent => Seat::None,
        Standing::OnTop { .. } => Seat::OnTop,
        Standing::Covered { top } if runtime_above(&top) => Seat::Beneath,
        Standing::Covered { .. } => Seat::Covered,
    };
    Ok(Status { outcome: outcome_of(&standing), seat })
}

/// Takes a seat that lets everything pass, if a SIGPIPE would end the process and no policy was
/// set.
#[cfg(target_os = "linux")]
pub(crate) fn explain() -> Result<(), Error> {
    let held = chain::lock()?;
    let unset = matches!(POLICY.load(Ordering::Relaxed), NOTHING | EXPLAIN);
    let top = Disposition::read(SIGPIPE)?;
    if !unset || top.kind() != Kind::Default || chain::interposed(SIGPIPE) {
        return Ok(());
    }
    crate::sys::wiped::remember_process();
    crate::observe::log::read_environment();
    look_for_go(&held, &top);
    // Before the seat: nothing may be swallowed there.
    let before = POLICY.swap(EXPLAIN, Ordering::Relaxed);
    chain::take(&held, &OWNER).map(drop).inspect_err(|_| POLICY.store(before, Ordering::Relaxed))
}

/// Whether our handler is in the line of handlers, so that it may be asked. Signal-safe.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) fn is_asked() -> bool {
    !super::wanted::only_explains()
        && chain::standing(&OWNER).is_ok_and(|standing| !matches!(standing, Standing::Absent))
}

fn outcome_of(standing: &Standing) -> Outcome {
    if matches!(POLICY.load(Ordering::Relaxed), NOTHING | EXPLAIN) {
        return Outcome::Untouched;
    }
    if OUR_IGNORE.load(Ordering::Relaxed) {
        return Outcome::Ignored;
    }
    let previous = match *standing {
        Standing::OnTop { predecessor } => Some(predecessor),
        // Ignored above the constructor's seat (Rust's `main` does that): nothing comes to us.
        Standing::Covered { top }
            if top.kind() == Kind::Ignore && EARLY.load(Ordering::Relaxed) =>
        {
            None
        }
        Standing::Covered { .. } => chain::seats_of(&OWNER).next(),
        Standing::Absent => None,
    };
    match previous.map(Previous::from) {
        None => Outcome::AlreadyIgnored,
        Some(Previous::Handler(handler)) if !runtime::go_is_here() => Outcome::Chained { handler },
        Some(previous) => Outcome::Filtered { previous },
    }
}

impl From<Disposition> for Previous {
    fn from(disposition: Disposition) -> Self {
        match disposition.kind() {
            Kind::Default => Self::Default,
            Kind::Ignore => Self::Ignored,
            Kind::Handler { address, .. } => Self::Handler(address),
        }
    }
}

/// Whether Go stands above the seat that our constructor took: it forwards to us what is not its
/// own, so there is nothing to take.
fn runtime_above(top: &Disposition) -> bool {
    let Kind::Handler { address, .. } = top.kind() else { return false };
    // In a Go program ours lies in an object of Go's as well.
    if chain::is_ours(address) {
        return false;
    }
    let covered = matches!(chain::standing_below(&OWNER, top), Standing::Covered { .. });
    EARLY.load(Ordering::Relaxed) && covered && runtime::is_go_handler(address)
}

/// Counts that somebody stands where we had been on top, or has changed our row, once until it is
/// ours again. Go above the constructor's seat is no surprise, and neither is the SIG_IGN that a
/// runtime puts there. Signal-safe.
#[cold]
fn notice(top: &Disposition) {
    let early = EARLY.load(Ordering::Relaxed);
    if !(runtime_above(top) || top.kind() == Kind::Ignore && early) {
        chain::notice(&OWNER, top);
    }
}

/// Takes the seat on top again after another runtime or library installed its handler.
pub(crate) fn ensure_on_top() -> Result<(), Error> {
    match POLICY.load(Ordering::Relaxed) {
        FILTER => {
            let held = chain::lock()?;
            let top = Disposition::read(SIGPIPE)?;
            look_for_go(&held, &top);
            notice(&top);
            if take_from_ignore(&held, &top, false)?.is_none() && top.kind() != Kind::Ignore {
                chain::take_above(&held, &OWNER, top)?;
            }
            Ok(())
        }
        IGNORE => ignore().map(drop),
        #[cfg(target_os = "linux")]
        EXPLAIN => explain(),
        _ => Ok(()),
    }
}

/// The constructors: before `main`, and before a runtime that starts later looks at what stands
/// here. An inherited SIG_IGN stays; errors are left for [`crate::init`] to find again.
#[cfg(feature = "early")]
pub(crate) fn beneath() {
    let before_go = Disposition::read(SIGPIPE).is_ok_and(|top| !runtime::is_in_go(top.handler));
    if let Ok(Outcome::Filtered { .. } | Outcome::Chained { .. }) = filter() {
        EARLY.store(before_go, Ordering::Relaxed);
        UNASKED.store(true, Ordering::Relaxed);
    }
}

/// Leaves the seat again if `address` lies in an object that Go's linker made.
#[cfg(all(feature = "early", target_os = "linux"))]
pub(crate) fn step_aside(address: usize) {
    if runtime::is_in_go(address) && restore().is_ok() {
        EARLY.store(false, Ordering::Relaxed);
    }
}

/// Whether Go has recorded our constructor's handler where it would have recorded SIG_DFL without
/// us.
#[cfg(feature = "capi")]
pub(crate) fn has_default_beneath() -> Result<bool, Error> {
    let beneath = status()?.seat == Seat::Beneath;
    let default =
        chain::seats_of(&OWNER).next().is_some_and(|oldest| oldest.kind() == Kind::Default);
    Ok(beneath && default)
}

/// Puts SIG_DFL where the Go package has just put SIG_IGN, for Go to record it.
#[cfg(feature = "capi")]
pub(crate) fn give_default_to_runtime() -> Result<(), Error> {
    let _held = chain::lock()?;
    let top = Disposition::read(SIGPIPE)?;
    if top.kind() == Kind::Ignore && !OUR_IGNORE.load(Ordering::Relaxed) {
        chain::put(SIGPIPE, &top, &Disposition::default_action())?;
    }
    Ok(())
}

//! The seat on top for SIGBUS: taken by `init` or the first map, kept on top, left when nothing is
//! guarded.
//!
//! Go never hands a SIGBUS in its own code to a handler beneath it, so there is no seat beneath for
//! this signal.

use super::guarding::{GUARDING, is_guarding};
use super::{handler, registry};
use crate::chain::{self, Disposition, Owner, Seat, Standing};
use libc::SIGBUS;
use std::mem::MaybeUninit;
use std::sync::atomic::{Ordering, fence};

static OWNER: Owner = Owner::new(SIGBUS, handler::decide, handler::farewell, true);

/// Takes the seat on top for SIGBUS, above whatever handler stands there, which goes on to get
/// every fault and signal that is not ours. [`crate::init`] and the first map do it by themselves.
/// Once taken this does nothing, also where another handler has come above it:
/// [`crate::ensure_on_top`] takes the top again. Idempotent; [`crate::mapping::restore`] takes it
/// back.
///
/// Thread-safe, works in a forked child, not for signal handlers. Children start with SIG_DFL, also
/// where SIGBUS was ignored before (a fault ends a process that ignores it).
///
/// # Errors
/// [`crate::Error::NoEntryPoint`], [`crate::Error::Reentered`], [`crate::Error::System`] if the
/// kernel refuses.
///
/// # References
/// sigaction(2), mmap(2) (SIGBUS), signal-safety(7).
///
/// ```
/// sigward::mapping::guard()?;
/// assert_eq!(sigward::mapping::thread_check(), Ok(()));
/// sigward::mapping::restore()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "SIGBUS")]
#[doc(alias = "sigward_sigbus_guard")]
#[cold]
pub fn guard() -> Result<(), crate::Error> {
    if is_guarding() {
        return Ok(());
    }
    let held = chain::lock()?;
    crate::sys::pages::page_size();
    // A child that shares our memory leaves the word to its parent.
    if !crate::sys::wiped::knows_process() {
        crate::sys::wiped::remember_process();
    }
    chain::take(&held, &OWNER)?;
    crate::observe::log::read_environment();
    GUARDING.store(true, Ordering::Release);
    super::copy::rely_on_seat(true);
    Ok(())
}

/// Vacates the seat, unless maps are open or files adopted; whether it did.
pub(crate) fn vacate() -> Result<bool, crate::Error> {
    if registry::registered() != 0 {
        return Ok(false);
    }
    let held = chain::lock()?;
    let guarding = GUARDING.swap(false, Ordering::SeqCst);
    super::copy::rely_on_seat(false);
    // Pairs with `guard_registered`: either a map that is being made is seen here, or it sees that
    // nobody guards.
    fence(Ordering::SeqCst);
    let left = if registry::registered() == 0 {
        chain::vacate(&held, &OWNER).map(|()| true)
    } else {
        Ok(false)
    };
    if left != Ok(true) {
        GUARDING.store(guarding, Ordering::SeqCst);
        super::copy::rely_on_seat(guarding);
    }
    left
}

/// Where the seat is. Signal-safe.
pub(crate) fn seat() -> Result<Seat, crate::Error> {
    Ok(match chain::standing(&OWNER)? {
        Standing::Absent => Seat::None,
        Standing::OnTop { .. } => Seat::OnTop,
        Standing::Covered { .. } => Seat::Covered,
    })
}

/// Writes our row anew where somebody has changed its flags or its mask. Another handler above it
/// stays.
pub(crate) fn mend_seat() -> Result<(), crate::Error> {
    let altered = || {
        let top = Disposition::read(SIGBUS)?;
        let covered = matches!(chain::standing_below(&OWNER, &top), Standing::Covered { .. });
        Ok(covered && chain::is_ours(top.handler))
    };
    if altered()? {
        let held = chain::lock()?;
        // Mended meanwhile, or not.
        if altered()? {
            chain::take(&held, &OWNER)?;
        }
    }
    Ok(())
}

/// For a map that is going to be made; with `if_guarded` the seat is looked at and not taken.
pub(crate) fn guard_for(if_guarded: bool) -> Result<(), crate::Error> {
    super::fetch::prepare();
    if !if_guarded {
        return guard();
    }
    let on_top =
        matches!(chain::standing(&OWNER), Ok(Standing::OnTop { .. })) && !chain::interposed(SIGBUS);
    if is_guarding() && on_top { Ok(()) } else { Err(crate::Error::Unsupported) }
}

/// Takes the seat again if somebody has left it since the map that was just registered began to be
/// made; with `if_guarded` that is an error.
pub(crate) fn guard_registered(if_guarded: bool) -> Result<(), crate::Error> {
    fence(Ordering::SeqCst);
    match if_guarded {
        false => guard(),
        true if is_guarding() => Ok(()),
        true => Err(crate::Error::Unsupported),
    }
}

/// Takes the seat on top again if it was asked for.
pub(crate) fn ensure_on_top() -> Result<(), crate::Error> {
    let held = chain::lock()?;
    // Asked for apart from the seat for SIGBUS.
    super::segv::ensure_on_top(&held)?;
    if !is_guarding() {
        return Ok(());
    }
    let top = Disposition::read(SIGBUS)?;
    chain::notice(&OWNER, &top);
    chain::take(&held, &OWNER).map(drop)
}

/// Why a fault on this thread would not be caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "three independent findings, one bit each in C")]
#[non_exhaustive]
pub struct Unprotected {
    /// SIGBUS is blocked in this thread: a fault kills the process, and no handler runs.
    pub blocked: bool,
    /// Another handler stands above ours: see [`crate::ensure_on_top`].
    pub covered: bool,
    /// The seat was never taken, or left.
    pub unguarded: bool,
}

impl std::fmt::Display for Unprotected {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self { blocked: true, .. } => {
                "SIGBUS is blocked in this thread: unblock it (pthread_sigmask)"
            }
            Self { covered: true, .. } => {
                "another handler stands above ours for SIGBUS: call ensure_on_top"
            }
            _ => "the seat for SIGBUS is not taken: call mapping::guard",
        })
    }
}

impl std::error::Error for Unprotected {}

/// Whether a fault on the calling thread would be caught. Signal-safe, changes nothing, three
/// system calls.
///
/// # Errors
/// What stands in the way.
///
/// # References
/// pthread_sigmask(3); `force_sig_info_to_task` in the kernel's kernel/signal.c.
///
/// ```
/// sigward::init()?;
/// if let Err(reason) = sigward::mapping::thread_check() {
///     eprintln!("a fault here would end the process: {reason}");
/// }
/// # Ok::<(), sigward::Error>(())
/// ```
#[doc(alias = "sigward_thread_check")]
pub fn thread_check() -> Result<(), Unprotected> {
    let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: no new mask, and room for the old one.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), mask.as_mut_ptr()) };
    // SAFETY: zeroed is an empty set, and the call has filled it; the number is valid.
    let blocked = unsafe { libc::sigismember(mask.as_ptr(), SIGBUS) } == 1;
    let standing = chain::standing(&OWNER).unwrap_or(Standing::Absent);
    let found = Unprotected {
        blocked,
        // libjsig shows our handler to whoever asks by way of the C library, while the JVM's stands
        // in the kernel's table.
        covered: matches!(standing, Standing::Covered { .. })
            || matches!(standing, Standing::OnTop { .. }) && chain::interposed(SIGBUS),
        unguarded: matches!(standing, Standing::Absent),
    };
    if found == Unprotected::default() { Ok(()) } else { Err(found) }
}

//! Policy functions.

use super::code;
use crate::error::Error;
use crate::sigpipe::{self, Outcome, Previous, Seat};
use std::ffi::c_int;

/// Echoes of failed writes end in our handler, every other SIGPIPE goes to whoever had it. The default.
pub const SIGWARD_SIGPIPE_FILTER: u32 = 0;
/// SIG_IGN where SIG_DFL stands, else as SIGWARD_SIGPIPE_FILTER. Children inherit SIG_IGN.
pub const SIGWARD_SIGPIPE_IGNORE: u32 = 1;
/// SIGPIPE is not touched by sigward_init.
pub const SIGWARD_SIGPIPE_LEAVE: u32 = 2;

/// Flag: one line on stderr for each swallowed SIGPIPE and each loss in a guarded map, as SIGWARD_LOG=stderr in the environment does.
pub const SIGWARD_LOG_STDERR: u32 = 1;

/// Options of sigward_init. Set all to zero, then size.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct sigward_options {
    /// sizeof(sigward_options): a library that does not know the size says so (-EINVAL).
    pub size: usize,
    /// One of SIGWARD_SIGPIPE_*.
    pub sigpipe: u32,
    /// Zero or SIGWARD_LOG_STDERR.
    pub flags: u32,
}

/// What the last policy call found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub enum sigward_outcome {
    /// Nobody has asked for anything, or it was taken back.
    UNTOUCHED = 0,
    /// SIGPIPE was ignored when we came: left as it is.
    ALREADY_IGNORED = 1,
    /// SIG_IGN now stands where SIG_DFL stood.
    IGNORED = 2,
    /// Echoes end in our handler; `previous` gets the rest.
    FILTERED = 3,
}

/// Where our seat for SIGPIPE is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub enum sigward_seat {
    /// Nowhere.
    NONE = 0,
    /// First in line.
    ON_TOP = 1,
    /// Beneath Go, which forwards what is not its own.
    BENEATH = 2,
    /// Beneath a handler that may or may not pass signals on: sigward_ensure_on_top takes the top again.
    COVERED = 3,
}

/// How SIGPIPE stands now.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct sigward_sigpipe_report {
    /// What the last policy call did.
    pub outcome: sigward_outcome,
    /// Where our seat is at this moment.
    pub seat: sigward_seat,
    /// With FILTERED: SIG_DFL (0), SIG_IGN (1) or the address of the handler behind us. Else 0.
    pub previous: usize,
}

/// Sets the process's policy: SIGPIPE as the options say (NULL: filter it), and the seat on top for SIGBUS, so that guarded
/// maps are looked after.
///
/// Idempotent; from any thread, also many at once; works in a forked child. Call it before or after any
/// other runtime starts: it looks at what stands there and chains it. In a signal handler it works or, where
/// the handler interrupted this very call, returns -EDEADLK. A SIGPIPE that a thread has blocked stays
/// pending there, as without us.
///
/// Returns 0. -EINVAL: options of an unknown size or policy. -ENOSPC: no entry point left. -EDEADLK: see
/// above. -ENOTSUP: this system shows no system call's result (filter works on Linux x86-64 and aarch64).
/// Else the kernel's errno, for example -EPERM from a seccomp filter. On failure nothing has changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_init(options: *const sigward_options) -> c_int {
    if options.is_null() {
        return code(crate::init().map(drop));
    }
    // The size alone may be there: a caller with other options has another struct.
    // SAFETY: by the header's contract options begin with a size_t.
    let size = unsafe { options.cast::<usize>().read_unaligned() };
    if size != size_of::<sigward_options>() {
        return code(Err(Error::InvalidArgument));
    }
    // SAFETY: the caller vouches for `size` bytes.
    let options = unsafe { options.read_unaligned() };
    if options.flags & !SIGWARD_LOG_STDERR != 0 {
        return code(Err(Error::InvalidArgument));
    }
    let sigpipe = match options.sigpipe {
        SIGWARD_SIGPIPE_FILTER => sigpipe::filter,
        SIGWARD_SIGPIPE_IGNORE => sigpipe::ignore,
        SIGWARD_SIGPIPE_LEAVE => sigpipe::leave,
        _ => return code(Err(Error::InvalidArgument)),
    };
    let status = code(crate::init_with(sigpipe).map(drop));
    if status == 0 && options.flags & SIGWARD_LOG_STDERR != 0 {
        crate::observe::log_to_stderr(true);
    }
    status
}

/// Takes the seats on top again after another runtime or library installed its handlers; what stands there
/// now is chained. Does nothing for a signal without a policy, on top already, or where SIGPIPE is ignored.
///
/// Thread-safe; works in a forked child. Returns 0 or as sigward_init.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_ensure_on_top() -> c_int {
    code(crate::ensure_on_top())
}

/// SIG_IGN where SIG_DFL stands; an existing handler is chained as by sigward_sigpipe_filter, never
/// overwritten. Idempotent; sigward_sigpipe_restore takes it back. Thread-safe; works in a forked child.
///
/// Returns 0 or as sigward_init; sigward_sigpipe_status tells which it was.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_sigpipe_ignore() -> c_int {
    code(sigpipe::ignore().map(drop))
}

/// Lets SIGPIPEs that are the echo of a failed write end in our handler; all others pass to what stood
/// there before, SIG_DFL included. Children start with SIG_DFL. Idempotent; sigward_sigpipe_restore takes it
/// back. Thread-safe; works in a forked child.
///
/// Returns 0 or as sigward_init; sigward_sigpipe_status tells what was found.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_sigpipe_filter() -> c_int {
    code(sigpipe::filter().map(drop))
}

/// Takes back what sigward_sigpipe_filter, sigward_sigpipe_ignore and the constructor did. What somebody
/// else has installed since stays. Idempotent. Thread-safe; works in a forked child.
///
/// Returns 0 or as sigward_init.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_sigpipe_restore() -> c_int {
    code(sigpipe::restore())
}

/// Fills *out with how SIGPIPE stands now. Signal-safe, thread-safe, changes nothing.
///
/// Returns 0; -EINVAL if out is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_sigpipe_status(out: *mut sigward_sigpipe_report) -> c_int {
    // SAFETY: null, or room for one struct by the header's contract.
    let Some(out) = (unsafe { out.as_mut() }) else {
        return code(Err(Error::InvalidArgument));
    };
    code(sigpipe::status().map(|status| {
        let (outcome, previous) = match status.outcome {
            Outcome::Untouched => (sigward_outcome::UNTOUCHED, 0),
            Outcome::AlreadyIgnored => (sigward_outcome::ALREADY_IGNORED, 0),
            Outcome::Ignored => (sigward_outcome::IGNORED, 0),
            Outcome::Filtered { previous } => (
                sigward_outcome::FILTERED,
                match previous {
                    Previous::Default => libc::SIG_DFL,
                    Previous::Ignored => libc::SIG_IGN,
                    Previous::Handler(address) => address,
                },
            ),
        };
        let seat = match status.seat {
            Seat::None => sigward_seat::NONE,
            Seat::OnTop => sigward_seat::ON_TOP,
            Seat::Beneath => sigward_seat::BENEATH,
            Seat::Covered => sigward_seat::COVERED,
        };
        *out = sigward_sigpipe_report { outcome, seat, previous };
    }))
}

/// Gives the handler of this signal SA_ONSTACK if it lacks it; nothing else about it changes. For handlers that
/// libraries install without it (signal-hook, tokio::signal, ctrlc), which end a Go process: call it right after
/// they have registered.
///
/// Thread-safe; works in a forked child. Returns 1 if the handler was repaired, 0 if there was nothing to do;
/// -EINVAL for a number that is no signal; else as sigward_init.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_repair(signal: c_int) -> c_int {
    match crate::chain::repair(signal) {
        Ok(found) => code(Ok(())) + c_int::from(found == crate::chain::Repair::Repaired),
        Err(error) => code(Err(error)),
    }
}

/// sigward_repair for every signal. After a library has been loaded or started that installs handlers of its own.
///
/// Thread-safe; works in a forked child; not for signal handlers. Returns how many handlers had no SA_ONSTACK and have it
/// now, or as sigward_repair; handlers of lower signals have been repaired then.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_repair_all() -> c_int {
    match crate::chain::repair_all() {
        Ok(repaired) => code(Ok(())) + c_int::try_from(repaired).unwrap_or(c_int::MAX),
        Err(error) => code(Err(error)),
    }
}

//! Policy functions.

use super::sized::{self, Filled, fill_one};
use super::{code, map_code};
use crate::error::Error;
use crate::sigpipe::{self, Outcome, Previous, Seat};
use crate::sys::cancel::Uncancelled;
use std::ffi::c_int;

/// Echoes of failed writes end in our handler, every other SIGPIPE goes to whoever had it. The
/// default.
pub const SIGWARD_SIGPIPE_FILTER: u32 = 0;
/// SIG_IGN where SIG_DFL stands, else as SIGWARD_SIGPIPE_FILTER. Children inherit SIG_IGN.
pub const SIGWARD_SIGPIPE_IGNORE: u32 = 1;
/// SIGPIPE is not touched by sigward_init. What the constructor of the archive that Go links did to
/// it before anybody could ask is taken back, unless a call has asked for it meanwhile.
pub const SIGWARD_SIGPIPE_LEAVE: u32 = 2;

/// Flag: one line on stderr for each swallowed SIGPIPE and each loss in a guarded map, as
/// SIGWARD_LOG=stderr in the environment does. Left out is a line for which stderr would block, one
/// about a write to stderr itself, and all of them once descriptor 2 stands for something else.
pub const SIGWARD_LOG_STDERR: u32 = 1;

/// Flag: a SIG_IGN that stands there, inherited or set by a runtime (Rust, CPython, Node) or a
/// library, is replaced by the filter in one step, so that children start with SIG_DFL. What is no
/// echo is ignored as before. With SIGWARD_SIGPIPE_FILTER only.
pub const SIGWARD_REPLACE_IGNORE: u32 = 2;

/// Flag: SIGPIPEs of writes to a stdout or stderr that is a pipe end in our handler as well.
/// Without it they go to whoever had SIGPIPE before us, so that `prog | head` ends as every filter
/// does; a socket there is a peer like any other. Where the processor hides the descriptor
/// (aarch64) they end in our handler.
pub const SIGWARD_SWALLOW_STDIO: u32 = 4;

/// Flag, for sandboxes (seccomp): the handler for SIGPIPE makes no system call (x86-64, aarch64). A
/// swallowed signal is counted (swallowed, unattributed), but there is no event and no line. What
/// would take a system call is decided without: a write to a pipe at descriptor 1 or 2 ends in our
/// handler as well, a quiet descriptor is known by its number alone. A signal that is no echo goes
/// to who was there before, which takes system calls. Two exceptions: rt_sigprocmask with less than
/// 1.5 KiB of an alternate stack left; process_vm_readv for a write whose system call instruction
/// is the last word of its page (aarch64, processors with FRED).
pub const SIGWARD_NO_EVENTS: u32 = 8;

/// Flag: last words, as by sigward_explain.
pub const SIGWARD_EXPLAIN: u32 = 16;

/// Options of sigward_init. Set all to zero, then size.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct sigward_options {
    /// sizeof(sigward_options).
    pub size: usize,
    /// One of SIGWARD_SIGPIPE_*.
    pub sigpipe: u32,
    /// Zero, or of SIGWARD_LOG_STDERR, SIGWARD_REPLACE_IGNORE, SIGWARD_SWALLOW_STDIO,
    /// SIGWARD_NO_EVENTS and SIGWARD_EXPLAIN what is wanted, added up.
    pub flags: u32,
}

// SAFETY: begins with its size; the rest is numbers.
unsafe impl sized::Options for sigward_options {}

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
    /// The host has a handler of its own, `previous`, and it gets the echoes as well, as before us,
    /// except those of quiet threads and descriptors. Never where Go is in the process.
    CHAINED = 4,
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
    /// Beneath a handler that may or may not pass signals on: sigward_ensure_on_top takes the top
    /// again.
    COVERED = 3,
}

/// How SIGPIPE stands now.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct sigward_sigpipe_report {
    /// What the last policy call did: a sigward_outcome.
    pub outcome: i32,
    /// Where our seat is at this moment: a sigward_seat.
    pub seat: i32,
    /// With FILTERED and CHAINED: SIG_DFL (0), SIG_IGN (1) or the address of the handler behind us.
    /// Else 0.
    pub previous: usize,
    /// How many bytes of this struct the library knew and has filled.
    pub size: usize,
}

// SAFETY: numbers, without padding.
unsafe impl Filled for sigward_sigpipe_report {
    /// A function without a size knows a struct that ends before it.
    const FIRST: usize = std::mem::offset_of!(Self, size);

    fn set_size(&mut self, filled: u64) {
        self.size = filled as usize;
    }
}

const FLAGS: u32 = SIGWARD_LOG_STDERR
    | SIGWARD_REPLACE_IGNORE
    | SIGWARD_SWALLOW_STDIO
    | SIGWARD_NO_EVENTS
    | SIGWARD_EXPLAIN;

/// Sets the process's policy: SIGPIPE as the options say (NULL: filter it), and the seat on top for
/// SIGBUS, so that guarded maps are looked after.
///
/// Idempotent; from any thread, also many at once; works in a forked child. Call it before or after
/// any other runtime starts: it looks at what stands there and chains it. It works in a signal
/// handler as well, also in one that has interrupted the dynamic loader, and takes no lock of the
/// loader's. Signals that others send wait while this call changes anything; the handler of a fault
/// inside it is told -EDEADLK. (Only in a plug-in that holds libsigward.a, the first call pins that
/// object with dlopen(3): make it outside handlers.) A SIGPIPE that a thread has blocked stays
/// pending there, as without us. A flag that one call has set stays when a later call does without
/// it; sigward_sigpipe_restore takes SIGWARD_SWALLOW_STDIO back.
///
/// Returns 0. -EINVAL: options of an unknown size, policy or flag. -ENOSPC: no entry point left.
/// -EDEADLK: see above. -ENOTSUP: this system shows no system call's result (filter works on Linux
/// x86-64 and aarch64). Else the kernel's errno, for example -EPERM from a seccomp filter. On
/// failure nothing has changed.
#[unsafe(no_mangle)]
#[cold]
pub unsafe extern "C" fn sigward_init(options: *const sigward_options) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or begins with the number of its bytes, by the header's contract.
    let options = match unsafe { sized::options(options) } {
        Ok(options) => options,
        Err(error) => return map_code(Err(error)),
    };
    if options.flags & !FLAGS != 0 {
        return code(Err(Error::InvalidArgument));
    }
    let replace = options.flags & SIGWARD_REPLACE_IGNORE != 0;
    let sigpipe = match options.sigpipe {
        SIGWARD_SIGPIPE_FILTER if replace => sigpipe::filter_instead_of_ignore,
        _ if replace => return code(Err(Error::InvalidArgument)),
        SIGWARD_SIGPIPE_FILTER => sigpipe::filter,
        SIGWARD_SIGPIPE_IGNORE => sigpipe::ignore,
        SIGWARD_SIGPIPE_LEAVE => sigpipe::leave_alone,
        _ => return code(Err(Error::InvalidArgument)),
    };
    let status = code(crate::init_with(sigpipe).map(drop));
    if status == 0 && options.flags & SIGWARD_LOG_STDERR != 0 {
        crate::observe::log_to_stderr(true);
    }
    if status == 0 && options.flags & SIGWARD_NO_EVENTS != 0 {
        crate::observe::without_events(true);
    }
    if status == 0 && options.flags & SIGWARD_SWALLOW_STDIO != 0 {
        sigpipe::swallow_stdio(true);
    }
    if status == 0 && options.flags & SIGWARD_EXPLAIN != 0 {
        return code(crate::explain());
    }
    status
}

/// Takes the seats on top again after another runtime or library installed its handlers; what
/// stands there now is chained. A SIG_IGN that was put over our seat for SIGPIPE goes, and a row of
/// ours whose flags or mask somebody has changed is written anew. Does nothing for a signal without
/// a policy, on top already, or where SIGPIPE was ignored before we came. The seats of
/// sigward_try_copy_segv and sigward_explain_signals are taken again as well.
///
/// Thread-safe; works in a forked child. Returns 0 or as sigward_init.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_ensure_on_top() -> c_int {
    let _whole = Uncancelled::enter();
    code(crate::ensure_on_top())
}

/// SIG_IGN where SIG_DFL stands; an existing handler is chained as by sigward_sigpipe_filter, never
/// overwritten. Idempotent; sigward_sigpipe_restore takes it back. Thread-safe; works in a forked
/// child.
///
/// Returns 0 or as sigward_init; sigward_sigpipe_status tells which it was.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_sigpipe_ignore() -> c_int {
    let _whole = Uncancelled::enter();
    code(sigpipe::ignore().map(drop))
}

/// Lets SIGPIPEs that are the echo of a failed write end in our handler; all others pass to what
/// stood there before, SIG_DFL included. Children start with SIG_DFL. Where SIGPIPE is ignored
/// already it stays so, for children as well (SIGWARD_REPLACE_IGNORE of sigward_options).
/// Idempotent; sigward_sigpipe_restore takes it back. Thread-safe; works in a forked child.
///
/// Returns 0 or as sigward_init; sigward_sigpipe_status tells what was found.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_sigpipe_filter() -> c_int {
    let _whole = Uncancelled::enter();
    code(sigpipe::filter().map(drop))
}

/// Takes back what sigward_sigpipe_filter, sigward_sigpipe_ignore, the constructor and
/// SIGWARD_SWALLOW_STDIO did. What somebody else has installed since stays. Idempotent.
/// Thread-safe; works in a forked child.
///
/// Returns 0 or as sigward_init.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_sigpipe_restore() -> c_int {
    let _whole = Uncancelled::enter();
    code(sigpipe::restore())
}

/// Fills *out with how SIGPIPE stands now. Signal-safe, thread-safe; changes nothing but the
/// counter overwritten, when it is the first to see that somebody stands above us.
///
/// Returns 0; -EINVAL if out is NULL; else the kernel's errno, where a seccomp filter refuses
/// sigaction(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_sigpipe_status(out: *mut sigward_sigpipe_report) -> c_int {
    // SAFETY: as the caller vouches for the pointer.
    unsafe { sigward_sigpipe_status_sized(out, sigward_sigpipe_report::FIRST) }
}

/// As sigward_sigpipe_status, for a struct of size bytes.
///
/// Returns as sigward_sigpipe_status; -EINVAL also for a size that no version has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_sigpipe_status_sized(
    out: *mut sigward_sigpipe_report,
    size: usize,
) -> c_int {
    let _whole = Uncancelled::enter();
    let report = sigpipe::status().map(|status| {
        let ((outcome, previous), seat) = (outcome_of(status.outcome), seat_of(status.seat));
        sigward_sigpipe_report { outcome: outcome as i32, seat: seat as i32, previous, size: 0 }
    });
    match report {
        // SAFETY: null, or room for one struct of that size by the header's contract.
        Ok(report) => map_code(unsafe { fill_one(out, size, report) }),
        Err(error) => code(Err(error)),
    }
}

pub(super) fn outcome_of(outcome: Outcome) -> (sigward_outcome, usize) {
    match outcome {
        Outcome::Untouched => (sigward_outcome::UNTOUCHED, 0),
        Outcome::AlreadyIgnored => (sigward_outcome::ALREADY_IGNORED, 0),
        Outcome::Ignored => (sigward_outcome::IGNORED, 0),
        Outcome::Filtered { previous: Previous::Default } => {
            (sigward_outcome::FILTERED, libc::SIG_DFL)
        }
        Outcome::Filtered { previous: Previous::Ignored } => {
            (sigward_outcome::FILTERED, libc::SIG_IGN)
        }
        Outcome::Filtered { previous: Previous::Handler(address) } => {
            (sigward_outcome::FILTERED, address)
        }
        Outcome::Chained { handler } => (sigward_outcome::CHAINED, handler),
    }
}

pub(super) fn seat_of(seat: Seat) -> sigward_seat {
    match seat {
        Seat::None => sigward_seat::NONE,
        Seat::OnTop => sigward_seat::ON_TOP,
        Seat::Beneath => sigward_seat::BENEATH,
        Seat::Covered => sigward_seat::COVERED,
    }
}

/// Gives the handler of this signal SA_ONSTACK if it lacks it; nothing else about it changes. For
/// handlers that libraries install without it (signal-hook, tokio::signal, ctrlc), which end a Go
/// process: call it right after they have registered. The handler has to get along with the room of
/// the threads' alternate stacks, and must not switch to another stack before it returns.
///
/// Thread-safe; works in a forked child. Returns 1 if the handler was repaired, 0 if there was
/// nothing to do; -EINVAL for a number that is no signal; else as sigward_init.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_repair(signal: c_int) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: by the header's contract.
    match unsafe { crate::chain::repair(signal) } {
        Ok(found) => code(Ok(())) + c_int::from(found == crate::chain::Repair::Repaired),
        Err(error) => code(Err(error)),
    }
}

/// sigward_repair for every signal, on the same condition. After a library has been loaded or
/// started that installs handlers of its own.
///
/// Thread-safe; works in a forked child; not for signal handlers. Returns how many handlers had no
/// SA_ONSTACK and have it now, or as sigward_repair; handlers of lower signals have been repaired
/// then.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_repair_all() -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: by the header's contract.
    match unsafe { crate::chain::repair_all() } {
        Ok(repaired) => code(Ok(())) + c_int::try_from(repaired).unwrap_or(c_int::MAX),
        Err(error) => code(Err(error)),
    }
}

//! Last words: seats taken to say what the process dies of.

use crate::error::Error;
#[cfg(target_os = "linux")]
use crate::{fatal, mapping, sigpipe};
use std::ffi::c_int;

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
/// longjmp), which cannot be known in advance. Such a one is told in other words, at most 16 times
/// in the life of a process: `sigward: passing on: SIGBUS …; it goes to the handler of libjvm.so`.
///
/// The seat for SIGBUS is taken as by [`guard`](crate::mapping::guard). Where SIGPIPE has its
/// default action and no policy was set, a seat that lets everything pass is taken for it;
/// [`filter`](crate::sigpipe::filter) makes it one that filters,
/// [`restore`](crate::sigpipe::restore) leaves it. Nothing is told where somebody else has written
/// over a seat, of a SIGPIPE that a handler gets or that is ignored, of a fault in a thread that
/// has SIGBUS blocked (the kernel consults no handler), and in the first process of a pid
/// namespace, which such a signal does not end.
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
    crate::observe::last_words::explain(&BOTH, false);
    Ok(())
}

/// What [`explain`] tells of.
#[cfg(target_os = "linux")]
const BOTH: [c_int; 2] = [libc::SIGPIPE, libc::SIGBUS];

/// The further signals of [`explain_signals`], by the names that `SIGWARD` has for them.
#[cfg(target_os = "linux")]
pub(crate) const FURTHER: [(c_int, &[u8]); 6] = [
    (libc::SIGSEGV, b"SEGV"),
    (libc::SIGABRT, b"ABRT"),
    (libc::SIGFPE, b"FPE"),
    (libc::SIGILL, b"ILL"),
    (libc::SIGXFSZ, b"XFSZ"),
    (libc::SIGSYS, b"SYS"),
];

/// As [`explain`], and also of these signals: of SIGSEGV, SIGABRT, SIGFPE, SIGILL, SIGXFSZ and
/// SIGSYS those that are in `signals`. Those that an earlier call has named and this one does not
/// are left again; an empty list leaves them all.
///
/// ```text
/// sigward: last words: SIGSEGV (code 1, address 0x10) on thread "app" (tid 4711) of pid 4711:
///     read at libfoo.so+0x1b32 by libfoo.so: a null pointer
/// sigward: last words: SIGABRT (code -6) on thread "app" (tid 4711) of pid 4711: aborted by
///     libfoo.so: the process has ended itself (a failed assertion, …)
/// sigward: last words: SIGXFSZ (code 0) on thread "app" (tid 4711) of pid 4711: write to fd 5
///     (/var/log/app.log) by app: the file may not be longer than 1,048,576 bytes (RLIMIT_FSIZE, …)
/// ```
///
/// (Each is one line.) A seat that lets everything pass is taken on top of each, above whatever
/// handler stands there, which goes on to get every signal: the reports of Go, of a JVM or of a
/// crash reporter come after ours, as they were. A signal that is ignored is left alone, so that
/// children inherit that. A fault or an abort that goes to a handler is told as "passing on" (see
/// [`explain`]), but for SIGSEGVs in code that a runtime makes as it runs, by which a JVM lives:
/// after 64 of these no SIGSEGV that goes to a handler is. A SIGXFSZ or SIGSYS that goes to a
/// handler never is.
///
/// A thread that has no stack left, and no alternate one (sigaltstack(2)), cannot say anything. In
/// a sandbox (seccomp) the line takes the system calls openat, read, pread64, close, readlink or
/// readlinkat, ioctl, fstat, stat or newfstatat, statfs, ppoll, write, prctl, getpid, gettid,
/// process_vm_readv, rt_sigprocmask and rt_sigaction, of a SIGXFSZ prlimit64 as well: a filter that
/// ends the process for one of them makes the death another one.
///
/// Idempotent, thread-safe; a forked child goes on as its parent. Not for signal handlers.
///
/// # Errors
/// [`Error::InvalidArgument`] for another signal: then nothing has changed. SIGPIPE and SIGBUS may
/// be named and change nothing. Else as [`explain`].
///
/// ```
/// sigward::explain_signals(&[libc::SIGSEGV, libc::SIGABRT])?;
/// # Ok::<(), sigward::Error>(())
/// ```
#[doc(alias = "SIGSEGV")]
#[doc(alias = "SIGABRT")]
#[doc(alias = "sigward_explain_signals")]
pub fn explain_signals(signals: &[c_int]) -> Result<(), Error> {
    explain_all(signals, true)
}

/// As [`explain_signals`]; without `faults` the seat for SIGBUS is not taken.
#[cfg(target_os = "linux")]
pub(crate) fn explain_all(signals: &[c_int], faults: bool) -> Result<(), Error> {
    let known = |signal: &c_int| {
        BOTH.contains(signal) || FURTHER.iter().any(|(further, _)| further == signal)
    };
    if !signals.iter().all(known) {
        return Err(Error::InvalidArgument);
    }
    explain_faults(faults)?;
    let held = crate::chain::lock()?;
    let segv = signals.contains(&libc::SIGSEGV) && fatal::is_free(libc::SIGSEGV)?;
    crate::sigbus::segv::explain(&held, segv)?;
    fatal::explain(&held, signals)?;
    let mut all = [0; BOTH.len() + FURTHER.len()];
    let further =
        FURTHER.iter().map(|(further, _)| *further).filter(|further| signals.contains(further));
    for (place, signal) in all.iter_mut().zip(BOTH.into_iter().chain(further)) {
        *place = signal;
    }
    crate::observe::last_words::explain(&all, true);
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn explain_all(_signals: &[c_int], _faults: bool) -> Result<(), Error> {
    Err(Error::Unsupported)
}

#[cfg(not(target_os = "linux"))]
fn explain_faults(_faults: bool) -> Result<(), Error> {
    Err(Error::Unsupported)
}

//! A callback for events, called from a thread.

use super::code;
use super::handle::{close, open_handle};
use crate::error::Error;
use crate::mapping;
use crate::observe::{Event, Unreported, Watch, watch};
use crate::sys::cancel::Uncancelled;
use std::ffi::{c_int, c_void};
use std::time::Duration;

/// A thread of the library's own that calls back for each event: made by sigward_watch_start, ended
/// by sigward_watch_stop. There is none unless that is asked for.
pub struct sigward_watch(Watch);

/// What the host gets back as it was given, on the thread of the watch.
struct Context(*mut c_void);

// SAFETY: never read here; that the callback may use it on that thread is the header's contract.
unsafe impl Send for Context {}

impl Context {
    /// By reference: a closure takes the whole of it, and not the pointer in it.
    fn get(&self) -> *mut c_void {
        self.0
    }
}

/// Calls report for each event from now on: never in a signal handler, always on one thread,
/// "sigward-watch", which looks every interval_ms milliseconds (1 or more). *out is the handle, or
/// NULL on failure; report may be called before this returns.
///
/// report gets the event, which is valid until report returns and as long as its field size says;
/// how many events the library had to drop since the call before (missed: it keeps 512 between two
/// looks); how many had no call because more than 512 came at once and then more than 10 a second
/// (suppressed); and context. A last call, with NULL for the event, tells of both at the end if one
/// of them is not 0.
///
/// report must return: no exception, no longjmp, no pthread_exit. It may call any function of this
/// header, and sigward_watch_stop of its own watch. Its thread has all signals blocked but for
/// faults, and so have the threads that it starts: a write there to a broken peer is EPIPE and no
/// event, so a logger whose own peer has gone does not report itself.
///
/// Thread-safe; not for signal handlers. Any number of watches may go on, and each reports all. A
/// forked child has no such thread: report is not called there. It may start a watch of its own.
///
/// Returns 0. -EINVAL: report or out is NULL, or interval_ms 0. -EAGAIN: no thread can be had.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_watch_start(
    interval_ms: u32,
    report: Option<
        unsafe extern "C" fn(
            event: *const Event,
            missed: u64,
            suppressed: u64,
            context: *mut c_void,
        ),
    >,
    context: *mut c_void,
    out: *mut *mut sigward_watch,
) -> c_int {
    let _whole = Uncancelled::enter();
    let context = Context(context);
    let made = match report {
        Some(report) if interval_ms > 0 => {
            let told = move |event: Option<&Event>, Unreported { missed, suppressed }| {
                let filled = event.map(|event| Event { size: size_of::<Event>() as u64, ..*event });
                let event = filled.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
                // SAFETY: the header's contract: it may be called so until the watch has ended.
                unsafe { report(event, missed, suppressed, context.get()) };
            };
            watch(Duration::from_millis(interval_ms.into()), told).map_err(|error| {
                let errno = error.raw_os_error().unwrap_or(libc::EAGAIN);
                mapping::Error::System { call: "pthread_create", errno }
            })
        }
        _ => Err(mapping::Error::Invalid("no callback, or no interval")),
    };
    // SAFETY: null, or room for a pointer by the header's contract.
    unsafe { open_handle(out, made, sigward_watch) }
}

/// Ends a watch, and frees the handle. The events of before are reported first; when it returns,
/// report is not running and is not called again, so that what it needs may go: context, and the
/// library that it is in (dlclose(3)). NULL is nothing to do.
///
/// Called by report itself, it waits for nobody, and that call of report is the last: context may
/// go, the library that report is in may not. In a forked child it only frees the handle.
///
/// Not for signal handlers. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_watch_stop(watch: *mut sigward_watch) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open handle that nobody uses any more.
    if let Some(sigward_watch(watch)) = unsafe { close(watch) } {
        drop(watch);
    }
    code(Ok::<(), Error>(()))
}

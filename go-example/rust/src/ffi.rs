//! The functions of `halves.h`: convert, call, convert. Each returns a value, or a negative errno.

use std::ffi::{CStr, c_char, c_int};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::backlog::Backlog;
use crate::counters::{COUNTERS, CountersCopy};
use crate::journal::Journal;
use crate::{downloads, shipper};

static BACKLOG: Backlog = Backlog::new();
static JOURNAL: Journal = Journal::new();
static STARTED: AtomicBool = AtomicBool::new(false);
static JOURNAL_STARTED: AtomicBool = AtomicBool::new(false);

/// Starts both halves of the Rust side, once per process. Returns the TCP port of the downloads on
/// 127.0.0.1.
///
/// # Safety
/// `collector` is a C string; `certificate` is one or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halves_start(
    collector: *const c_char,
    certificate: *const c_char,
) -> c_int {
    // SAFETY: `collector` is a C string by this function's contract, kept by internal/halves.
    let collector = unsafe { text(collector) };
    // SAFETY: `certificate` is a C string or NULL by this function's contract, kept by
    // internal/halves.
    let certificate = unsafe { text(certificate) };
    let Some(address) = collector.and_then(|address| address.parse().ok()) else {
        return -libc::EINVAL;
    };
    match start(address, certificate.map(Path::new)) {
        Ok(port) => c_int::from(port),
        Err(error) => -error.raw_os_error().unwrap_or(libc::EINVAL),
    }
}

/// Starts the journal, once per process: from now on every event is also a line of the file at
/// `path`.
///
/// # Safety
/// `path` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halves_journal(path: *const c_char) -> c_int {
    // SAFETY: `path` is a C string by this function's contract, kept by internal/halves.
    let Some(path) = (unsafe { text(path) }) else { return -libc::EINVAL };
    if JOURNAL_STARTED.swap(true, Relaxed) {
        return -libc::EALREADY;
    }
    match JOURNAL.start(PathBuf::from(path)) {
        Ok(()) => 0,
        Err(error) => -error.raw_os_error().unwrap_or(libc::EINVAL),
    }
}

/// Takes one event, a line of UTF-8 text, and returns its sequence number; -EAGAIN when too many
/// wait.
///
/// # Safety
/// `event` points to `length` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halves_ship(event: *const u8, length: usize) -> i64 {
    if event.is_null() {
        return -i64::from(libc::EINVAL);
    }
    // SAFETY: not NULL, and readable for `length` bytes by this function's contract, kept by
    // internal/halves.
    let event = unsafe { std::slice::from_raw_parts(event, length) };
    let Ok(event) = std::str::from_utf8(event) else { return -i64::from(libc::EINVAL) };
    if event.contains('\n') {
        return -i64::from(libc::EINVAL);
    }
    match BACKLOG.push(event) {
        Some(sequence) => {
            COUNTERS.accepted.fetch_add(1, Relaxed);
            if JOURNAL_STARTED.load(Relaxed) {
                JOURNAL.append(sequence, event);
            }
            i64::try_from(sequence).unwrap_or(i64::MAX)
        }
        None => -i64::from(libc::EAGAIN),
    }
}

/// Copies the counters to `out`.
///
/// # Safety
/// `out` is NULL or points to a writable `halves_counters`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn halves_read_counters(out: *mut CountersCopy) -> c_int {
    if out.is_null() {
        return -libc::EINVAL;
    }
    // SAFETY: not NULL, and writable by this function's contract, kept by internal/halves.
    unsafe { out.write(COUNTERS.copy()) };
    0
}

/// The text of a C string; `None` for NULL and for what is not UTF-8.
///
/// # Safety
/// `text` is a C string that outlives `'a`, or NULL.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a str> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not NULL, so a C string by this function's contract.
    unsafe { CStr::from_ptr(text) }.to_str().ok()
}

fn start(address: SocketAddr, certificate: Option<&Path>) -> io::Result<u16> {
    let collector = shipper::Collector::new(address, certificate)?;
    if STARTED.swap(true, Relaxed) {
        return Err(io::Error::from_raw_os_error(libc::EALREADY));
    }
    let workers = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("rust-downloads")
        .enable_all()
        .build()?;
    let listener = workers.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let port = listener.local_addr()?.port();
    let single = Builder::new_current_thread().enable_all().build()?;

    // Threads with names: the name is what a log line shows of them.
    thread::Builder::new()
        .name("rust-downloads".into())
        .spawn(move || workers.block_on(downloads::serve(listener)))?;
    thread::Builder::new()
        .name("rust-shipper".into())
        .spawn(move || single.block_on(shipper::ship(collector, &BACKLOG)))?;
    Ok(port)
}

//! One line about what the process is about to die of, written inside the handler: on stderr, under
//! the rule of the log's line, and to a descriptor of the host's choice.

#[cfg(target_os = "linux")]
pub(crate) mod in_handler;

#[cfg(target_os = "linux")]
use super::event::Event;
use super::in_handler::status;
#[cfg(target_os = "linux")]
use super::log;
use crate::error::Error;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

static OFF: AtomicBool = AtomicBool::new(false);
/// The signals of which reports were asked for, a bit each.
#[cfg(target_os = "linux")]
static EXPLAINED: AtomicU64 = AtomicU64::new(0);
static JSON: AtomicBool = AtomicBool::new(false);
static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);
/// Device and inode of what it was when it was chosen.
static FILE: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Where last words go besides stderr; a negative number is for none at all, stderr included. The
/// descriptor stays the host's: it is used only while it is what it was now.
///
/// Last words come when an adopted file has lost a page of a shared writable mapping
/// ([`mapping::Adopted`](crate::mapping::Adopted)), once for each cause; after [`crate::explain`]
/// whenever a SIGPIPE or SIGBUS ends the process, and after [`crate::explain_signals`] whenever a
/// signal that was named there does. Thread-safe; a forked child goes on as its parent.
///
/// # Errors
/// [`Error::System`] with `EBADF` if `fd` is not open; then nothing has changed.
///
/// ```
/// use std::os::fd::AsRawFd;
/// # let path = std::env::temp_dir().join(format!("sigward-words-{}", std::process::id()));
/// let file = std::fs::File::options().create(true).append(true).open(&path)?;
/// sigward::observe::last_words(file.as_raw_fd())?; // the file has to stay open
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "sigward_last_words")]
pub fn last_words(fd: c_int) -> Result<(), Error> {
    if fd < 0 {
        DESCRIPTOR.store(-1, Ordering::Release);
        OFF.store(true, Ordering::Relaxed);
        return Ok(());
    }
    let Some(file) = status(fd) else { return Err(Error::System(libc::EBADF)) };
    DESCRIPTOR.store(-1, Ordering::Release);
    for (word, value) in FILE.iter().zip(file_of(&file)) {
        word.store(value, Ordering::Relaxed);
    }
    OFF.store(false, Ordering::Relaxed);
    DESCRIPTOR.store(fd, Ordering::Release);
    Ok(())
}

/// Whether the reports of [`crate::explain`] and [`crate::explain_signals`] are JSON: one object in
/// one line, less than 2,048 bytes.
///
/// ```json
/// {"sigward":"last words","time_ns":1790000000000000000,"signal":"SIGBUS","number":7,"code":2,
///  "address":"0x7f3a50014000","thread":"app","tid":4711,"pid":4711,"cause":"read at offset 20,480
///  of /data/geo.mmdb (65,536 bytes mapped) by app: the file is 0 bytes long now","handler":null}
/// ```
///
/// (One line.) These keys come in this order and stay; more may follow. `sigward` is `last words`
/// or `passing on`, `code` and `address` are null where there is none, `handler` is null before the
/// default action, else the file name of the handler's library, empty if it is unknown. `cause` is
/// the text's. A preloaded program has it by the word `json` in `SIGWARD`. Signal-safe,
/// thread-safe.
#[doc(alias = "sigward_last_words_json")]
pub fn last_words_as_json(wanted: bool) {
    JSON.store(wanted, Ordering::Relaxed);
}

#[allow(clippy::unnecessary_cast, reason = "the fields' types differ between systems")]
fn file_of(status: &libc::stat) -> [u64; 2] {
    [status.st_dev as u64, status.st_ino as u64]
}

/// From now on there is a report about each of these signals that ends the process and comes by
/// here: besides others, or about them `only`.
#[cfg(target_os = "linux")]
pub(crate) fn explain(signals: &[c_int], only: bool) {
    log::remember_stderr();
    let set = signals.iter().fold(0, |set, signal| set | bit(*signal));
    if only {
        EXPLAINED.store(set, Ordering::Release);
    } else {
        EXPLAINED.fetch_or(set, Ordering::Release);
    }
}

#[cfg(target_os = "linux")]
fn bit(signal: c_int) -> u64 {
    1_u64.checked_shl(signal.unsigned_abs()).unwrap_or(0)
}

/// Whether such reports were asked for. Signal-safe.
#[cfg(target_os = "linux")]
pub(crate) fn explains() -> bool {
    EXPLAINED.load(Ordering::Relaxed) != 0
}

/// The same, about this signal. Signal-safe.
#[cfg(target_os = "linux")]
fn explains_this(signal: c_int) -> bool {
    EXPLAINED.load(Ordering::Relaxed) & bit(signal) != 0
}

/// Writes the line for `event`, unless the end is told anyway. Signal-safe.
#[cfg(target_os = "linux")]
pub(crate) fn of_loss(event: &Event) {
    if !OFF.load(Ordering::Relaxed) && !explains() {
        log::last_words(event, chosen());
    }
}

/// The descriptor of the host's choice, if it is still what was chosen. Signal-safe.
#[cfg(target_os = "linux")]
fn chosen() -> Option<c_int> {
    let fd = DESCRIPTOR.load(Ordering::Acquire);
    let known = FILE.each_ref().map(|word| word.load(Ordering::Relaxed));
    (fd >= 0 && status(fd).is_some_and(|file| file_of(&file) == known)).then_some(fd)
}

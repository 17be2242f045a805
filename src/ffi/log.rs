//! The append log.

use super::handle::{close, open_handle, opened};
use super::sized::{self, Filled};
use crate::log::{self, Check, Error, Log, LogOptions};
use crate::mapping;
use crate::sys::cancel::Uncancelled;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// An append log: records in a file that grows, blocks first. Appending is a copy into memory
/// where SIGBUS is guarded; a full disk is an error of one append; a record whose append has
/// returned survives the process, kill -9 included, and after sigward_log_flush the machine. Made
/// by sigward_log_open, taken away by sigward_log_close. A record has 0 to 1073741823 bytes.
pub struct sigward_log(Log);

/// Options of a log. Set all to zero, then size.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct sigward_log_options {
    /// sizeof(sigward_log_options).
    pub size: usize,
    /// How long the log can become while it is open, in bytes of addresses; 0: 64 GiB, or four
    /// times what there is if that is more; where the process cannot have so many (RLIMIT_AS), at
    /// most half of what it can.
    pub capacity: u64,
    /// How many bytes to reserve at a time; 0: an eighth of what there is, 1 MiB at least and 64
    /// MiB at most.
    pub step: u64,
    /// 1: where the file system cannot promise blocks (ext2, some network file systems), write
    /// zeros.
    pub slow_zeros: u32,
    /// 1: if whole records follow a torn one that was never flushed, the log ends before it, and
    /// they are overwritten; 0: -EBADMSG.
    pub discard_after_torn: u32,
}

// SAFETY: begins with its size; the rest is numbers.
unsafe impl sized::Options for sigward_log_options {}

/// What sigward_log_open found.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct sigward_log_recovery {
    /// How many whole records there are.
    pub records: u64,
    /// Where the next one will be: bytes from the start of the file.
    pub end: u64,
    /// Up to where everything was known to be on the disk.
    pub durable: u64,
    /// Bytes behind the last whole record that were being written when the process or the machine
    /// died, and are zeros now; 0 after an orderly end.
    pub torn: u64,
    /// 1: an append is a copy into memory, because SIGBUS was guarded when the log was opened; 0:
    /// it is some system calls.
    pub mapped: u64,
    /// 0.
    pub reserved: [u64; 2],
    /// How many bytes of this struct the library knew and has filled.
    pub size: u64,
}

// SAFETY: numbers, without padding.
unsafe impl Filled for sigward_log_recovery {
    const FIRST: usize = 64;

    fn set_size(&mut self, filled: u64) {
        self.size = filled;
    }
}

/// Opens the log at path, or makes it (rw-rw-rw- less umask); a symbolic link is followed. NULL
/// options: all zero. After a crash the end is found: all whole records stay, what is torn behind
/// them becomes zeros; recovery (may be NULL) tells. *out is the log, or NULL on failure.
///
/// No signal's disposition is touched. Where SIGBUS is guarded already (sigward_init,
/// sigward_sigbus_guard, an open map) and no other handler has come above, the log goes through a
/// guarded map, and appending is a copy into memory; else through pread(2) and pwrite(2), and each
/// append takes some system calls: several times a write(2). So guard first for the fast way.
///
/// Thread-safe. The log belongs to this process: in a forked child sigward_log_append and
/// sigward_log_flush are -EPERM; if the process dies before it has closed the log, such a child
/// keeps the lock until it ends or calls exec. Not for signal handlers.
///
/// Returns 0. -EBUSY: another writer has it. -EILSEQ: the file is no log. -EPROTONOSUPPORT: a log
/// of a later format. -EBADMSG: bytes that were on the disk once are damaged; nothing was changed,
/// and recovery->end is where. -ENOSPC, -EDQUOT, -EFBIG, -EOPNOTSUPP: no blocks for the first page
/// (see sigward_reserve). -EINVAL: a NULL pointer, options of an unknown size or value. Else as
/// sigward_map_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_log_open(
    path: *const c_char,
    options: *const sigward_log_options,
    recovery: *mut sigward_log_recovery,
    out: *mut *mut sigward_log,
) -> c_int {
    // SAFETY: as the caller vouches for the pointers.
    unsafe { sigward_log_open_sized(path, options, recovery, out, sigward_log_recovery::FIRST) }
}

/// As sigward_log_open, for a recovery of recovery_size bytes.
///
/// Returns as sigward_log_open; -EINVAL also for a size that no version has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_log_open_sized(
    path: *const c_char,
    options: *const sigward_log_options,
    recovery: *mut sigward_log_recovery,
    out: *mut *mut sigward_log,
    recovery_size: usize,
) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: NULL or NUL-terminated by the header's contract.
    let path = unsafe { self::path(&path) };
    // SAFETY: NULL, or a struct that begins with its size, by the header's contract.
    let options = unsafe { read_options(options) };
    let fits = sized::fits::<sigward_log_recovery>(recovery_size);
    let options = fits.and(options);
    let made = match (path, options) {
        (_, Err(error)) => Err(Error::Map(error)),
        (Some(path), Ok(options)) if !out.is_null() => options.open(path),
        _ => Err(Error::Map(mapping::Error::Invalid("no path, or no place for the log"))),
    };
    let mut found = sigward_log_recovery::default();
    match &made {
        Ok(log) => {
            let seen = log.recovery();
            (found.records, found.end, found.durable) = (seen.records, seen.end, seen.durable);
            found.torn = seen.torn.map_or(0, |torn| torn.bytes);
            found.mapped = u64::from(log.is_mapped());
        }
        Err(Error::Damaged { offset }) => found.end = *offset,
        Err(_) => {}
    }
    if !recovery.is_null() && fits.is_ok() {
        // SAFETY: room for one struct of that size.
        unsafe { sized::fill(recovery, recovery_size, found) };
    }
    // SAFETY: NULL, or room for a pointer.
    unsafe { handed_out(out, made, sigward_log) }
}

/// Appends a record of len bytes; *position (may be NULL) is where it is: bytes from the start of
/// the file. It survives the process from now on, and the machine from the next sigward_log_flush
/// on.
///
/// Thread-safe: records of several threads come one after the other. Returns 0. -ENOSPC, -EDQUOT,
/// -EFBIG, -EOPNOTSUPP: no blocks; the record is not there, all before is, and a later append may
/// find room. -EFBIG also when the capacity is used up. -EMSGSIZE: too long. -EFAULT: somebody has
/// cut the file, -ENOSPC or -EIO: (btrfs, broken disk) a page is lost; -ESTALE: the file has lost
/// its name (unlinked, renamed, replaced), which is looked for at flushes; then, and after a flush
/// that failed, every later call fails, too: open the log anew. -EPERM: a forked child, or somebody
/// has made the file immutable (chattr +i). -EINVAL: a NULL pointer.
///
/// record must be readable. A handler that jumps out of the call (siglongjmp(3), at a fault there)
/// leaves the log locked: every later call for it waits. What was appended before is whole.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_log_append(
    log: *const sigward_log,
    record: *const c_void,
    len: usize,
    position: *mut u64,
) -> c_int {
    // SAFETY: NULL, or an open log by the header's contract.
    let log = unsafe { opened(log) };
    let (Some(log), true) = (log, !record.is_null() || len == 0) else { return -libc::EINVAL };
    let record = if len == 0 {
        &[]
    } else {
        // SAFETY: len readable bytes by the header's contract.
        unsafe { std::slice::from_raw_parts(record.cast::<u8>(), len.min(isize::MAX as usize)) }
    };
    // SAFETY: NULL, or room for a number.
    unsafe { answer(log.0.append(record), position) }
}

/// Waits until everything that was appended before is on the disk; *durable (may be NULL) is up to
/// where. Appends of other threads go on meanwhile; flushes that wait for each other share one
/// write.
///
/// Returns 0. What the disk says (-EIO, -ENOSPC), now or at an append before: what is there from
/// *durable on nobody knows; open the log anew. -EFAULT: somebody has cut the file, -EBADMSG: or
/// written over it. -ESTALE: it has lost its name; everything is on the disk in that file. -EPERM:
/// a forked child. -EINVAL if log is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_log_flush(log: *const sigward_log, durable: *mut u64) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: NULL, or an open log by the header's contract.
    let Some(log) = (unsafe { opened(log) }) else { return -libc::EINVAL };
    // SAFETY: NULL, or room for a number.
    let status = unsafe { answer(log.0.flush(), durable) };
    if !matches!(-status, 0 | libc::EFAULT | libc::EBADMSG | libc::EPERM) {
        // SAFETY: as above.
        unsafe { answer(Ok(log.0.durable()), durable) };
    }
    status
}

/// Where the next record will be: bytes from the start of the file; in a forked child, where it was
/// when the log was opened. 0 if log is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_log_end(log: *const sigward_log) -> u64 {
    let _whole = Uncancelled::enter();
    // SAFETY: NULL, or an open log by the header's contract.
    unsafe { opened(log) }.map_or(0, |log| log.0.end())
}

/// Flushes, says in the file that the log was closed in order, gives reserved blocks behind its end
/// back, and takes the log away, whatever it returns; the file keeps its length, so no reader dies
/// of that. NULL, and a forked child's copy, is nothing to do.
///
/// Returns as sigward_log_flush, but not what an append or a flush has failed with already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_log_close(log: *mut sigward_log) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: NULL, or an open log that nobody uses any more.
    let log = unsafe { close(log) };
    match log.map_or(Ok(()), |log| log.0.close()) {
        // A forked child takes away what is its own.
        Ok(()) | Err(Error::Forked) => 0,
        Err(error) => -error.errno(),
    }
}

/// What a log's file holds.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct sigward_log_report {
    /// How many whole records there are, before and behind damage.
    pub records: u64,
    /// Where the last of them ends: bytes from the start of the file.
    pub end: u64,
    /// Up to where everything was on the disk once.
    pub durable: u64,
    /// How many places are damaged: below durable, or with whole records behind them.
    pub damaged: u64,
    /// Where the first of them begins; 0 if there is none.
    pub first_damage: u64,
    /// How many bytes they have together.
    pub lost: u64,
    /// Bytes behind the end that are no record: what was being written when the process or the
    /// machine died, or is being written now.
    pub torn: u64,
    /// How many copies of the header are as they were written, of two.
    pub headers: u64,
    /// 0.
    pub reserved: [u64; 3],
    /// How many bytes of this struct the library knew and has filled.
    pub size: u64,
}

// SAFETY: numbers, without padding.
unsafe impl Filled for sigward_log_report {
    const FIRST: usize = 96;

    fn set_size(&mut self, filled: u64) {
        self.size = filled;
    }
}

impl From<Check> for sigward_log_report {
    fn from(found: Check) -> Self {
        Self {
            records: found.records,
            end: found.end,
            durable: found.durable,
            damaged: found.damaged,
            first_damage: found.first_damage,
            lost: found.lost,
            torn: found.torn,
            headers: u64::from(found.headers),
            ..Self::default()
        }
    }
}

/// Looks at every record of the log at path, and changes nothing; report (may be NULL) tells. It
/// takes no lock: what a writer appends meanwhile may be seen or not.
///
/// Returns 0, also for a log that is damaged further behind: see report->damaged. -EILSEQ,
/// -EPROTONOSUPPORT, -EBADMSG: no copy of the header can be read. -ENODATA: the file is empty.
/// -EINVAL: a NULL path. Else what open(2) and read(2) say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_log_check(
    path: *const c_char,
    report: *mut sigward_log_report,
) -> c_int {
    // SAFETY: as the caller vouches for the pointers.
    unsafe { sigward_log_check_sized(path, report, sigward_log_report::FIRST) }
}

/// As sigward_log_check, for a report of report_size bytes.
///
/// Returns as sigward_log_check; -EINVAL also for a size that no version has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_log_check_sized(
    path: *const c_char,
    report: *mut sigward_log_report,
    report_size: usize,
) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: NULL or NUL-terminated by the header's contract.
    let path = unsafe { self::path(&path) };
    // SAFETY: room for a report of that size, or NULL.
    unsafe { reported(report, report_size, || log::check(path.ok_or(NO_PATH)?)) }
}

/// Copies all whole records of the log at from, in their order, into a new log at to, where they
/// have other positions; from is only read. report (may be NULL) is as of sigward_log_check.
///
/// Returns as sigward_log_check and sigward_log_append. -EEXIST: there is a file at to. On failure
/// what was copied so far stays there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_log_salvage(
    from: *const c_char,
    to: *const c_char,
    report: *mut sigward_log_report,
) -> c_int {
    // SAFETY: as the caller vouches for the pointers.
    unsafe { sigward_log_salvage_sized(from, to, report, sigward_log_report::FIRST) }
}

/// As sigward_log_salvage, for a report of report_size bytes.
///
/// Returns as sigward_log_salvage; -EINVAL also for a size that no version has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_log_salvage_sized(
    from: *const c_char,
    to: *const c_char,
    report: *mut sigward_log_report,
    report_size: usize,
) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: NULL or NUL-terminated by the header's contract.
    let from = unsafe { path(&from) };
    // SAFETY: as above.
    let to = unsafe { path(&to) };
    let work = || log::salvage(from.ok_or(NO_PATH)?, to.ok_or(NO_PATH)?);
    // SAFETY: room for a report of that size, or NULL.
    unsafe { reported(report, report_size, work) }
}

const NO_PATH: Error = Error::Map(mapping::Error::Invalid("no path"));

/// # Safety
/// `report` is NULL or room for a report of that size.
unsafe fn reported(
    report: *mut sigward_log_report,
    size: usize,
    work: impl FnOnce() -> Result<Check, Error>,
) -> c_int {
    if let Err(error) = sized::fits::<sigward_log_report>(size) {
        return -Error::Map(error).errno();
    }
    let made = work();
    if !report.is_null() {
        let found = made.map_or_else(|_| sigward_log_report::default(), sigward_log_report::from);
        // SAFETY: by this function's contract.
        unsafe { sized::fill(report, size, found) };
    }
    made.map_or_else(|error| -error.errno(), |_| 0)
}

/// # Safety
/// `out` is NULL or room for a pointer.
pub(super) unsafe fn handed_out<M, T>(
    out: *mut *mut T,
    made: Result<M, Error>,
    wrap: impl FnOnce(M) -> T,
) -> c_int {
    let made = made.map_err(|error| mapping::Error::System { call: "log", errno: error.errno() });
    // SAFETY: by this function's contract.
    unsafe { open_handle(out, made, wrap) }
}

/// # Safety
/// `out` is NULL or room for a number.
pub(super) unsafe fn answer(result: Result<u64, Error>, out: *mut u64) -> c_int {
    match result {
        Ok(number) => {
            // SAFETY: by this function's contract.
            if let Some(out) = unsafe { out.as_mut() } {
                *out = number;
            }
            0
        }
        Err(error) => -error.errno(),
    }
}

/// # Safety
/// NULL, or NUL-terminated for as long as the reference lives.
pub(super) unsafe fn path(text: &*const c_char) -> Option<&Path> {
    if text.is_null() {
        return None;
    }
    // SAFETY: by this function's contract.
    Some(Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(*text) }.to_bytes())))
}

/// # Safety
/// NULL, or a struct that begins with its size.
unsafe fn read_options(options: *const sigward_log_options) -> Result<LogOptions, mapping::Error> {
    // SAFETY: by this function's contract.
    let given = unsafe { sized::options(options) }?;
    if given.slow_zeros > 1 || given.discard_after_torn > 1 {
        return Err(mapping::Error::Invalid("options of an unknown value"));
    }
    Ok(LogOptions::new()
        .capacity(given.capacity)
        .step(given.step)
        .slow_zeros(given.slow_zeros == 1)
        .discard_after_torn(given.discard_after_torn == 1))
}

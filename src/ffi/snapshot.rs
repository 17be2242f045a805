//! Snapshots: a map that nobody can change.

use super::handle::open_handle;
use super::mapping::sigward_map;
use super::sized::{self, Filled};
use crate::mapping::{Error, Moment, Snapshot, SnapshotKind, SnapshotOptions};
use crate::sys::cancel::Uncancelled;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The snapshot is in blocks of the disk that are shared with the file until that is changed. No
/// memory is held.
pub const SIGWARD_SNAPSHOT_CLONE: u32 = 1;
/// The snapshot is in memory that nobody can write to.
pub const SIGWARD_SNAPSHOT_MEMORY: u32 = 2;

/// The snapshot has all or nothing of every write(2): its file system keeps writers away from a
/// clone, or tells of each of them by the file's times. Of stores through a shared map the times
/// tell only now and then.
pub const SIGWARD_MOMENT_PROVEN: u32 = 1;
/// Nobody knows what the file system's times are worth (FUSE, network file systems, any that the
/// library does not know): asked past the kernel's memory they had not moved, and reading the file
/// a second time gave the same bytes. A file of /proc is read once.
pub const SIGWARD_MOMENT_UNPROVEN: u32 = 2;

/// Is told the bytes done and the bytes in all; anything but 0 ends the copy.
pub type sigward_progress =
    Option<unsafe extern "C" fn(context: *mut c_void, done: u64, total: u64) -> c_int>;

/// Options of a snapshot. Set all to zero, then size.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct sigward_snapshot_options {
    /// sizeof(sigward_snapshot_options).
    pub size: usize,
    /// A file of more bytes is refused (-EFBIG). 0: only one that has to be copied and is larger,
    /// holes included, than what the machine has available (MemAvailable, SwapFree) or the control
    /// groups of this process have left (memory.max, memory.high, memory.limit_in_bytes):
    /// -ENOMEM.
    pub limit: u64,
    /// 1: copied into memory also where the file system could clone.
    pub memory_only: u32,
    /// 1: every page of a clone is read at once, so that a disk that fails now is an error of this
    /// call.
    pub populate: u32,
    /// NULL, or called from this thread at the beginning of a copy and every 256 KiB, for a clone
    /// once; pthread_cancel(3) waits until the snapshot is done. It must return.
    pub progress: sigward_progress,
    /// Its first argument.
    pub context: *mut c_void,
}

// SAFETY: begins with its size; the rest is numbers, a pointer, and a function that may be NULL.
unsafe impl sized::Options for sigward_snapshot_options {}

/// What a snapshot costs, and is worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct sigward_snapshot_report {
    /// Bytes of memory that it holds until it is closed: its length in whole pages, or 0 for a
    /// clone.
    pub memory: u64,
    /// SIGWARD_SNAPSHOT_CLONE or SIGWARD_SNAPSHOT_MEMORY.
    pub kind: u32,
    /// How many bytes of this struct the library knew and has filled.
    pub size: u32,
    /// SIGWARD_MOMENT_PROVEN or SIGWARD_MOMENT_UNPROVEN.
    pub moment: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: numbers, without padding.
unsafe impl Filled for sigward_snapshot_report {
    const FIRST: usize = 16;

    fn set_size(&mut self, filled: u64) {
        self.size = filled as u32;
    }
}

/// Takes the bytes of the file at path as they are now, as a read-only map that nobody can change:
/// whatever happens to the file, the bytes stay. Where the file system can, its blocks are shared
/// (xfs, btrfs; no memory), else they are copied into memory that is sealed. All sigward_map_*
/// functions read it, sigward_map_close gives it back; an empty file is a map of length 0. A file
/// of /proc is read to its end. It takes the seat for SIGBUS, as every map does.
///
/// No page of a copy in memory can be lost; of a clone only when the disk fails, and then
/// sigward_map_status and the poison word tell, as for every map. sigward_map_verify says 0 as long
/// as nothing is lost, whatever the file is now; sigward_map_refresh does nothing then, and after a
/// loss reads the clone again.
///
/// A clone has all of a write(2) or none of it. A copy is taken again when the file's length or
/// times have moved meanwhile; stores through a shared map move them only now and then. What that
/// is worth the report's field moment says. inotify(7) on the folder tells of a clone, under the
/// name "#" and its inode number.
///
/// Thread-safe; works in a forked child; not for signal handlers.
///
/// Returns 0, with *out the map; else *out is NULL and nothing is kept: -ESTALE: the file was
/// written to during each of ten attempts. -ENOMEM: no memory. -EFBIG: beyond RLIMIT_FSIZE, which
/// counts for copies in memory. -EISDIR, -ENODEV: a directory; a pipe, socket or device. -EINVAL: a
/// NULL pointer. -EOPNOTSUPP: not Linux. Else what open(2), read(2) and mmap(2) say, or as
/// sigward_init.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_snapshot(
    path: *const c_char,
    out: *mut *mut sigward_map,
) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: as the caller vouches for the pointers.
    unsafe { sigward_snapshot_with(path, std::ptr::null(), out, std::ptr::null_mut()) }
}

/// As sigward_snapshot, with options (NULL: all zero), and what it costs in *report (may be NULL).
///
/// Returns as sigward_snapshot; -EFBIG also if the file is larger than options->limit; -ECANCELED:
/// options->progress has ended it; -EIO, -EFAULT: with populate, the disk could not give a
/// page. -EINVAL: options of an unknown size or value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_snapshot_with(
    path: *const c_char,
    options: *const sigward_snapshot_options,
    out: *mut *mut sigward_map,
    report: *mut sigward_snapshot_report,
) -> c_int {
    // SAFETY: as the caller vouches for the pointers.
    unsafe {
        sigward_snapshot_with_sized(path, options, out, report, sigward_snapshot_report::FIRST)
    }
}

/// As sigward_snapshot_with, for a report of report_size bytes.
///
/// Returns as sigward_snapshot_with; -EINVAL also for a size that no version has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_snapshot_with_sized(
    path: *const c_char,
    options: *const sigward_snapshot_options,
    out: *mut *mut sigward_map,
    report: *mut sigward_snapshot_report,
    report_size: usize,
) -> c_int {
    let _whole = Uncancelled::enter();
    let fits = sized::fits::<sigward_snapshot_report>(report_size);
    let told = !report.is_null() && fits.is_ok();
    if told {
        // SAFETY: room for one struct of that size, by the header's contract.
        unsafe { sized::fill(report, report_size, sigward_snapshot_report::default()) };
    }
    let taken = if let Err(error) = fits {
        Err(error)
    } else if path.is_null() || out.is_null() {
        Err(Error::Invalid("no path, or nowhere to put the handle"))
    } else {
        // SAFETY: NUL-terminated by the header's contract.
        let path = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()));
        // SAFETY: null, or begins with the number of its bytes.
        unsafe { take(path, options) }
    };
    let map = taken.and_then(|snapshot| {
        let cost = cost(&snapshot);
        let map = into_map(snapshot)?;
        if told {
            // SAFETY: as above.
            unsafe { sized::fill(report, report_size, cost) };
        }
        Ok(map)
    });
    let lost = if let Err(error @ Error::Lost(_)) = &map { error.errno_of_cause() } else { 0 };
    // SAFETY: null, or room for a pointer.
    let status = unsafe { open_handle(out, map, sigward_map) };
    if lost == 0 { status } else { -lost }
}

#[cfg(target_os = "linux")]
#[allow(clippy::unnecessary_wraps, reason = "elsewhere there is none")]
fn into_map(snapshot: Snapshot) -> Result<crate::mapping::Map, Error> {
    Ok(snapshot.into_map())
}

/// There is no sealed memory to map.
#[cfg(not(target_os = "linux"))]
fn into_map(_snapshot: Snapshot) -> Result<crate::mapping::Map, Error> {
    Err(Error::File(crate::file::Error::NoPromise))
}

fn cost(snapshot: &Snapshot) -> sigward_snapshot_report {
    let kind = match snapshot.kind() {
        SnapshotKind::Clone => SIGWARD_SNAPSHOT_CLONE,
        SnapshotKind::Memory => SIGWARD_SNAPSHOT_MEMORY,
    };
    let moment = match snapshot.moment() {
        Moment::Proven => SIGWARD_MOMENT_PROVEN,
        Moment::Unproven => SIGWARD_MOMENT_UNPROVEN,
    };
    sigward_snapshot_report { memory: snapshot.memory(), kind, size: 0, moment, reserved: 0 }
}

/// # Safety
/// `options` is null, or begins with the number of its bytes.
unsafe fn take(path: &Path, options: *const sigward_snapshot_options) -> Result<Snapshot, Error> {
    // SAFETY: by this function's contract.
    let given = unsafe { sized::options(options) }?;
    if given.memory_only > 1 || given.populate > 1 {
        return Err(Error::Invalid("options of an unknown value"));
    }
    let mut wanted =
        SnapshotOptions::new().memory_only(given.memory_only == 1).populate(given.populate == 1);
    if given.limit != 0 {
        wanted = wanted.limit(given.limit);
    }
    let mut tell = |done, total| match given.progress {
        // SAFETY: the caller's function, with the argument that it wants.
        Some(progress) if unsafe { progress(given.context, done, total) } != 0 => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    };
    if given.progress.is_some() {
        wanted = wanted.progress(&mut tell);
    }
    wanted.take(path)
}

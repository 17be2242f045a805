//! Whether a file held still while it was copied, and doing it again where it did not.
//!
//! A change moves the change time (inode(7)), which nobody can set. Before Linux 6.13, and on file
//! systems that have not followed, it moves once in a tick of the clock (1 to 10 ms): a second
//! change in the same tick shows nothing. So a copy begins in a later tick than the file's last
//! change. Some file systems have times of whole seconds, or of two (ext2 with small inodes, FAT,
//! daemons in user space): there that is a wait of up to two seconds, of a file that has just been
//! changed. A snapshot waits so long. A replacement does not: its source is mostly a file that the
//! caller has just written, and nobody else knows.
//!
//! And it moves when a write begins, not when it ends: a long write(2) that is at work all the time
//! while we copy would be half in the copy and show nothing. So between the first look and the copy
//! comes a call that waits for the lock that a write holds: lseek(2) for holes (tmpfs, ext4, btrfs,
//! overlay, FUSE) and the list of extents (ext2); xfs takes it for each read. A write that was at
//! work at the first look is done after that, and one that begins later moves the time.
//!
//! FUSE moves it when a write ends: what it says of the times is asked of the daemon anew only
//! then. So the same call comes between the copy and the last look.

use super::error::Error;
#[cfg(target_os = "linux")]
use super::linux::extents;
#[cfg(target_os = "linux")]
use crate::sys::call::retried;
use crate::sys::call::status;
use crate::sys::times::{changed, modified};
use nix::time::{ClockId, clock_gettime};
#[cfg(target_os = "linux")]
use nix::unistd::{Whence, lseek64};
use std::fs::File;
use std::os::fd::AsFd;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::thread::sleep;
use std::time::Duration;

/// How often a file that is being written is copied again, with longer and longer pauses: about 0.3
/// s of them in all.
pub(super) struct Tries(u32);

const MOST: u32 = 10;

impl Tries {
    pub(super) const fn new() -> Self {
        Self(0)
    }

    pub(super) fn again(&mut self) -> Result<(), Error> {
        self.0 += 1;
        if self.0 == MOST {
            return Err(Error::SourceChanged);
        }
        sleep(Duration::from_millis(1 << self.0.min(6)));
        Ok(())
    }
}

/// Whether the file is still what it was `before` the copy.
pub(super) fn held_still(file: &File, before: &libc::stat) -> Result<bool, Error> {
    wait_for_writers(file);
    let after = stat_anew(file)?;
    let times_of = |status: &libc::stat| (status.st_size, modified(status), changed(status));
    Ok(times_of(before) == times_of(&after))
}

/// What the file is, asked of a server (or a daemon) anew: the kernel may have an answer in memory
/// from before somebody else's change.
pub(super) fn stat_anew(file: &File) -> Result<libc::stat, Error> {
    #[cfg(target_os = "linux")]
    ask_the_server(file);
    Ok(status(file.as_fd())?)
}

#[cfg(target_os = "linux")]
fn ask_the_server(file: &File) {
    const AT_STATX_FORCE_SYNC: libc::c_int = 0x2000;
    const STATX_BASIC_STATS: libc::c_uint = 0x7ff;
    let mut room = [0_u64; 32]; // struct statx has 256 bytes
    let (fd, flags) = (file.as_raw_fd(), libc::AT_EMPTY_PATH | AT_STATX_FORCE_SYNC);
    let (name, room) = (c"".as_ptr(), room.as_mut_ptr());
    // What it answers, fstat(2) says as well. SAFETY: a terminated name, and room for the answer.
    unsafe { libc::syscall(libc::SYS_statx, fd, name, flags, STATX_BASIC_STATS, room) };
}

/// What the file is, in a later tick than the one of its last change.
/// Where times are whole seconds it waits for those only if told to: up to two of them.
pub(super) fn settled(file: &File, wait_for_seconds: bool) -> Result<libc::stat, Error> {
    let mut now = stat_anew(file)?;
    // A server's clock may be ahead of ours for ever.
    let (pause, most) = if wait_for_seconds && is_coarse(&now) { (50, 42) } else { (1, 20) };
    for _ in 0..most {
        if is_past(&now) {
            break;
        }
        sleep(Duration::from_millis(pause));
        now = stat_anew(file)?;
    }
    wait_for_writers(file);
    Ok(now)
}

/// Whether a change now would be stamped with another time than the last one.
fn is_past(status: &libc::stat) -> bool {
    let (last, now) = (changed(status), tick());
    if is_coarse(status) { last.0.saturating_add(2) <= now.0 } else { last < now }
}

/// Times of whole seconds. Else one change in some hundreds has such a time, and is only waited for
/// longer.
fn is_coarse(status: &libc::stat) -> bool {
    changed(status).1 == 0
}

#[cfg(target_os = "linux")]
fn wait_for_writers(file: &File) {
    // Neither answer matters. The position is ours alone and not used.
    let _ = retried(|| lseek64(file, 0, Whence::SeekHole));
    let _ = extents(file.as_fd(), &(0..1), false);
}

#[cfg(not(target_os = "linux"))]
fn wait_for_writers(_file: &File) {}

/// The time that a change would be stamped with now.
#[allow(clippy::useless_conversion, reason = "the types differ between systems")]
fn tick() -> (i64, i64) {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::CLOCK_REALTIME_COARSE;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::CLOCK_REALTIME;
    // Where the call fails it is long ago, and that is waited for a little.
    clock_gettime(CLOCK)
        .map_or((0, 0), |time| (i64::from(time.tv_sec()), i64::from(time.tv_nsec())))
}

//! Told before a file is cut: a lease holds the one who wants to cut it back until the reader has
//! finished.
//!
//! A reader that maps a file dies, or reads a mixture, when somebody opens that file for writing
//! under it. [`super::replace_file`] is the cure where the writer is ours. Where it is not, the
//! kernel can hold the writer back: whoever has a *lease* on a file (fcntl(2), `F_SETLEASE`) is
//! told when somebody is about to open it for writing or to truncate(2) it, and that somebody
//! waits, before a byte has changed, until the lease is given up.
//!
//! ```text
//! reader   take ── read, map ─────────────── wanted ── finish, or copy ── release: held to the end
//! writer                  open(O_TRUNC) ──── waits ────────────────────── goes on ── file is cut
//! ```
//!
//! | what can go wrong | and then |
//! |---|---|
//! | somebody has the file open for writing already | [`Error::HasWriter`]: nothing can be promised, read it otherwise (a guarded map, a snapshot) |
//! | a thread forked while another had the file open for writing | [`Error::HasWriter`] until the child calls exec, also after that other has closed it: `O_CLOEXEC` is no help, ask once more |
//! | the file is somebody else's | [`Error::NotOwner`]: only its owner and processes with `CAP_LEASE` may hold others back |
//! | the file system knows no leases (some network ones), or `/proc/sys/fs/leases-enable` is 0 | [`Error::NoLeases`] |
//! | the holder takes longer than `/proc/sys/fs/lease-break-time` (45 s) | the kernel breaks the lease by force: [`Notice::Broken`], and `release` says it |
//! | the holder itself opens the file for writing | it waits for itself, for those 45 s: open with `O_NONBLOCK` (`EWOULDBLOCK`), or release first |
//! | the lower layer of an overlay, or another machine, changes the file | nobody is told: a lease is known to the file's own mount and kernel |
//! | the file is replaced by rename(2), or removed | nothing: who has it open keeps it |
//!
//! # How the notice comes
//! The kernel tells by a signal. It is SIGSTKFLT, which nobody else uses; it goes to one thread of
//! ours and to no other (`F_OWNER_TID`), is blocked there and taken with sigtimedwait(2). So no
//! handler runs, no disposition and no other thread's mask changes, and whoever else waits for
//! signals, Go's `signal.Notify` or a host with a handler of SIGIO, sees none and loses none. It
//! needs no room in the queue of signals. And every two seconds the leases are looked at anyway,
//! for the case that a notice is lost: a process that became another user, a SIG_IGN that was set
//! while the signal was on its way.
//!
//! The thread, `sigward-leases`, is made with the first lease and has ended when the last one is
//! released.

use super::error::Error;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
mod keeper;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(target_os = "linux")]
mod leased;
#[cfg(not(target_os = "linux"))]
mod unsupported;

#[cfg(target_os = "linux")]
pub(crate) use kernel::has_writer;
#[cfg(target_os = "linux")]
use leased::LeasedFile;
#[cfg(not(target_os = "linux"))]
use unsupported::LeasedFile;
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupported::has_writer;

/// What the holder of a lease is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Somebody waits to open the file for writing, or to cut it. Nothing has changed yet: finish
    /// or copy, and release.
    Wanted,
    /// The kernel's patience (`/proc/sys/fs/lease-break-time`) has ended, and the file may have
    /// changed.
    Broken,
}

/// A file that nobody opens for writing or cuts unless its holder was told, and has had time to
/// finish. Those who come from another machine, or through the lower layer of an overlay, are not
/// held back.
///
/// Dropping it releases it. Thread-safe: every method but [`Lease::release`] may be called from
/// many threads at once; none of them in signal handlers. It has two descriptors, both closed on
/// exec.
///
/// **Fork.** A child has the parent's leases in common with it: it sees the same notice, and
/// dropping its copy closes its descriptors and takes nothing from the parent. The lease ends when
/// the parent releases it; if the parent dies without, only when the child has closed its copy,
/// too. Leases that the child takes are its own.
///
/// ```
/// # let path = std::env::temp_dir().join(format!("sigward-lease-{}", std::process::id()));
/// # std::fs::write(&path, b"all of it")?;
/// # #[cfg(target_os = "linux")] {
/// use sigward::file::Lease;
/// use std::io::Read;
///
/// let lease = Lease::take(&path)?;
/// let mut file = std::fs::File::from(lease.file().try_clone_to_owned()?);
/// let mut bytes = Vec::new();
/// file.read_to_end(&mut bytes)?; // or map it, and look at lease.is_wanted() now and then
/// lease.release()?; // Ok: nobody has changed the file since it was taken
/// assert_eq!(bytes, b"all of it");
/// # }
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # References
/// fcntl(2) (Leases), fs/locks.c of Linux, proc_sys_fs(5).
#[doc(alias = "F_SETLEASE")]
#[doc(alias = "fcntl")]
pub struct Lease(LeasedFile);

impl Lease {
    /// Opens the file at `path` for reading, and takes a lease on it. Symbolic links are followed.
    /// Waits for nobody.
    ///
    /// # Errors
    /// [`Error::HasWriter`]: somebody has the file open for writing (also this process, by a
    /// writable map too, and a child of it between fork and exec), waits to open it so, or holds a
    /// write lease on it. [`Error::NotOwner`], [`Error::NoLeases`].
    /// [`Error::NotAFile`]: a directory, pipe, socket or device. [`Error::System`] with `ENOENT`,
    /// `EACCES` (of open), `EMFILE`, `EAGAIN` of `pthread_create`, …
    #[doc(alias = "sigward_lease_take")]
    pub fn take(path: impl AsRef<Path>) -> Result<Self, Error> {
        LeasedFile::take(path.as_ref()).map(Self)
    }

    /// A lease on a file that is open already. The file is opened once more by way of
    /// `/proc/self/fd`, so the given descriptor may be closed, and its `O_ASYNC`, owner and
    /// position are left alone. One that is open for writing is a writer as any other.
    ///
    /// # Errors
    /// As [`Lease::take`]; `EACCES` also where the file may not be read by its name.
    pub fn of(file: impl AsFd) -> Result<Self, Error> {
        LeasedFile::of(file.as_fd()).map(Self)
    }

    /// The file, open for reading: to read, map or copy from. The descriptor is the lease's own; a
    /// duplicate (`try_clone_to_owned`) or a map may outlive it, the promise does not. Its owner
    /// and signal (`F_SETOWN`, `F_SETSIG`) are the lease's business.
    #[must_use]
    pub fn file(&self) -> BorrowedFd<'_> {
        self.0.file()
    }

    /// Whether somebody waits for the file: one look at memory, no system call. Never becomes false
    /// again.
    ///
    /// In a forked child: as it was at the fork; `wait` knows better.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.0.is_wanted()
    }

    /// Waits until somebody wants the file, at most for `timeout` (`None`: for ever); `None` if
    /// nobody came. Once somebody does, it answers at once, as often as it is asked.
    ///
    /// # Errors
    /// [`Error::System`] if the kernel has no memory for poll(2).
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Option<Notice>, Error> {
        self.0.wait(timeout)
    }

    /// Whether the lease has held until now, wanted or not: what was read before this call is as it
    /// was when the lease was taken. One system call.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.0.is_held()
    }

    /// When the kernel will break the lease by force; `None` while nobody waits, and where
    /// `/proc/sys/fs/lease-break-time` is 0 (never). Reckoned from the notice, so it is late by as
    /// long as that took: whether the lease held is told by [`Lease::is_held`] and
    /// [`Lease::release`], not by the clock.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline()
    }

    /// How long until [`Lease::deadline`]; zero when it has passed.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Gives the lease up: whoever waits goes on. `Ok` proves that all that was read under the
    /// lease is as it was when that was taken.
    ///
    /// # Errors
    /// [`Error::Broken`]: the kernel broke the lease before, so what was read last may be of
    /// another file, or of none. It is given up in this case, too.
    pub fn release(self) -> Result<(), Error> {
        self.0.release()
    }
}

/// Readable as soon as somebody wants the file, and from then on: for poll(2), epoll(7), tokio's
/// `AsyncFd`. There is nothing to be read from it.
impl AsFd for Lease {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event()
    }
}

impl AsRawFd for Lease {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Lease")
            .field("file", &self.file())
            .field("wanted", &self.is_wanted())
            .field("held", &self.is_held())
            .finish_non_exhaustive()
    }
}

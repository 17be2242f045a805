//! Guarding the mappings of others: every one of a file, or one of them by its address.
//!
//! What is noted is which file it is, not where it is mapped. At a fault the kernel is asked which
//! file lies there, with which rights and from which offset (`sigbus/adopted/handler`). So a
//! mapping that the library makes later, moves, splits, protects anew or opens again is guarded,
//! and one that it has unmapped is nobody's.

mod heal;
mod range;

use super::error::Error;
use super::open::c_path;
use crate::sigbus::adopted::descriptors::look_for_proc;
use crate::sigbus::adopted::entry::{Entry, Range};
use crate::sigbus::adopted::kept::{self, Kept, Silent};
use crate::sigbus::adopted::list::{self, LockedList};
use crate::sigbus::adopted::name;
use crate::sigbus::fault::{Cause, Fault};
use crate::sigbus::identity::{self, Identity};
use crate::sigbus::{seat, spare};
use crate::sys::pages::page_size;
use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// Mappings that somebody else made and goes on to own, guarded: for libraries that map by
/// themselves (SQLite, bbolt, LMDB).
///
/// | a lost page of | is |
/// |---|---|
/// | a private mapping, or a shared one that is read-only | zeros; the library is not asked |
/// | a shared writable mapping | the end of the process, as without us, with the cause told in one line ([`crate::observe::last_words`]): a crash-safe store survives that, but not writes that go nowhere. [`Adopted::sink`] is the other way |
///
/// So look at [`Adopted::status`] where the library's answers matter, and take what it said as void
/// if something is lost. A loss stays until [`Adopted::take`] or [`Adopted::heal`].
///
/// Dropping it ends the guard and leaves the mappings, lost pages as zeros. Thread-safe; in a
/// forked child the mappings are guarded as well; not for signal handlers, except for `status`.
pub struct Adopted {
    entry: &'static Entry,
}

impl std::fmt::Debug for Adopted {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let entry = self.entry;
        out.debug_struct("Adopted")
            .field("path", &entry.path)
            .field("range", &entry.range)
            .field("status", &self.status())
            .finish()
    }
}

/// Guards every mapping of the file at `path` in this process, made before or after, executable
/// ones left out.
///
/// Guarded is the file that the path names now, also after it was renamed or unlinked; and a file
/// that has the path at the moment of the fault, as after a rotation by rename. The path is that of
/// the file itself: where a symbolic link is switched to another file later, adopt that one as well
/// ([`Adopted::verify`] tells), and so before a second rotation, as a file that only had the path
/// in between is nobody's. At most one descriptor is kept, opened with O_PATH: it can neither read
/// nor write, and is no obstacle to leases, exec(2) or watchers. When half of the process's
/// descriptors are in use none is kept; then a file that was unlinked cannot be told from a later
/// one with its inode number.
///
/// # Errors
/// [`Error::NotAFile`], [`Error::System`] with what open(2) says, or `ENOSYS` if /proc is not
/// mounted, [`Error::Signal`]. Then nothing is left behind but the seat for SIGBUS, which may have
/// been taken. An empty file will do.
///
/// ```
/// # let path = std::env::temp_dir().join(format!("sigward-adopt-{}", std::process::id()));
/// # std::fs::write(&path, b"some bytes")?;
/// let adopted = sigward::mapping::adopt_file(&path)?;
/// // … a library opens and maps the file …
/// assert_eq!((adopted.status(), adopted.verify()), (None, Ok(())));
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "PROCMAP_QUERY")]
#[doc(alias = "sigward_adopt_file")]
pub fn adopt_file(path: impl AsRef<Path>) -> Result<Adopted, Error> {
    adopt_path(&c_path(path.as_ref())?)
}

pub(crate) fn adopt_path(path: &CStr) -> Result<Adopted, Error> {
    look_for_proc()?;
    seat::guard()?;
    spare::fill();
    let (kept, identity) = Kept::open(path)?;
    let shown = shown(&kept, path);
    under_lock(|held| {
        let (file, granule) = match kept.number() {
            -1 => ((name::in_maps(identity.device), identity.inode), page_size()),
            fd => name::of(fd, &identity, held.scratch()).inspect_err(|_| kept.close(&identity))?,
        };
        kept.spare_the_host();
        let mut entry = Entry::new(file, identity, kept);
        (entry.path, entry.shown, entry.granule) = (Some(path.to_owned()), shown, granule);
        Ok(Adopted::insert(held, entry))
    })
}

/// Guards one mapping that somebody else made: memmap2's, Go's `syscall.Mmap`. It is the same as
/// [`adopt_file`], for these bytes of the file only, at these addresses or where the owner moves
/// them.
///
/// `address` must be aligned to a page; `length` may end anywhere; `offset` is where in the file
/// `address` is. With the file's descriptor causes can be told; it is not kept, and may be closed.
/// A huge page that the range begins or ends in is guarded whole.
///
/// # Errors
/// [`Error::Invalid`] if the range is empty, not aligned, not mapped, not of one file or not of
/// this file; [`Error::Executable`]; [`Error::Overlap`] if part of it is a [`Map`](super::Map) or
/// adopted as a range already; [`Error::Overflow`]; [`Error::System`], with `EOPNOTSUPP` for a
/// shared writable mapping of huge pages, `ENOSYS` if /proc is not mounted.
#[doc(alias = "sigward_adopt_range")]
pub fn adopt_range(
    address: *const u8,
    length: usize,
    file: Option<BorrowedFd<'_>>,
    offset: u64,
) -> Result<Adopted, Error> {
    look_for_proc()?;
    seat::guard()?;
    spare::fill();
    let wanted = Range { address: address.addr(), length, offset };
    let given = file.map(|file| file.as_raw_fd());
    let identity = given.map(identity::of_mappable).transpose()?;
    let (kept, identity) = match given.zip(identity) {
        Some((fd, identity)) => (Kept::like(fd), identity),
        None => (Kept::none(), Identity::UNKNOWN),
    };
    let shown = shown(&kept, c"");
    under_lock(|held| {
        let checked = range::check(held, &wanted, given.map(|fd| (fd, &identity)));
        let (file, granule) = checked.inspect_err(|_| kept.close(&identity))?;
        kept.spare_the_host();
        let mut entry = Entry::new(file, identity, kept);
        (entry.range, entry.granule) = (Some(wanted), granule);
        entry.path = shown;
        Ok(Adopted::insert(held, entry))
    })
}

/// The path that the kernel shows for mappings of the file.
fn shown(kept: &Kept, path: &CStr) -> Option<CString> {
    let shown = match kept.number() {
        -1 if path.is_empty() => return None,
        -1 => {
            let path = OsString::from_vec(path.to_bytes().to_vec());
            std::fs::canonicalize(path).map(std::path::PathBuf::into_os_string)
        }
        fd => {
            let link = OsString::from_vec(kept::in_proc(fd).into_bytes());
            std::fs::read_link(link).map(std::path::PathBuf::into_os_string)
        }
    };
    CString::new(shown.ok()?.into_vec()).ok()
}

fn under_lock<T>(
    work: impl FnOnce(&mut LockedList<'static>) -> Result<T, Error>,
) -> Result<T, Error> {
    const BUSY: Error = Error::System { call: "mmap", errno: libc::ENOMEM };
    list::with_lock(work).ok_or(BUSY)?
}

impl Adopted {
    fn insert(held: &mut LockedList<'static>, entry: Entry) -> Self {
        // Given back when it is out of the list; never if the lock cannot be had then.
        let entry = Box::leak(Box::new(entry));
        held.insert(entry);
        Self { entry }
    }

    /// The loss at the lowest offset *in the file*, which is what its `offset` says; none while
    /// nothing is lost, as far as anybody has met it. It stays until it is taken. Signal-safe.
    #[must_use]
    pub fn status(&self) -> Option<Fault> {
        self.entry.fault()
    }

    /// The lowest lost offset in the file, or `u64::MAX`: for C and Go, who read it without asking
    /// us.
    #[cfg(feature = "capi")]
    pub(crate) fn poison_word(&self) -> *const u64 {
        self.entry.word()
    }

    /// As [`Adopted::status`], and forgets the loss: later ones are told anew. Zeros that took the
    /// place of lost pages stay, and nobody tells of those any more; [`Adopted::heal`] takes them
    /// away as well. Not for signal handlers.
    #[must_use]
    pub fn take(&self) -> Option<Fault> {
        let taken = list::with_lock(|_| {
            let fault = self.entry.fault();
            self.entry.forget();
            fault
        });
        if let (Some(Some(_)), Ok(now)) = (&taken, self.entry.kept.current(&self.entry.identity)) {
            self.entry.note(&now);
        }
        // Without the lock it is not forgotten, but told.
        taken.unwrap_or_else(|| self.status())
    }

    /// Looks at the file: nothing is lost, it is as long as it was, unchanged, and the path still
    /// names it. "Was" is when it was adopted, or when a loss was last taken or healed. What the
    /// library itself writes or cuts is a change as well, so of a data base only the loss tells.
    /// Two or three system calls.
    ///
    /// # Errors
    /// [`Error::Lost`] if bytes are lost or the file is shorter, which is a loss from then on;
    /// [`Error::Changed`]; [`Error::System`] with `EBADF` if the host has closed our descriptor;
    /// [`Error::Invalid`] if there is neither path nor descriptor to look at.
    pub fn verify(&self) -> Result<(), Error> {
        let entry = self.entry;
        if let Some(fault) = entry.fault() {
            return Err(Error::Lost(fault));
        }
        let now = match (entry.kept.current(&entry.identity), entry.shown.as_deref()) {
            (Ok(now), _) => now,
            (Err(Silent::NotOurs), _) => return Err(identity::NOT_OURS.into()),
            (Err(Silent::Errno(errno)), _) => return Err(Error::System { call: "fstat", errno }),
            (Err(Silent::None), Some(path)) => kept::of_path(path).map_err(|_| REPLACED)?,
            (Err(Silent::None), None) => {
                return Err(Error::Invalid(
                    "without path and descriptor there is nothing to look at",
                ));
            }
        };
        if !now.is_same_file(&entry.identity) {
            return Err(REPLACED);
        }
        let end = entry.range.map(|range| range.offset + range.length as u64);
        let (is_long, changed) = entry.compare(&now);
        if !is_long && end.is_none_or(|end| now.length < end) {
            return Err(Error::Lost(self.publish(now.length)));
        }
        let named =
            |path: &CStr| identity::of_path(path).map(|file| file.is_same_file(&entry.identity));
        if let Some(path) = entry.shown.as_deref().filter(|_| entry.range.is_none())
            && !named(path).unwrap_or(false)
        {
            return Err(REPLACED);
        }
        // A link on the user's path may lead elsewhere by now.
        let given = entry.path.as_deref().filter(|_| entry.range.is_none());
        if given
            .is_some_and(|path| path.to_bytes().starts_with(b"/") && !named(path).unwrap_or(true))
        {
            return Err(REPLACED);
        }
        if changed { Err(Error::Changed { replaced: false }) } else { Ok(()) }
    }

    /// Makes a loss that nobody has met yet known.
    fn publish(&self, length: u64) -> Fault {
        let cause = Cause::Truncated { len_now: length };
        let mut fault = Fault { offset: length, ..Fault::of(cause, libc::EFAULT) };
        crate::sigbus::handler::describe::moment(&mut fault);
        list::with_lock(|_| self.entry.publish(&fault));
        fault
    }

    /// How many mappings of it this process has now, executable ones left out. Reads
    /// /proc/self/maps.
    #[must_use]
    pub fn count(&self) -> usize {
        heal::count(self.entry)
    }

    /// Lets up to `bytes` of lost pages in *shared writable* mappings be private memory, instead of
    /// ending the process: what is written there goes nowhere, and is not seen by other processes.
    /// 0, as it is at first: none. When so many bytes are used up, the next lost page ends the
    /// process.
    ///
    /// It suits a mapping whose file can be thrown away (a cache, a result that is computed again),
    /// and no data base.
    pub fn sink(&self, bytes: u64) {
        self.entry.sink.store(bytes, std::sync::atomic::Ordering::Relaxed);
    }

    /// Maps the file's own pages over the zeros that took their place, wherever they are now, and
    /// forgets the loss: what the file has now is seen, what was written to the zeros is gone.
    ///
    /// # Errors
    /// [`Error::System`]: `EBADF` if the host has closed our descriptor, else what open(2) and
    /// mmap(2) say; [`Error::Changed`] if zeros took the place of a later file that had the path:
    /// the owner must map that anew; [`Error::Invalid`] if there was no /dev/zero to know the zeros
    /// by. Then the loss is still told of.
    ///
    /// # Safety
    /// Nobody reads or writes the lost pages meanwhile, and nobody holds a reference to bytes in
    /// them.
    pub unsafe fn heal(&self) -> Result<(), Error> {
        under_lock(|_| heal::heal(self.entry))
    }
}

const REPLACED: Error = Error::Changed { replaced: true };

impl Drop for Adopted {
    fn drop(&mut self) {
        let entry = self.entry;
        // Without the lock the entry stays for ever, guarded: a handler may be looking at it.
        if list::with_lock(|held| held.remove(entry)).is_some() {
            entry.kept.close(&entry.identity);
            let entry = std::ptr::from_ref(entry).cast_mut();
            // SAFETY: leaked in `insert`, and out of the list: this handle was the last to know it.
            drop(unsafe { Box::from_raw(entry) });
        }
    }
}

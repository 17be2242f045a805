//! A guarded map that is written to.

use super::error::Error;
use super::failures;
use super::lengths::{clip, intact};
use super::map::Map;
use super::options::MapOptions;
use crate::sigbus::kept;
use std::ffi::c_int;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// A mapped file that is written to. What is written where the file has no room, or no longer
/// reaches, is kept from harm but not in the file: [`MapMut::write_at`] and [`MapMut::flush`] say
/// so.
///
/// Written bytes reach the disk some time later, or with [`MapMut::flush`]. Thread-safe; in a
/// forked child both processes write to the same file. Not for signal handlers.
///
/// ```
/// use sigward::mapping::MapOptions;
/// # let path = std::env::temp_dir().join(format!("sigward-map-mut-{}", std::process::id()));
/// std::fs::write(&path, vec![0; 8192])?;
/// let mut map = MapOptions::new().open_mut(&path)?;
/// map.write_at(5000, b"hello")?;
/// map.flush()?;
/// assert_eq!(&std::fs::read(&path)?[5000..5005], b"hello");
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[doc(alias = "mmap")]
#[doc(alias = "SIGBUS")]
pub struct MapMut(pub(super) Map);

impl Deref for MapMut {
    type Target = Map;

    fn deref(&self) -> &Map {
        &self.0
    }
}

impl MapMut {
    /// Maps the whole file at `path` for reading and writing.
    ///
    /// # Errors
    /// As [`Map::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        MapOptions::new().open_mut(path)
    }

    /// Copies `bytes` to `offset` and says how many are in the file's pages: fewer at the map's end
    /// and where the rest has no room or is lost.
    ///
    /// # Errors
    /// [`Error::Lost`] if the byte at `offset` is lost: on a full disk its cause is
    /// [`NoSpace`](super::Cause::NoSpace).
    #[doc(alias = "pwrite")]
    #[doc(alias = "sigward_map_write_at")]
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<usize, Error> {
        // SAFETY: nobody else writes or reads through this map: `self` is borrowed alone.
        unsafe { self.0.write_shared(offset, bytes) }
    }

    /// Runs `work` on a range of the map as atomic bytes, for several threads at once, and then
    /// finds out whether any byte of the range was lost.
    ///
    /// # Errors
    /// As [`Map::with`].
    pub fn with_cells<T>(
        &self,
        range: Range<usize>,
        work: impl FnOnce(&[AtomicU8]) -> T,
    ) -> Result<T, Error> {
        self.0.with(range.clone(), |view| {
            let cells = view.as_ptr().cast::<AtomicU8>();
            // SAFETY: the view's bytes, writable and alive meanwhile; other threads have them as
            // atomics, too.
            let done = work(unsafe { std::slice::from_raw_parts(cells, range.len()) });
            self.0.slot().poison().after_writing();
            done
        })
    }

    /// The four bytes at `offset`, which must be aligned, as an atomic number. Use [`Map::check`]
    /// after reading it.
    #[must_use]
    pub fn atomic_u32(&self, offset: usize) -> Option<&AtomicU32> {
        let place = self.aligned::<AtomicU32>(offset)?;
        // SAFETY: within the map, writable, aligned, and alive as long as `self`.
        Some(unsafe { &*place })
    }

    /// The eight bytes at `offset`, which must be aligned, as an atomic number. Use [`Map::check`]
    /// after reading it.
    #[must_use]
    pub fn atomic_u64(&self, offset: usize) -> Option<&AtomicU64> {
        let place = self.aligned::<AtomicU64>(offset)?;
        // SAFETY: as above.
        Some(unsafe { &*place })
    }

    fn aligned<T>(&self, offset: usize) -> Option<*const T> {
        let fits = offset.checked_add(size_of::<T>()).is_some_and(|end| end <= self.0.len());
        let place = self.0.as_ptr().wrapping_add(offset).cast::<T>();
        (fits && place.is_aligned()).then_some(place)
    }

    /// Maps the file anew: see [`Map::refresh`]. What was written to lost pages is gone, and what a
    /// failed flush should have taken to the disk may be.
    ///
    /// # Errors
    /// As [`Map::refresh`].
    pub fn refresh(&mut self) -> Result<(), Error> {
        self.0.refresh()
    }

    /// Waits until what was written is on the disk (msync(2), `MS_SYNC`).
    ///
    /// # Errors
    /// [`Error::Lost`] if any byte of the map is lost: everything else is on the disk then.
    /// [`Error::System`] with msync's errno: some of what was written is not on the disk, and
    /// nobody knows which part. The kernel says that once, for a descriptor and its duplicates
    /// together, and does not try again: so every later flush of this map, and of others in this
    /// process that were made of the same descriptor or a duplicate, fails with the same errno,
    /// until [`MapMut::refresh`], which shows what the disk has, so that only what is stored again
    /// counts. Flushes of such maps wait for each other. The kernel counts a program's own fsync(2)
    /// of that descriptor, and flushes of a forked child and of its parent, as one as well: who is
    /// told there has to tell the other. [`Error::Changed`]: what was written is on the disk, but
    /// not where somebody finds it: the file was unlinked, or another has taken its place (one that
    /// has any name left is well); or it has fewer blocks than growing has given it, because
    /// somebody has cut it and made it as long again, or punched holes. Of a map that has not
    /// grown, and on btrfs and FUSE, a file that was cut and is as long again cannot be told.
    ///
    /// On FUSE and network file systems a full disk is first met here: no store asks them for room.
    #[doc(alias = "msync")]
    #[doc(alias = "sigward_map_flush")]
    pub fn flush(&self) -> Result<(), Error> {
        self.0.flush()
    }
}

impl Map {
    /// As [`MapMut::write_at`].
    ///
    /// # Safety
    /// The map is writable, and no other thread reads or writes these bytes meanwhile except as C
    /// would: at its own risk.
    pub(crate) unsafe fn write_shared(&self, offset: u64, bytes: &[u8]) -> Result<usize, Error> {
        let slot = self.slot();
        let count = clip(slot.length(), offset, bytes.len());
        if count == 0 {
            return Ok(0);
        }
        let to = slot.data().wrapping_add(offset as usize);
        // SAFETY: `count` bytes from there lie in the map and are writable; a page that cannot be
        // had is replaced by private memory, which `intact` finds out.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, count) };
        let poison = slot.poison().after_writing();
        intact(offset, count, poison).ok_or_else(|| self.lost())
    }

    /// As [`Map::check`], for a caller that has just written.
    pub(crate) fn check_written(&self, range: Range<usize>) -> Result<(), Error> {
        self.judge(&range, self.slot().poison().after_writing())
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.facts().protection & libc::PROT_WRITE != 0
    }

    pub(crate) fn flush(&self) -> Result<(), Error> {
        let written = self.write_out();
        // Pages that were cut off before anybody met it are not on the disk either.
        self.check_ground(|| Ok(kept::current(self.facts())))?;
        if self.met().is_some() {
            return Err(self.lost());
        }
        written?;
        match self.unwritten() {
            0 => Ok(()),
            errno => Err(Error::System { call: "msync", errno }),
        }
    }

    /// The errno of a flush that has failed, of this map or of one that shares its file.
    pub(super) fn unwritten(&self) -> c_int {
        if let Some((count, errno)) = failures::of(self.facts())
            && count != self.heard.load(Ordering::Acquire)
        {
            self.unwritten.store(errno, Ordering::Release);
            // Release: whoever sees that this map has heard of it, sees the errno.
            self.heard.store(count, Ordering::Release);
        }
        self.unwritten.load(Ordering::Acquire)
    }

    fn write_out(&self) -> Result<(), Error> {
        loop {
            let slot = self.slot();
            let held = failures::lock(slot);
            if !std::ptr::eq(slot, self.slot()) {
                continue; // a grower has moved the map
            }
            let (start, end) = (slot.facts().pages.start, slot.data().addr() + slot.length());
            // SAFETY: the map's own pages, as far as it has bytes now; changes none.
            if unsafe { libc::msync(start as *mut _, end - start, libc::MS_SYNC) } == 0 {
                return Ok(());
            }
            let error = Error::system("msync");
            if !matches!(error.errno(), libc::EBUSY | libc::EINVAL | libc::ENOMEM) {
                // Pages whose writing has failed count as written from then on: the next msync(2)
                // says 0.
                self.unwritten.store(error.errno(), Ordering::Release);
                failures::add(slot.facts(), error.errno(), &held);
            }
            return Err(error);
        }
    }
}

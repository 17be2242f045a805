//! A guarded map: made, read, written, asked, mapped anew, taken away.

use super::error::Error;
use super::failures;
use super::lengths::{clip, intact};
use super::options::{MapOptions, capacity_of, length_of};
use super::view::View;
use crate::sigbus::fault::Fault;
use crate::sigbus::fetch::{fetch_many, fetch_small, is_small};
use crate::sigbus::handler::present;
use crate::sigbus::identity::Identity;
use crate::sigbus::kept;
use crate::sigbus::registry::{self, Facts, Slot};
use crate::sigbus::{seat, spare};
use crate::sys::pages::{self, page_size};
use std::ffi::{CStr, CString};
use std::ops::Range;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};

/// A mapped file whose loss is an error.
///
/// When the file is truncated, overwritten in place or cannot be read any more, a read gives the
/// bytes up to the lost ones, then [`Error::Lost`] with the cause, on every thread that has not
/// blocked SIGBUS ([`thread_check`](super::thread_check)). [`Map::refresh`] maps the file anew.
///
/// A truncation *within* a page gives zeros up to the page's end and no signal; where a file system
/// has large folios (ext4), whole pages behind a cut may do so for a while; and a file that was cut
/// and written again before anybody looked shows its new bytes. Nothing but the file's length and
/// times tells: [`Map::verify`] looks at them.
///
/// Thread-safe. In a forked child the map is there as well and guarded as well. Not for signal
/// handlers, except for reading.
///
/// # References
/// mmap(2), `filemap_fault` in the kernel's mm/filemap.c.
///
/// ```
/// use sigward::mapping::{Cause, Error, Map};
/// # let path = std::env::temp_dir().join(format!("sigward-map-{}", std::process::id()));
/// std::fs::write(&path, vec![7; 100_000])?;
/// let mut map = Map::open(&path)?;
/// let mut bytes = [0; 4];
/// assert_eq!(map.read_at(90_000, &mut bytes)?, 4);
///
/// std::fs::File::options().write(true).open(&path)?.set_len(50_000)?; // by somebody else
/// let Err(Error::Lost(fault)) = map.read_at(90_000, &mut bytes) else { panic!() };
/// assert_eq!((fault.offset, fault.cause()), (50_000, Cause::Truncated { len_now: 50_000 }));
/// assert_eq!(map.read_at(40_000, &mut bytes)?, 4);
/// map.refresh()?;
/// assert_eq!((map.len(), map.status()), (50_000, None));
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "mmap")]
#[doc(alias = "SIGBUS")]
pub struct Map {
    /// Another one after a move to where there is more room. Each call takes it once: bounds, bytes
    /// and poison word belong together.
    pub(super) slot: AtomicPtr<Slot>,
    pub(super) options: MapOptions,
    /// The errno of a flush that failed; 0 if none has. [`Map::unwritten`] has it of others, too.
    pub(super) unwritten: AtomicI32,
    /// How many failures of writing a shared file are in that (`failures.rs`).
    pub(super) heard: AtomicU32,
    /// What C had before moves, newest first: whoever has a pointer into it may go on (`grow.rs`).
    pub(super) older: AtomicPtr<Map>,
}

impl Map {
    /// Maps the whole file at `path` for reading. [`MapOptions`] has the rest.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::NotAFile`], [`Error::PastEnd`], [`Error::Overflow`],
    /// [`Error::System`] with what open(2) or mmap(2) say, [`Error::Signal`]. Then nothing is left
    /// behind but the seat for SIGBUS, which may have been taken.
    #[doc(alias = "sigward_map_open")]
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        MapOptions::new().open(path)
    }

    /// Maps the whole of an open file for reading; a duplicate of its descriptor is kept.
    ///
    /// # Errors
    /// As [`Map::open`].
    #[doc(alias = "sigward_map_fd")]
    pub fn of(file: impl std::os::fd::AsFd) -> Result<Self, Error> {
        MapOptions::new().map(file)
    }

    pub(super) fn make(
        options: MapOptions,
        file: OwnedFd,
        identity: Identity,
        write: bool,
        path: Option<CString>,
    ) -> Result<Self, Error> {
        seat::guard_for(options.if_guarded)?;
        spare::fill();
        let length = length_of(&options, &identity)?;
        let granule = pages::granule_of(file.as_raw_fd(), identity.block)?;
        let first = options.offset / granule as u64 * granule as u64;
        let before = (options.offset - first) as usize;
        let capacity = capacity_of(&options, length, granule)?;
        let whole = before
            .checked_add(capacity)
            // An empty map has an address, too.
            .and_then(|end| end.max(1).checked_next_multiple_of(granule))
            .filter(|end| isize::try_from(*end).is_ok())
            .ok_or(Error::Overflow)?;
        let protection = libc::PROT_READ | if write { libc::PROT_WRITE } else { 0 };
        let sharing = if options.copy_on_write { libc::MAP_PRIVATE } else { libc::MAP_SHARED };
        let offset = libc::off_t::try_from(first).map_err(|_| Error::Overflow)?;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let pages = unsafe {
            libc::mmap(std::ptr::null_mut(), whole, protection, sharing, file.as_raw_fd(), offset)
        };
        if pages == libc::MAP_FAILED {
            return Err(Error::system("mmap"));
        }
        let can_reserve = write && sharing == libc::MAP_SHARED;
        let descriptor = if options.no_descriptor { -1 } else { file.into_raw_fd() };
        let facts = Facts {
            pages: pages.addr()..pages.addr() + whole,
            data: pages.addr() + before,
            length,
            capacity,
            grows: options.capacity != 0,
            file_offset: first,
            descriptor,
            can_reserve,
            protection,
            sharing,
            retired: false,
            granule,
            identity,
            path: path.map_or(std::ptr::null(), |path| path.into_raw()),
        };
        Self::register(&facts, options).inspect_err(|_| {
            // SAFETY: the mapping just made, which nobody has seen.
            unsafe { libc::munmap(pages, whole) };
        })
    }

    /// Registers a mapping. On failure what the facts own, but for the pages, is given back.
    pub(super) fn register(facts: &Facts, options: MapOptions) -> Result<Self, Error> {
        let refused = match registry::register(facts.clone()) {
            Ok(slot) => {
                if let Err(error) = seat::guard_registered(options.if_guarded) {
                    if registry::withdraw(slot) {
                        give_back(facts);
                        registry::release(slot);
                    }
                    return Err(error.into());
                }
                let (slot, unwritten) = (pointer_to(slot), AtomicI32::new(0));
                let heard = AtomicU32::new(failures::so_far(facts));
                return Ok(Self { slot, options, unwritten, heard, older: AtomicPtr::default() });
            }
            Err(refused) => refused,
        };
        give_back(facts);
        Err(refused.into())
    }

    /// Length in bytes. Of a map with a capacity it may become larger at any time, never smaller.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slot().length()
    }

    /// Only with a capacity, or in C as the snapshot of an empty file: else an empty file cannot be
    /// mapped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the bytes are. Who reads them there checks [`Map::check`] afterwards.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.slot().data()
    }

    pub(super) fn facts(&self) -> &Facts {
        self.slot().facts()
    }

    /// The lowest lost offset, `u64::MAX` while nothing is lost: of the bytes that were read
    /// before. Signal-safe.
    #[must_use]
    #[inline]
    pub fn poison(&self) -> u64 {
        self.slot().poison().after_reading()
    }

    /// Where that number is, for code that cannot call: to be loaded after the bytes, behind an
    /// acquire fence, and never written. It is readable for ever; after the map is closed it says
    /// nothing.
    #[must_use]
    pub fn poison_word(&self) -> *const u64 {
        self.slot().poison().word()
    }

    /// Copies up to `buffer.len()` bytes from `offset` on, and says how many: fewer at the map's
    /// end, 0 behind it, and fewer where the rest is lost. What `buffer` holds beyond is
    /// unspecified. Signal-safe.
    ///
    /// # Errors
    /// [`Error::Lost`] if the byte at `offset` is lost.
    #[inline]
    #[doc(alias = "pread")]
    #[doc(alias = "sigward_map_read_at")]
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        // SAFETY: `buffer` has room for as many bytes as it is long.
        let count = unsafe { self.read_raw(offset, buffer.as_mut_ptr(), buffer.len()) };
        count.ok_or_else(|| self.lost())
    }

    /// As [`Map::read_at`], into memory that need not be initialised; none if the byte at `offset`
    /// is lost.
    ///
    /// # Safety
    /// `count` bytes at `to` may be written.
    #[inline]
    pub(crate) unsafe fn read_raw(&self, offset: u64, to: *mut u8, count: usize) -> Option<usize> {
        let slot = self.slot();
        let from = slot.data().wrapping_add(offset as usize);
        let end = offset.wrapping_add(count as u64);
        // Branches that are foretold: the copy does not wait for the arithmetic of the map's end.
        if end < offset || end > slot.length() as u64 {
            // SAFETY: by this function's contract.
            return unsafe { self.read_clipped(offset, to, count) };
        }
        if !is_small(count) {
            // SAFETY: `count` bytes from there lie in the map, which lives as long as `self`; `to`
            // is somebody else's memory. A page that is lost meanwhile is replaced by zeros, which
            // `intact` finds out.
            return unsafe { fetch_many(from, to, count, || judge_read(slot, offset, count)) };
        }
        // SAFETY: as above.
        unsafe { fetch_small(from, to, count) };
        judge_read(slot, offset, count)
    }

    #[cold]
    #[inline(never)]
    unsafe fn read_clipped(&self, offset: u64, to: *mut u8, count: usize) -> Option<usize> {
        match self.clip(offset, count) {
            0 => Some(0),
            // SAFETY: by the caller's contract.
            rest => unsafe { self.read_raw(offset, to, rest) },
        }
    }

    /// As [`Map::read_at`], but all of `buffer` or an error.
    ///
    /// # Errors
    /// [`Error::Lost`] if any of the bytes is lost, [`Error::Invalid`] if the map ends before.
    pub fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        if self.clip(offset, buffer.len()) < buffer.len() {
            return Err(BEYOND);
        }
        match self.read_at(offset, buffer)? {
            count if count == buffer.len() => Ok(()),
            _ => Err(self.lost()),
        }
    }

    /// Runs `look` on a range of the map and then finds out whether any byte of the range was lost.
    ///
    /// # Errors
    /// [`Error::Lost`]; what `look` returned is dropped then, because it may rest on zeros.
    /// [`Error::Invalid`] if the range is not within the map.
    #[inline]
    pub fn with<T>(
        &self,
        range: Range<usize>,
        look: impl FnOnce(View<'_>) -> T,
    ) -> Result<T, Error> {
        let view = View::of(self, &range).ok_or(BEYOND)?;
        let found = look(view);
        self.check(range)?;
        Ok(found)
    }

    /// Whether the bytes that were read from this range before were the file's.
    ///
    /// # Errors
    /// [`Error::Lost`] if any of them is lost now; [`Error::Invalid`] if the range is not within
    /// the map.
    #[inline]
    pub fn check(&self, range: Range<usize>) -> Result<(), Error> {
        self.judge(&range, self.slot().poison().after_reading())
    }

    pub(super) fn judge(&self, range: &Range<usize>, poison: u64) -> Result<(), Error> {
        if range.start > range.end || range.end > self.len() {
            return Err(BEYOND);
        }
        if range.is_empty() || range.end as u64 <= poison { Ok(()) } else { Err(self.lost()) }
    }

    /// All bytes as a slice.
    ///
    /// # Safety
    /// Nobody changes the file while the slice is alive: no other process, thread or map. Bytes
    /// that are lost meanwhile read as zeros, and what was read must be thrown away if
    /// [`Map::check`] says so afterwards. Where others can change the file, use [`Map::read_at`] or
    /// [`Map::with`].
    #[must_use]
    pub unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: so many readable bytes that live as long as `self`; that they do not change is
        // the caller's word.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }

    /// What has been lost: none while the map is intact as far as anybody has met it, and the file
    /// as long as the map. The length is asked for (fstat(2)) if no loss is known yet: whoever
    /// hands the map's bytes to a system call gets EFAULT from it and no signal is raised, so
    /// nobody has met the loss. Of a page that is lost for another reason [`Map::populate`] tells
    /// then. Signal-safe.
    #[must_use]
    pub fn status(&self) -> Option<Fault> {
        let met = self.met();
        if met.is_some() {
            return met;
        }
        self.check_length_now().err()?;
        self.met()
    }

    /// What has been lost, as far as anybody has met it. Signal-safe.
    pub(super) fn met(&self) -> Option<Fault> {
        let older = self.older().and_then(Self::met);
        self.slot().fault().into_iter().chain(older).min_by_key(|fault| fault.offset)
    }

    /// Reads in every page of the range now (for a writable shared map: allocates it), so that a
    /// page that cannot be had is found here and not later; or so that a loss is known after a
    /// system call that was given the map's bytes has said EFAULT.
    ///
    /// # Errors
    /// [`Error::Lost`], [`Error::Invalid`] if the range is not within the map, [`Error::System`].
    #[doc(alias = "madvise")]
    #[doc(alias = "MAP_POPULATE")]
    pub fn populate(&self, range: Range<usize>) -> Result<(), Error> {
        let slot = self.slot();
        if range.start > range.end || range.end > slot.length() {
            return Err(BEYOND);
        }
        if range.is_empty() {
            return Ok(());
        }
        let facts = slot.facts();
        let write = facts.can_reserve;
        let within = |offset: usize| facts.data + offset - facts.pages.start;
        let start = facts.pages.start + within(range.start) / facts.granule * facts.granule;
        let end = facts.pages.start + within(range.end).next_multiple_of(facts.granule);
        match present::populate(&(start..end), write) {
            Ok(()) => {}
            // Lost, damaged, or a kernel before 5.14: touched here, a page that is lost is dealt
            // with by the handler.
            Err(libc::EFAULT | libc::EINVAL | present::DAMAGED) => touch(slot, start..end, write),
            Err(errno) => return Err(Error::System { call: "madvise", errno }),
        }
        self.check(range)
    }

    /// The path that was opened.
    pub(super) fn path(&self) -> Option<&CStr> {
        let path = self.facts().path;
        // SAFETY: null, or the slot's own path, which lives as long as the map.
        (!path.is_null()).then(|| unsafe { CStr::from_ptr(path) })
    }

    /// Takes the map away. Dropping it does the same.
    pub fn close(self) {
        drop(self);
    }

    /// Takes the map away but keeps its addresses readable for ever, as zeros that cost no memory:
    /// for a garbage-collected language, where nobody can tell when the last slice is gone.
    pub fn retire(self) {
        if let Some(older) = self.take_older() {
            older.retire();
        }
        let kept = std::mem::ManuallyDrop::new(self);
        let pages = kept.facts().pages.clone();
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | pages::NO_RESERVE;
        // SAFETY: pages of this map, whose last user is gone; a handler at work there would put
        // zeros as well.
        let zeros =
            unsafe { libc::mmap(pages.start as *mut _, pages.len(), libc::PROT_READ, kind, -1, 0) };
        // If the kernel refuses, all stays as it is, guarded.
        if zeros != libc::MAP_FAILED && registry::retire(kept.slot()) {
            give_back(kept.facts());
            registry::release(kept.slot());
        }
    }

    /// How many of `count` bytes from `offset` on lie in the map.
    #[inline]
    pub(super) fn clip(&self, offset: u64, count: usize) -> usize {
        clip(self.len(), offset, count)
    }

    #[cold]
    pub(super) fn lost(&self) -> Error {
        self.met().map_or(Error::Invalid("nothing is lost"), Error::Lost)
    }

    pub(super) fn options(&self) -> MapOptions {
        self.options
    }

    #[inline]
    pub(super) fn slot(&self) -> &'static Slot {
        // Acquire pairs with `take_place_of`: the slot is filled.
        // SAFETY: made from a `&'static Slot` that stays registered as long as this map.
        unsafe { &*self.slot.load(Ordering::Acquire) }
    }

    /// Address, length and poison word of one moment.
    #[cfg(feature = "capi")]
    pub(crate) fn look(&self) -> (*const u8, usize, *const u64) {
        let slot = self.slot();
        (slot.data(), slot.length(), slot.poison().word())
    }
}

impl std::fmt::Debug for Map {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Map")
            .field("path", &self.path())
            .field("data", &self.as_ptr())
            .field("length", &self.len())
            .field("status", &self.met())
            .finish_non_exhaustive()
    }
}

const BEYOND: Error = Error::Invalid("the range is not within the map");

impl Drop for Map {
    fn drop(&mut self) {
        drop(self.take_older());
        let unpinned = registry::withdraw(self.slot());
        let facts = self.facts();
        let (start, length) = (facts.pages.start as *mut _, facts.pages.len());
        if !unpinned {
            // A handler is at work on the map and may put zeros there yet: nobody else may ever
            // have the addresses. The file goes.
            let kind =
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | pages::NO_RESERVE;
            // SAFETY: pages of this map, which no borrow is left of.
            unsafe { libc::mmap(start, length, libc::PROT_NONE, kind, -1, 0) };
            return;
        }
        // SAFETY: pages of this map, which is no longer registered; no handler is at work on them,
        // no borrow is left.
        unsafe { libc::munmap(start, length) };
        give_back(facts);
        registry::release(self.slot());
    }
}

/// Touches every page of a range of the map, up to the first that is lost.
fn touch(slot: &Slot, pages: Range<usize>, write: bool) {
    let before = slot.poison().lowest();
    for page in pages.step_by(page_size()) {
        // SAFETY: a byte of the map's pages, which are mapped as long as the map lives; writable if
        // `write`.
        let byte = unsafe { &*(page as *const std::sync::atomic::AtomicU8) };
        let seen = byte.load(Ordering::Relaxed);
        if write {
            // A compiler may leave out an operation that changes nothing and whose answer nobody
            // takes.
            std::hint::black_box(byte.compare_exchange(
                seen,
                seen,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ))
            .ok();
        }
        std::hint::black_box(seen);
        if slot.poison().lowest() < before {
            return;
        }
    }
}

pub(super) fn pointer_to(slot: &'static Slot) -> AtomicPtr<Slot> {
    AtomicPtr::new(std::ptr::from_ref(slot).cast_mut())
}

#[inline]
fn judge_read(slot: &Slot, offset: u64, count: usize) -> Option<usize> {
    intact(offset, count, slot.poison().after_reading())
}

/// Closes the descriptor, if it is still the map's file, and frees the path.
pub(super) fn give_back(facts: &Facts) {
    kept::close(facts);
    if !facts.path.is_null() {
        // SAFETY: made by `CString::into_raw` for this map alone.
        drop(unsafe { CString::from_raw(facts.path.cast_mut()) });
    }
}

//! Maps that grow: blocks first, then length, and nobody who reads ever waits.
//!
//! The file is mapped for the whole capacity at once, also beyond its end: pages there raise SIGBUS
//! when they are touched, and nobody touches bytes beyond the map's length. So growing is two
//! steps, neither of which changes a mapping:
//!
//! | step | why so |
//! |---|---|
//! | [`reserve`](crate::file::reserve), which also makes the file longer | a full disk is an error of growing, with the file's length and bytes, and the map, as they were |
//! | then the map's length, one store with release | whoever sees the new length, sees a file that reaches so far |
//!
//! The first growth gives blocks to the holes of what is there already, too. After it a store into
//! any byte of the map finds its block (on btrfs once a block, [`Promise`](crate::file::Promise),
//! and growing itself writes the block in which the file ended: there grow to whole pages).
//!
//! Where there is no room left, [`MapMut::grow`] makes a new mapping with twice as much. In C,
//! where pointers into the old one may be anywhere, that one stays until the map is closed: both
//! show the same pages of the same file.
//!
//! Growers of one map wait for each other. The lock is a word that the kernel clears in a forked
//! child (`registry/wiped.rs`), so none waits for a thread that only the parent has; and the
//! thread's signals wait while it is held, so no handler jumps out and leaves it taken. Where zeros
//! are written slowly, both get their turn after each piece. Growers of one
//! file in several maps or processes need no lock: none of their steps takes a byte or a block
//! away, also not after a refusal.

use super::error::Error;
#[cfg(feature = "capi")]
use super::failures;
use super::kept;
use super::map::Map;
#[cfg(feature = "capi")]
use super::map::pointer_to;
use super::map_mut::MapMut;
use crate::file;
use crate::sigbus::identity::Identity;
use crate::sigbus::registry::Slot;
use crate::sigbus::registry::wiped::GrowLock;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;
#[cfg(feature = "capi")]
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32};

/// Room that is asked for at least when a map moves: many small steps later it is still in place.
const ROOM: u64 = 64 << 20;

impl MapMut {
    /// Makes the map and its file `new_len` bytes long, within the
    /// [capacity](super::MapOptions::capacity). Every store below finds its block then, also on a
    /// disk that is full afterwards; the new bytes are zeros. No address changes.
    ///
    /// Other threads may read, write and grow meanwhile; none of them waits but for other growers.
    /// A file that somebody else has made longer stays so. Each call costs some system calls
    /// (fallocate(2) and what surrounds it, some microseconds, more where the file system writes),
    /// so grow in large steps. Works in a forked child; not for signal handlers.
    ///
    /// # Errors
    /// The map, the file's length and every byte that anybody has written are as they were then;
    /// see [`reserve`](crate::file::reserve) for what may stay. [`Error::Reserve`]: the disk is
    /// full, there is a limit, or the file system cannot promise
    /// ([`MapOptions::reserve_slowly`](super::MapOptions::reserve_slowly)). [`Error::Capacity`]:
    /// see [`MapMut::grow`]. [`Error::Lost`] if bytes of the map are lost or the file was cut:
    /// [`MapMut::refresh`] first. [`Error::Changed`] if it was unlinked, replaced, or cut and made
    /// as long again ([`MapMut::flush`]). [`Error::Invalid`] for a length below the map's, or a map
    /// that cannot grow (a part of a file, private, without descriptor). [`Error::Signal`] in the
    /// handler of a fault inside such a call.
    ///
    /// # References
    /// fallocate(2), mmap(2).
    ///
    /// ```
    /// use sigward::mapping::{Error, MapOptions};
    /// # let path = std::env::temp_dir().join(format!("sigward-grow-{}", std::process::id()));
    /// std::fs::write(&path, b"")?;
    /// let map = MapOptions::new().capacity(1 << 30).reserve_slowly(true).open_mut(&path)?;
    /// match map.grow_in_place(1 << 20) {
    ///     Ok(()) => assert_eq!(map.len(), 1 << 20),
    ///     Err(Error::Reserve(error)) => println!("{error}"), // no space: all is as it was
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "ftruncate")]
    #[doc(alias = "sigward_map_grow")]
    pub fn grow_in_place(&self, new_len: u64) -> Result<(), Error> {
        self.0.grow_in_place(new_len)
    }

    /// As [`MapMut::grow_in_place`], and where the capacity ends, the map moves to a new mapping
    /// with room for at least twice `new_len`, as far as the process can have so many addresses.
    /// Works for maps without capacity, too.
    ///
    /// # Errors
    /// As [`MapMut::grow_in_place`], and [`Error::System`] of mmap(2) where there is no room for
    /// `new_len` bytes.
    #[doc(alias = "mremap")]
    #[doc(alias = "ftruncate")]
    pub fn grow(&mut self, new_len: u64) -> Result<(), Error> {
        match self.0.grow_in_place(new_len) {
            Err(Error::Capacity { .. }) => {}
            done => return done,
        }
        // Nobody else has this map, and nobody has borrowed from it: the old mapping can go.
        let (slot, mut held) = self.0.lock_to_grow()?;
        let mut larger = self.0.grow_moved(slot, new_len, &mut held)?;
        drop(held);
        // The same file, and what failed to get there did not get there by moving.
        *larger.unwritten.get_mut() = self.0.unwritten();
        self.0 = larger;
        Ok(())
    }
}

impl Map {
    /// How many bytes the map can have in place: its [capacity](super::MapOptions::capacity), or
    /// its length if it has none.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.facts().capacity as u64
    }

    /// Takes over the length that the file has now, up to the capacity, and says how long the map
    /// is: for readers of a file that another process, or another map, makes longer. The map never
    /// becomes shorter. One system call. Thread-safe, works in a forked child, signal-safe while
    /// nothing is lost.
    ///
    /// # Errors
    /// [`Error::Lost`] if the file is shorter than the map; [`Error::Invalid`] for a map without
    /// descriptor, [`Error::System`].
    ///
    /// ```
    /// use sigward::mapping::MapOptions;
    /// # let path = std::env::temp_dir().join(format!("sigward-follow-{}", std::process::id()));
    /// std::fs::write(&path, b"first")?;
    /// let reader = MapOptions::new().capacity(1 << 30).open(&path)?;
    /// std::fs::write(&path, b"first, second")?; // by somebody else
    /// assert_eq!(reader.follow()?, 13);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "sigward_map_follow")]
    pub fn follow(&self) -> Result<u64, Error> {
        let slot = self.slot();
        let facts = slot.facts();
        let end = self.end_wanted();
        let now = self.own_identity()?;
        self.check_length(&now, end)?;
        if facts.grows {
            let there = now.length.saturating_sub(facts.start_in_file()).min(facts.capacity as u64);
            slot.lengthen(there as usize);
        }
        Ok(slot.length() as u64)
    }

    pub(super) fn grow_in_place(&self, new_len: u64) -> Result<(), Error> {
        loop {
            let (slot, mut held) = self.lock_to_grow()?;
            self.lengthen(slot, new_len, &mut held)?;
            // Another grower may have moved the map in a pause.
            if std::ptr::eq(slot, self.slot()) {
                return Ok(());
            }
        }
    }

    /// For C: in place, or else elsewhere, with other threads reading all the time.
    #[cfg(feature = "capi")]
    pub(crate) fn grow(&self, new_len: u64) -> Result<(), Error> {
        loop {
            let (slot, mut held) = self.lock_to_grow()?;
            let larger = match self.lengthen(slot, new_len, &mut held) {
                Ok(()) => None,
                Err(Error::Capacity { .. }) => Some(self.grow_moved(slot, new_len, &mut held)?),
                Err(error) => return Err(error),
            };
            // Not if another grower has moved the map in a pause.
            let here = std::ptr::eq(slot, self.slot());
            if here && larger.is_none_or(|larger| self.move_to(larger, &held)) {
                return Ok(());
            }
        }
    }

    /// What the map was before its last move.
    pub(super) fn older(&self) -> Option<&Self> {
        // SAFETY: null, or a box that this map has until it is dropped.
        unsafe { self.older.load(Ordering::Acquire).as_ref() }
    }

    pub(super) fn take_older(&self) -> Option<Box<Self>> {
        let older = self.older.swap(std::ptr::null_mut(), Ordering::AcqRel);
        // SAFETY: made by `Box::into_raw`, and nobody else's from now on.
        (!older.is_null()).then(|| unsafe { Box::from_raw(older) })
    }

    /// This map is `larger` from now on, which shows the same file. What it was stays readable
    /// until it is closed, so other threads may be reading meanwhile. Not if a flush is at work for
    /// some hundredths of a second: the caller lets signals in before it tries again.
    #[cfg(feature = "capi")]
    fn move_to(&self, larger: Self, _held: &GrowLock<'_>) -> bool {
        // Who waits for a flush that is at work goes on to the new slot, and so do we.
        let Some(_no_flush) = failures::wait(self.slot()) else { return false };
        let larger = std::mem::ManuallyDrop::new(larger);
        let before = Self {
            slot: pointer_to(self.slot()),
            options: self.options,
            unwritten: AtomicI32::new(self.unwritten.load(Ordering::Acquire)),
            heard: AtomicU32::new(self.heard.load(Ordering::Acquire)),
            older: AtomicPtr::new(self.older.load(Ordering::Acquire)),
        };
        let before = Box::into_raw(Box::new(before));
        // A child that is forked in between has at worst a mapping too many.
        self.slot.store(larger.slot.load(Ordering::Relaxed), Ordering::Release);
        self.older.store(before, Ordering::Release);
        true
    }

    /// The slot that the map has now, and its lock: a grower before us may have moved the map.
    fn lock_to_grow(&self) -> Result<(&'static Slot, GrowLock<'static>), Error> {
        loop {
            let slot = self.slot();
            let held = slot.wiped().lock_to_grow().ok_or(Error::Signal(crate::Error::Reentered))?;
            if std::ptr::eq(slot, self.slot()) {
                return Ok((slot, held));
            }
        }
    }

    fn lengthen(
        &self,
        slot: &'static Slot,
        new_len: u64,
        held: &mut GrowLock<'_>,
    ) -> Result<(), Error> {
        let facts = slot.facts();
        let options = self.options();
        if !self.is_writable() {
            return Err(Error::ReadOnly);
        }
        if facts.sharing != libc::MAP_SHARED
            || options.offset != 0
            || options.length != 0
            || facts.descriptor < 0
        {
            return Err(Error::Invalid(
                "a map of a part, a private one, or one without descriptor cannot grow",
            ));
        }
        if self.met().is_some() {
            return Err(self.lost());
        }
        self.check_ground(|| self.own_identity().map(Some))?;
        if new_len < slot.length() as u64 {
            return Err(Error::Invalid("a map cannot be made shorter"));
        }
        if isize::try_from(new_len).is_err() {
            return Err(Error::Overflow);
        }
        if new_len > facts.capacity as u64 {
            return Err(Error::Capacity { capacity: facts.capacity as u64 });
        }
        let promised = slot.promised();
        if promised < new_len {
            // SAFETY: the map's own descriptor, open as long as the map is; it was its file's a
            // moment ago.
            let file = unsafe { BorrowedFd::borrow_raw(facts.descriptor) };
            let count = new_len - promised;
            let made = if options.reserve_slowly {
                file::reserve_with_pauses(&file, promised, count, &mut || held.pause())
            } else {
                file::reserve(file, promised, count)
            };
            let full = made.map_err(Error::Reserve)? == file::Promise::Full;
            let kept = if full { new_len } else { 0 };
            // Another grower may have come further in a pause.
            if slot.promised() < new_len {
                slot.promise(new_len, kept);
            }
        }
        slot.lengthen(new_len as usize);
        Ok(())
    }

    /// A map of the same file with more room, `new_len` bytes long. Nobody else knows it: the lock
    /// of the old one is enough.
    fn grow_moved(
        &self,
        slot: &'static Slot,
        new_len: u64,
        held: &mut GrowLock<'_>,
    ) -> Result<Self, Error> {
        let larger = self.with_room(new_len)?;
        // What the file has beyond our length is not ours yet.
        larger.slot().begin_with(slot.length());
        larger.slot().promise(slot.promised(), slot.kept());
        larger.lengthen(larger.slot(), new_len, held)?;
        if self.met().is_some() {
            return Err(self.lost());
        }
        Ok(larger)
    }

    fn with_room(&self, new_len: u64) -> Result<Self, Error> {
        let plenty = new_len.saturating_mul(2).max(ROOM).min(isize::MAX as u64 / 2);
        for room in [plenty, new_len.saturating_add(new_len / 4), new_len] {
            let mut options = self.options();
            options.capacity = room.max(new_len);
            let (file, identity) = kept::duplicate(self.facts())?;
            match Self::make(options, file, identity, true, self.path().map(CStr::to_owned)) {
                Err(Error::System { call: "mmap", errno: libc::ENOMEM | libc::EAGAIN })
                    if room > new_len => {}
                made => return made,
            }
        }
        Err(Error::Overflow)
    }

    /// The file of the map's descriptor, as it is now.
    fn own_identity(&self) -> Result<Identity, Error> {
        kept::identity_of(self.facts())
    }
}

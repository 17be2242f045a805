//! Looking at a map's bytes without a `&[u8]`, which would promise that nobody changes them.

use super::map::Map;
use std::marker::PhantomData;
use std::ops::Range;

/// A range of a map, while [`Map::with`] lasts. What is read here counts only if that returns `Ok`.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    data: *const u8,
    length: usize,
    map: PhantomData<&'a Map>,
}

macro_rules! numbers {
    ($($name_le:ident $name_be:ident $number:ty;)*) => { $(
        #[doc = concat!("The little-endian `", stringify!($number), "` at `offset`, aligned or not; none beyond the end.")]
        #[must_use]
        #[inline]
        pub fn $name_le(&self, offset: usize) -> Option<$number> {
            self.bytes(offset).map(<$number>::from_le_bytes)
        }

        #[doc = concat!("The big-endian `", stringify!($number), "` at `offset`, aligned or not; none beyond the end.")]
        #[must_use]
        #[inline]
        pub fn $name_be(&self, offset: usize) -> Option<$number> {
            self.bytes(offset).map(<$number>::from_be_bytes)
        }
    )* };
}

impl<'a> View<'a> {
    pub(super) fn of(map: &'a Map, range: &Range<usize>) -> Option<Self> {
        let within = range.start <= range.end && range.end <= map.len();
        within.then(|| Self {
            data: map.as_ptr().wrapping_add(range.start),
            length: range.end - range.start,
            map: PhantomData,
        })
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Where the bytes are: for code that takes pointers. Valid while [`Map::with`] lasts.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.data
    }

    /// One byte; none beyond the end.
    #[must_use]
    #[inline]
    pub fn get(&self, offset: usize) -> Option<u8> {
        self.bytes(offset).map(|[byte]| byte)
    }

    /// `N` bytes from `offset` on; none if the view ends before.
    #[must_use]
    #[inline]
    pub fn bytes<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if offset.checked_add(N)? > self.length {
            return None;
        }
        let place = self.data.wrapping_add(offset).cast::<[u8; N]>();
        // SAFETY: within the view. Volatile: others may change the bytes at any time.
        Some(unsafe { place.read_volatile() })
    }

    /// Copies bytes from `offset` on, as many as `buffer` takes and the view has, and says how
    /// many.
    #[inline]
    pub fn copy_to(&self, offset: usize, buffer: &mut [u8]) -> usize {
        let count = self.length.saturating_sub(offset).min(buffer.len());
        let from = self.data.wrapping_add(offset.min(self.length));
        // SAFETY: `count` bytes from there lie in the view; `buffer` is somebody else's memory.
        unsafe { std::ptr::copy_nonoverlapping(from, buffer.as_mut_ptr(), count) };
        count
    }

    numbers! {
        u16_le u16_be u16;
        u32_le u32_be u32;
        u64_le u64_be u64;
    }
}

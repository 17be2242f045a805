//! Structs that grow from version to version, read and filled so that programs and libraries of
//! different versions work together.
//!
//! Options say their size first. A struct that the library fills is filled up to the size that the
//! caller has for it, which the header's macros pass along: no program has to remember it, and
//! nothing is read from memory that nobody has set. Its field `size` says how much of that the
//! library knew.

use crate::mapping::Error;
use std::mem::MaybeUninit;

/// More than any struct of ours will ever have; a size beyond is none.
const MOST: usize = 4096;

/// Options of which a program may have another version.
///
/// # Safety
/// The struct begins with its size, a `usize`, and all zeros are a value of it, as is whatever C
/// can put into its fields.
pub(crate) unsafe trait Options: Copy {
    /// The size of each version before this one.
    const EARLIER: &'static [usize] = &[];
}

/// What the caller has given: fields that an older struct lacks, and all of NULL, are zero.
///
/// # Errors
/// `EINVAL` for a size that no version has; `E2BIG` if a larger, later struct has anything but
/// zeros where this library knows no field.
///
/// # Safety
/// `given` is null, or begins with the number of its bytes.
pub(super) unsafe fn options<T: Options>(given: *const T) -> Result<T, Error> {
    let mut read = MaybeUninit::<T>::zeroed();
    if !given.is_null() {
        let from = given.cast::<u8>();
        // SAFETY: by this function's contract; C's alignment is not ours to rely on.
        let size = unsafe { from.cast::<usize>().read_unaligned() };
        let known = size_of::<T>();
        if size > MOST || (size < known && !T::EARLIER.contains(&size)) {
            return Err(Error::Invalid("options of an unknown size"));
        }
        for at in known..size {
            // SAFETY: the caller vouches for `size` bytes.
            if unsafe { from.wrapping_add(at).read() } != 0 {
                return Err(Error::System { call: "options", errno: libc::E2BIG });
            }
        }
        // SAFETY: as above, and there is room for as many as this library knows.
        unsafe { std::ptr::copy_nonoverlapping(from, read.as_mut_ptr().cast(), size.min(known)) };
    }
    // SAFETY: by the trait's contract zeros and whatever C had in the fields are a value.
    Ok(unsafe { read.assume_init() })
}

/// Options as a program gives them: at the beginning of `given` the size (two bytes, that most are
/// near to what there is), then what follows it.
///
/// # Panics
/// If they are not read as the header says.
#[cfg(any(fuzzing, test))]
pub(crate) fn hold<T: Options>(given: &[u8], earlier: &[usize]) {
    let Some((size, rest)) = given.split_first_chunk::<2>() else { return };
    let size = usize::from(u16::from_le_bytes(*size));
    let mut memory = vec![0_u64; size.max(size_of::<T>()).div_ceil(8)];
    if let Some(first) = memory.first_mut() {
        *first = size as u64;
    }
    let length = memory.len() * 8;
    // SAFETY: the vector's bytes.
    let bytes = unsafe { std::slice::from_raw_parts_mut(memory.as_mut_ptr().cast::<u8>(), length) };
    bytes.iter_mut().take(size).skip(8).zip(rest).for_each(|(to, from)| *to = *from);
    let known = size_of::<T>();
    let is_ours = size == known || earlier.contains(&size);
    let zeros_follow =
        size > known && size <= MOST && bytes.iter().skip(known).all(|byte| *byte == 0);
    // SAFETY: it begins with the number of its bytes, and has as many.
    let read = unsafe { options(bytes.as_ptr().cast::<T>()) };
    assert_eq!(read.is_ok(), is_ours || zeros_follow, "{size} of {known}");
    if let Ok(read) = read {
        // SAFETY: the options have no padding.
        let read = unsafe { std::slice::from_raw_parts((&raw const read).cast::<u8>(), known) };
        let as_given = bytes.iter().take(size).chain(std::iter::repeat(&0));
        assert!(read.iter().zip(as_given).all(|(read, given)| read == given));
    }
}

/// A struct that the library fills for a program that may have another version of it.
///
/// # Safety
/// The struct is numbers, without padding.
pub(super) unsafe trait Filled: Copy {
    /// The size of the first version: what a function without a size fills.
    const FIRST: usize;

    /// Notes how many of the struct's bytes are filled.
    fn set_size(&mut self, filled: u64);
}

/// Whether a caller's struct can be filled: not if it is smaller than the first version.
pub(super) fn fits<T: Filled>(size: usize) -> Result<(), Error> {
    if (T::FIRST..=MOST).contains(&size) {
        Ok(())
    } else {
        Err(Error::Invalid("a struct of an unknown size"))
    }
}

/// Fills the caller's struct of `size` bytes: what the caller does not know is left out, what the
/// library does not know is zero. Signal-safe.
///
/// # Safety
/// `out` has room for `size` bytes, which [`fits`] has approved.
pub(super) unsafe fn fill<T: Filled>(out: *mut T, size: usize, mut value: T) {
    let filled = size.min(size_of::<T>());
    value.set_size(filled as u64);
    let out = out.cast::<u8>();
    // SAFETY: both have so many bytes, and the caller's struct is not our local one.
    unsafe { std::ptr::copy_nonoverlapping((&raw const value).cast::<u8>(), out, filled) };
    // SAFETY: the rest of the caller's struct.
    unsafe { out.wrapping_add(filled).write_bytes(0, size - filled) };
}

/// Fills a struct of the caller's.
///
/// # Safety
/// `out` is null or room for `size` bytes.
pub(super) unsafe fn fill_one<T: Filled>(out: *mut T, size: usize, value: T) -> Result<(), Error> {
    fits::<T>(size)?;
    if out.is_null() {
        return Err(Error::Invalid("no place for the answer"));
    }
    // SAFETY: by this function's contract, and the size fits.
    unsafe { fill(out, size, value) };
    Ok(())
}

//! The rows of all signals, saved and put back.

use super::code;
use crate::chain::Rows;
use crate::error::Error;
use crate::sys::cancel::Uncancelled;
use std::ffi::c_int;

/// The dispositions of all signals at one moment. Filled by sigward_rows_save; its fields are the
/// library's.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct sigward_rows {
    /// Not yours.
    pub opaque: [u64; 200],
}

/// Marks a struct that sigward_rows_save has filled: "rows", and how the words are laid out.
const FILLED: u64 = 0x726f_7773_0000_0001;

const WORDS: usize = 3 * crate::chain::SIGNALS;

/// Notes the disposition of every signal. Together with sigward_rows_restore it goes around a
/// dlopen(3), or the start and the stop of a library that installs handlers and leaves them behind:
/// a profiler inside Go, whose SIGPROF is Go's again afterwards; a plug-in that puts SIG_DFL where
/// the host had a handler.
///
/// Signal-safe, thread-safe, the same in a forked child; changes nothing. Signals that the C
/// library keeps for itself (32 and 33 with glibc) are left out. Returns 0. -EINVAL: rows is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_rows_save(rows: *mut sigward_rows) -> c_int {
    let _whole = Uncancelled::enter();
    if rows.is_null() {
        return code(Err(Error::InvalidArgument));
    }
    let mut filled = sigward_rows { opaque: [0; 200] };
    filled.opaque[0] = FILLED;
    let saved = Rows::save().to_words();
    for (place, word) in filled.opaque[1..=WORDS].iter_mut().zip(saved.as_flattened()) {
        *place = *word;
    }
    // SAFETY: room for one struct by the header's contract.
    unsafe { rows.write(filled) };
    code(Ok(()))
}

/// Puts back every disposition that differs from what sigward_rows_save noted: handler, flags and
/// mask. Seats of ours that were taken since then stay. A row that somebody else changes at this
/// very moment is left to them. The handlers that stood there must still be loaded.
///
/// Thread-safe, works in a forked child; not for signal handlers. May be called more than once with
/// the same rows. Returns 0. -EINVAL: rows is NULL or was never saved. -EDEADLK: called by the
/// handler of a fault while this thread was changing seats. Else the kernel's errno; signals of
/// lower numbers have been put back then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_rows_restore(rows: *const sigward_rows) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: NULL, or one struct by the header's contract.
    let Some(rows) = (unsafe { rows.as_ref() }).filter(|rows| rows.opaque[0] == FILLED) else {
        return code(Err(Error::InvalidArgument));
    };
    let mut words = [[0; 3]; crate::chain::SIGNALS];
    words.as_flattened_mut().copy_from_slice(&rows.opaque[1..=WORDS]);
    // SAFETY: the caller vouches that the handlers are still loaded.
    code(unsafe { Rows::of_words(&words).restore() }.map(drop))
}

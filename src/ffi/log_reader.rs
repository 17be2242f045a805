//! Readers of the append log.

use super::code;
use super::handle::{close, opened_mut};
use super::log::{answer, handed_out, path};
use crate::log::{Error, Reader};
use crate::mapping;
use crate::sys::cancel::Uncancelled;
use std::ffi::{c_char, c_int, c_void};

/// Reads a log, in any process, while it is written. Made by sigward_log_reader_open, taken away by
/// sigward_log_reader_close.
pub struct sigward_log_reader(Reader);

/// Opens the log at path for reading, from the first record on. *out is the reader, or NULL on
/// failure.
///
/// A reader is for one thread at a time; it works in a forked child, and is the child's own; not
/// for signal handlers.
///
/// Returns 0. -ENODATA: nobody has begun the log, the file is empty or zeros. -EILSEQ,
/// -EPROTONOSUPPORT, -EBADMSG: as sigward_log_open. -EINVAL: a NULL pointer. Else as
/// sigward_map_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_log_reader_open(
    path: *const c_char,
    out: *mut *mut sigward_log_reader,
) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: NULL or NUL-terminated by the header's contract.
    let made = match unsafe { self::path(&path) } {
        Some(path) if !out.is_null() => Reader::open(path),
        _ => Err(Error::Map(mapping::Error::Invalid("no path, or no place for the reader"))),
    };
    // SAFETY: NULL, or room for a pointer.
    unsafe { handed_out(out, made, sigward_log_reader) }
}

/// Copies the next record into buf, if it has room for it, and goes on to the one after it;
/// *position (may be NULL) is where the record is. A record that is longer than len is left: its
/// length is returned, and the next call finds it again.
///
/// Returns the record's length, 0 is one. -EAGAIN: no further record for now; the writer may append
/// one at any time. -EBADMSG: what was there was on the disk once, and is damaged or gone. -EFAULT,
/// -EIO: bytes of the file are lost. -EBADF: somebody has closed the reader's descriptor. -EINVAL:
/// a NULL pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_log_reader_next(
    reader: *mut sigward_log_reader,
    buf: *mut c_void,
    len: usize,
    position: *mut u64,
) -> libc::ssize_t {
    let _whole = Uncancelled::enter();
    // SAFETY: NULL, or an open reader that nobody else uses meanwhile.
    let reader = unsafe { opened_mut(reader) };
    let (Some(reader), true) = (reader, !buf.is_null() || len == 0) else {
        return -(libc::EINVAL as isize);
    };
    let length = match reader.0.length_of_next() {
        Ok(Some(length)) => length,
        Ok(None) => return -(libc::EAGAIN as isize),
        Err(error) => return -(error.errno() as isize),
    };
    if length > len {
        return length as isize;
    }
    let room = if length == 0 {
        &mut []
    } else {
        // SAFETY: len writable bytes by the header's contract.
        unsafe { std::slice::from_raw_parts_mut(buf.cast::<u8>(), length) }
    };
    let taken = reader.0.take(room);
    let status = match taken.and_then(|taken| taken.ok_or(AGAIN)) {
        // SAFETY: NULL, or room for a number.
        Ok(at) => unsafe { answer(Ok(at), position) },
        Err(error) => -error.errno(),
    };
    if status < 0 { status as isize } else { length as isize }
}

const AGAIN: Error = Error::System { call: "read", errno: libc::EAGAIN };

/// Goes to a position that an append or a read returned; at any other one there is no record, or
/// damage.
///
/// Returns 0; -EINVAL: reader is NULL, or no record can begin there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_log_reader_seek(
    reader: *mut sigward_log_reader,
    position: u64,
) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: NULL, or an open reader that nobody else uses meanwhile.
    match unsafe { opened_mut(reader) } {
        Some(reader) => reader.0.seek(position).map_or_else(|error| -error.errno(), |()| 0),
        None => -libc::EINVAL,
    }
}

/// Where the next record is or will be: bytes from the start of the file. 0 if reader is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_log_reader_position(reader: *mut sigward_log_reader) -> u64 {
    // SAFETY: NULL, or an open reader that nobody else uses meanwhile.
    unsafe { opened_mut(reader) }.map_or(0, |reader| reader.0.position())
}

/// *durable is where everything before is on the disk, and survives a power failure: bytes from the
/// start of the file.
///
/// Returns 0; -EINVAL: a NULL pointer; -EFAULT, -EIO: bytes of the file are lost.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_log_reader_durable(
    reader: *mut sigward_log_reader,
    durable: *mut u64,
) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: NULL, or an open reader that nobody else uses meanwhile.
    let reader = unsafe { opened_mut(reader) };
    let (Some(reader), false) = (reader, durable.is_null()) else { return -libc::EINVAL };
    // SAFETY: room for a number.
    unsafe { answer(reader.0.durable(), durable) }
}

/// Takes the reader away. NULL is nothing to do. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_log_reader_close(reader: *mut sigward_log_reader) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: NULL, or an open reader that nobody uses any more.
    drop(unsafe { close(reader) });
    code(Ok(()))
}

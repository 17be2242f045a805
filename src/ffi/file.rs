//! Habits that never need a guard: reserve, replace.

use super::handle::{close, open_handle, opened, opened_mut};
use super::{code, map_code, sized};
use crate::file::{self, Error, Promise, ReplaceOptions, Replacement};
use crate::mapping;
use crate::sys::cancel::Uncancelled;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Gives every byte from offset to offset + len of the open file its block, so that writes there,
/// also through a map, cannot fail for lack of space; the file reaches at least so far then. What
/// is there stays as it is, holes read as zeros. Holes beside the range get blocks, too, as far as
/// a store into it can need them (2 MiB on most machines). The promise ends when the file is cut, a
/// hole is punched into the range, or its blocks are shared (reflink, snapshot). fd must be open
/// for writing; its position is not used. RLIMIT_FSIZE raises no SIGXFSZ.
///
/// On failure the file is as long as it was and has the bytes that it had, with all that others
/// have written meanwhile, through maps, through descriptors, in other processes, also beyond the
/// old end. Blocks may have come: nothing is ever punched or cut to give them back. Where the file
/// system keeps what a refused call had found (ext4), room is asked for first, so that this happens
/// only if others take it meanwhile, or to a quota. They serve later growth; ftruncate(2) to the
/// file's own length frees those beyond its end, if nobody else writes. The times may have moved.
///
/// Signals of this thread wait until the call is done. Thread-safe, works in a forked child; not
/// for signal handlers.
///
/// Returns 0; 1 if the file system copies on write (btrfs): each block takes one write, and a
/// second one, also of other bytes of it, may find no room (before Linux 6.17 a store through a map
/// asks for room of its own there, whatever is reserved, also if 0 is returned); 2 if the file
/// system is a program (FUSE) that has said yes, and may keep nothing of that: stores through a map
/// ask for no room there, sigward_map_flush or msync(2) tells. -ENOSPC, -EDQUOT: no room, no quota.
/// -EOPNOTSUPP: this file system cannot promise; see sigward_reserve_slowly. -EFBIG: beyond
/// RLIMIT_FSIZE or the file system's largest file. -EINVAL: len is 0. -EOVERFLOW: offset and len
/// together are too large. -EBADF: not open for writing. -EPERM: sealed against growth (memfd) or
/// immutable. -ESPIPE, -ENODEV, -EISDIR: no regular file.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_reserve(fd: c_int, offset: u64, len: u64) -> c_int {
    let _whole = Uncancelled::enter();
    promised(fd, |file| file::reserve(file, offset, len))
}

/// As sigward_reserve; where the file system cannot promise (ext2, some network file systems),
/// appends zeros, has holes of the range filled by page faults that change no byte, and waits until
/// all is on the disk. Others may write into the file meanwhile, and append to it. Room is asked
/// for first; if others take it meanwhile, or a quota ends, what was appended stays, as zeros: the
/// file is longer then although the call has failed. The same after a crash in between.
///
/// Returns as sigward_reserve; -EOPNOTSUPP where not even zeros take space (ZFS), holes cannot be
/// told, or there are some and Linux is older than 5.14. -EACCES: holes of a file that may not be
/// read.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_reserve_slowly(fd: c_int, offset: u64, len: u64) -> c_int {
    let _whole = Uncancelled::enter();
    promised(fd, |file| file::reserve_slowly(file, offset, len))
}

fn promised(fd: c_int, work: impl FnOnce(BorrowedFd<'_>) -> Result<Promise, Error>) -> c_int {
    code(Ok(()));
    if fd < 0 {
        return -libc::EBADF;
    }
    // SAFETY: not -1; if it is not open, the first call on it says so.
    match work(unsafe { BorrowedFd::borrow_raw(fd) }) {
        Ok(Promise::Full) => 0,
        Ok(Promise::FirstWriteOnly) => 1,
        Ok(Promise::Unproven) => 2,
        Err(error) => -error.errno(),
    }
}

/// An error of this library's own, returned negative: the file is replaced, but whether that
/// survives a power failure is not known, because its folder could not be written to the disk
/// (fsync(2)). No errno has this number.
pub const SIGWARD_EUNSYNCED: c_int = 4097;
const _: () = assert!(SIGWARD_EUNSYNCED == file::UNSYNCED);

/// Copies the contents of source over destination at once: as `cp source destination`, but at every
/// moment, also after a crash, destination is the old file or the new one, whole, and whoever has
/// the old one open or mapped keeps it. source stays. A missing destination is made. (Where a file
/// system is a program, on FUSE, its rename may not be at once: who opens destination meanwhile may
/// find nothing there.)
///
/// The new file has mode, owner and extended attributes (access control lists among them) of the
/// one it replaces, but no privilege: set-user-ID, set-group-ID and file capabilities were given to
/// the old contents. Where there was none, permissions are those of source less umask(2), and its
/// owner and the user's own attributes come along as far as they may be given. A symbolic link is
/// followed: what it names is replaced, unless it is one of /proc to a file that has no name here
/// (-ENOENT). Other hard links to the old file keep the old contents.
///
/// Beside others: `cp new live` writes over the old file, under whoever has it mapped, and a crash
/// leaves half of it; `cp -p` the same, with the source's owner, mode and times; `install` unlinks
/// live first, so that for a while there is none, or half of one; rename(2) of a file written
/// elsewhere is as whole, but has that file's attributes, and without fsync(2) a power failure may
/// leave the name without the bytes.
///
/// A process that is killed leaves at worst one hidden file, .sigward-*, which belongs to its
/// destination; the next replacement of the same file removes it, unless somebody works on it (it
/// is locked then, flock(2)) or it is another user's.
///
/// Thread-safe, also against other replacers; works in a forked child; not for signal handlers.
///
/// Returns 0: file and folder are on the disk. Else the old file is untouched and nothing is left
/// behind: -EISDIR, -ENODEV: one of both is a directory, a pipe, socket or device. -EPERM: the
/// owner cannot be kept. -ESTALE: the source was changed while it was copied. -EBUSY: something is
/// mounted on destination. -ENOSPC, -EDQUOT, -EFBIG, -EACCES, -ENOENT, -EROFS, -ELOOP as ever.
///
/// One error is another: -SIGWARD_EUNSYNCED. The new file is there, whole, but after a power
/// failure the old one may be back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_replace_file(
    source: *const c_char,
    destination: *const c_char,
) -> c_int {
    let _whole = Uncancelled::enter();
    code(Ok(()));
    // SAFETY: NULL or NUL-terminated by the header's contract.
    let source = unsafe { path(&source) };
    // SAFETY: as above.
    let destination = unsafe { path(&destination) };
    match (source, destination) {
        (Some(source), Some(destination)) => {
            file::replace_file(source, destination).map_or_else(|error| -error.errno(), |()| 0)
        }
        _ => -libc::EINVAL,
    }
}

/// A file that is being written to take the place of another. Made by sigward_replacement_open,
/// ended by sigward_replacement_commit or sigward_replacement_abort.
pub struct sigward_replacement(Replacement);

/// Options of a replacement. Set all to zero, then size.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct sigward_replacement_options {
    /// sizeof(sigward_replacement_options).
    pub size: usize,
    /// 1: a symbolic link at the path is itself replaced, and what it names stays.
    pub replace_link: u32,
    /// 1: the new file may belong to the caller where the old one's owner cannot be kept.
    pub any_owner: u32,
    /// Permissions of a file that was not there, without umask; 0: rw-rw-rw- less umask.
    pub mode: u32,
    /// 1: set-user-ID, set-group-ID and file capabilities of the old file are the new one's, too,
    /// if its owner can be kept. 0: none is.
    pub keep_privileges: u32,
}

// SAFETY: begins with its size; the rest is numbers.
unsafe impl sized::Options for sigward_replacement_options {}

/// Begins a new file for path, in the same folder; readers of path see nothing of it until it is
/// committed, and nothing is left of it if the process dies (at worst one hidden .sigward-* file,
/// which the next replacement of the same file removes). *out is the handle, or NULL on failure.
/// NULL options: all zero.
///
/// Thread-safe; a handle is for one thread at a time; not for signal handlers.
///
/// Returns 0; -EINVAL: a NULL pointer, options of an unknown size or value; else as
/// sigward_replace_file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_replacement_open(
    path: *const c_char,
    options: *const sigward_replacement_options,
    out: *mut *mut sigward_replacement,
) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: NULL or NUL-terminated by the header's contract.
    let path = unsafe { self::path(&path) };
    // SAFETY: NULL or a struct that begins with its size, by the header's contract.
    let made = match (path, unsafe { read_options(options) }) {
        (None, _) => Err(mapping::Error::Invalid("no path")),
        (_, Err(error)) => Err(error),
        (Some(path), Ok(options)) => options
            .create(path)
            .map_err(|error| mapping::Error::System { call: "replace", errno: error.errno() }),
    };
    // SAFETY: null, or room for a pointer.
    unsafe { open_handle(out, made, sigward_replacement) }
}

/// Writes len bytes from buf to the end of what was written; as write(2), without SIGXFSZ.
///
/// Returns the bytes written, fewer only if an error follows; -EINVAL: a NULL pointer; -ENOSPC,
/// -EDQUOT, -EFBIG, -EIO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_replacement_write(
    replacement: *mut sigward_replacement,
    buf: *const c_void,
    len: usize,
) -> libc::ssize_t {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open handle that nobody else uses meanwhile.
    let Some(sigward_replacement(replacement)) = (unsafe { opened_mut(replacement) }) else {
        return -(libc::EINVAL as isize);
    };
    if (buf.is_null() && len > 0) || isize::try_from(len).is_err() {
        return -(libc::EINVAL as isize);
    }
    if len == 0 {
        return 0;
    }
    // SAFETY: len readable bytes by the header's contract.
    let mut rest = unsafe { std::slice::from_raw_parts(buf.cast::<u8>(), len) };
    while !rest.is_empty() {
        match replacement.write(rest) {
            Ok(0) => break,
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(error) if rest.len() == len => {
                return -(error.raw_os_error().unwrap_or(libc::EIO) as isize);
            }
            Err(_) => break,
        }
    }
    (len - rest.len()) as isize
}

/// The new file's descriptor, for whoever wants to seek, reserve or map: open for reading and
/// writing, and the handle's own: do not close it. -EINVAL if replacement is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_replacement_fd(replacement: *const sigward_replacement) -> c_int {
    // SAFETY: null, or an open handle.
    match unsafe { opened(replacement) } {
        Some(sigward_replacement(replacement)) => replacement.file().as_raw_fd(),
        None => -libc::EINVAL,
    }
}

/// The new file takes the place of the old one. The handle is gone, whatever comes back.
///
/// Returns 0 or an error as sigward_replace_file; -EINVAL if replacement is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_replacement_commit(
    replacement: *mut sigward_replacement,
) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open handle that nobody uses any more.
    match unsafe { close(replacement) } {
        Some(sigward_replacement(replacement)) => {
            replacement.commit().map_or_else(|error| -error.errno(), |()| 0)
        }
        None => map_code(Err(mapping::Error::Invalid("no handle"))),
    }
}

/// Nothing has happened; the handle is gone. Returns 0; -EINVAL if replacement is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_replacement_abort(replacement: *mut sigward_replacement) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open handle that nobody uses any more.
    let replacement = unsafe { close(replacement) };
    map_code(replacement.map(drop).ok_or(mapping::Error::Invalid("no handle")))
}

/// # Safety
/// NULL, or NUL-terminated for as long as the reference lives.
unsafe fn path(text: &*const c_char) -> Option<&Path> {
    if text.is_null() {
        return None;
    }
    // SAFETY: by this function's contract.
    Some(Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(*text) }.to_bytes())))
}

/// # Safety
/// NULL, or a struct that begins with its size.
unsafe fn read_options(
    options: *const sigward_replacement_options,
) -> Result<ReplaceOptions, mapping::Error> {
    // SAFETY: by this function's contract.
    let given = unsafe { sized::options(options) }?;
    if given.replace_link > 1
        || given.any_owner > 1
        || given.mode > 0o7777
        || given.keep_privileges > 1
    {
        return Err(mapping::Error::Invalid("options of an unknown value"));
    }
    let options = ReplaceOptions::new()
        .replace_link(given.replace_link == 1)
        .any_owner(given.any_owner == 1)
        .keep_privileges(given.keep_privileges == 1);
    Ok(if given.mode == 0 { options } else { options.mode(given.mode) })
}

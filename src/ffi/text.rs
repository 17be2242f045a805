//! Version and error texts.

use super::file::SIGWARD_EUNSYNCED;
use crate::mapping::NO_DATA;
use std::ffi::{c_char, c_int};

/// The library's version, for example "0.1.0". Never NULL, never freed.
///
/// Signal-safe, thread-safe.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_version() -> *const c_char {
    super::code(Ok(()));
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// What a code that a function of this header returned means, and what to do next; for a code that
/// this header does not name, a word about errno(3). Takes the code as it was returned (negative)
/// or its errno (positive). Never NULL, never freed.
///
/// Signal-safe, thread-safe.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_strerror(code: c_int) -> *const c_char {
    let text = match code.wrapping_abs() {
        0 => c"success",
        libc::EINVAL => {
            c"an argument makes no sense: set size to sizeof the struct, check pointers and constants"
        }
        SIGWARD_EUNSYNCED => {
            c"the file is replaced, but its folder is not on the disk: after a power failure the old one may be back; see the kernel's log"
        }
        libc::E2BIG => {
            c"an option is set that this library does not know: the program was built for a later version of it"
        }
        libc::ENOSPC => {
            c"no space: on the disk (a map, a file), or every entry point is in use (handlers are installed anew and again)"
        }
        libc::EFAULT => c"the map's bytes are lost: sigward_map_status tells why, sigward_map_refresh maps the file anew",
        libc::ESTALE => c"the file was changed, or its name belongs to another one: call sigward_map_refresh, replace again, or read it again (a broken lease)",
        NO_DATA => c"the file is empty: map it when something is in it",
        libc::EISDIR => c"a directory: name a file",
        libc::ENODEV => c"a pipe, socket or device: name a regular file",
        libc::ENXIO => c"the map would begin or end beyond the file's end: extend the file first",
        libc::EOVERFLOW => c"offset and length together are too large",
        libc::EEXIST => c"part of these addresses is guarded already: close the other map first",
        libc::EBUSY => c"maps are still open, or files adopted: close them first; something is mounted on the file to be replaced; or another writer has the log",
        libc::EBADF => c"the descriptor is not open, or the map is read-only",
        libc::ENOENT => c"there is no such file",
        libc::EIO => c"reading or writing the file failed: see the kernel's log",
        libc::EDEADLK => {
            c"called from a signal handler that interrupted the same call: call it outside handlers"
        }
        libc::EAGAIN => {
            c"not now, call again: other threads are in the middle of the same change; somebody has the file open for writing; or the log has no further record"
        }
        // On Linux the same number as EOPNOTSUPP.
        libc::ENOTSUP => c"not available on this system (SIGPIPE: use sigward_sigpipe_ignore), or this file system cannot promise blocks (use sigward_reserve_slowly) or has no leases",
        libc::EILSEQ => c"the file is no log: name another one",
        libc::EPROTONOSUPPORT => c"the log has a format that this library does not know",
        libc::EBADMSG => c"bytes of the log that were on the disk once are damaged: read what is before, restore the file",
        libc::EMSGSIZE => c"the record is too long for a log",
        libc::EDQUOT => c"the quota is used up: nothing has changed",
        libc::EFBIG => c"the file is, or would be, larger than allowed: raise RLIMIT_FSIZE, or the limit of the snapshot",
        libc::ESPIPE => c"a pipe has no blocks: name a regular file",
        libc::ECANCELED => c"stopped by the progress function: nothing is kept",
        libc::ENOMEM => c"no memory: set a limit, or read the file by parts",
        libc::EROFS => c"the file system is mounted read-only",
        libc::EACCES => c"no permission for this file, its owner is another user (leases), or the mapping is executable",
        libc::EPERM | libc::ENOSYS => {
            c"the kernel refused: for a signal allow rt_sigaction in the seccomp filter; for a file see its owner, flags and seals; a log belongs to the process that opened it; adopted files need /proc"
        }
        libc::EPIPE => c"the pipe or socket is broken: nobody reads there any more",
        libc::EMFILE | libc::ENFILE => c"no descriptors left: close some, or raise RLIMIT_NOFILE",
        libc::ELOOP => c"too many symbolic links lead to the file",
        _ => c"the kernel's own answer: see errno(3) for this number",
    };
    text.as_ptr()
}

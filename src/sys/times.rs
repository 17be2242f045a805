//! When a file was changed last, by the name that each system has for it: seconds, and
//! nanoseconds of the next one. Signal-safe.

#![allow(clippy::useless_conversion, reason = "the types differ between systems")]

/// Its inode, and so its bytes as well: nobody can set this one.
pub(crate) fn changed(status: &libc::stat) -> (i64, i64) {
    #[cfg(not(target_os = "netbsd"))]
    let rest = status.st_ctime_nsec;
    #[cfg(target_os = "netbsd")]
    let rest = status.st_ctimensec;
    (i64::from(status.st_ctime), i64::from(rest))
}

/// Its bytes.
pub(crate) fn modified(status: &libc::stat) -> (i64, i64) {
    #[cfg(not(target_os = "netbsd"))]
    let rest = status.st_mtime_nsec;
    #[cfg(target_os = "netbsd")]
    let rest = status.st_mtimensec;
    (i64::from(status.st_mtime), i64::from(rest))
}

//! Where threads' own signals cannot be told from the process's.

use std::ffi::c_int;

/// Does `work` with nothing blocked: a C host has to ignore SIGXFSZ itself.
pub(crate) fn within_limit<T>(work: impl FnOnce() -> Result<T, c_int>) -> Result<T, c_int> {
    work()
}

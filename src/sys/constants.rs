//! Numbers of the kernel that the crate `libc` does not have yet, each with its source.

use std::ffi::c_int;

/// `RWF_NOSIGNAL` of pwritev2(2): no SIGPIPE for this write. Since Linux 6.18,
/// include/uapi/linux/fs.h.
pub(crate) const RWF_NOSIGNAL: c_int = 0x100;

//! Numbers of the kernel that the crate `libc` does not have, or not with one type everywhere, each
//! with its source.

use std::ffi::{c_int, c_long};

/// `RWF_NOSIGNAL` of pwritev2(2): no SIGPIPE for this write. Since Linux 6.18,
/// include/uapi/linux/fs.h.
pub(crate) const RWF_NOSIGNAL: c_int = 0x100;

/// What chattr(1) sets, read and written: an int, whatever the request's number says of its size
/// (ioctl_iflags(2), include/uapi/linux/fs.h).
pub(crate) const FS_IOC_GETFLAGS: u64 =
    if size_of::<c_long>() == 8 { 0x8008_6601 } else { 0x8004_6601 };
pub(crate) const FS_IOC_SETFLAGS: u64 =
    if size_of::<c_long>() == 8 { 0x4008_6602 } else { 0x4004_6602 };
/// Of these, `chattr +C`.
pub(crate) const FS_NOCOW_FL: c_int = 0x0080_0000;

/// Kinds of file systems, as statfs(2) has them: include/uapi/linux/magic.h, but for ZFS.
pub(crate) mod file_systems {
    pub(crate) const BTRFS: u64 = 0x9123_683e;
    /// ext2, ext3 and ext4.
    pub(crate) const EXT: u64 = 0xef53;
    pub(crate) const FUSE: u64 = 0x6573_5546;
    pub(crate) const OVERLAY: u64 = 0x794c_7630;
    pub(crate) const TMPFS: u64 = 0x0102_1994;
    pub(crate) const XFS: u64 = 0x5846_5342;
    /// `ZFS_SUPER_MAGIC` of OpenZFS.
    pub(crate) const ZFS: u64 = 0x2fc1_2fc1;
}

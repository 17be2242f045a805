//! What patches of others' mappings are made of: private pages of /dev/zero. They are as anonymous
//! memory, except that the kernel shows where they are and from which offset. The offset says whose
//! patch it is and which bytes of the file were there, so nobody has to remember patches:
//! [`heal`](crate::mapping::Adopted::heal) finds them, and none of anybody's anonymous memory
//! passes for one.
//!
//! Open while anything is adopted. Without it (no /dev, no descriptor left) patches are anonymous
//! memory, and `heal` refuses.

use super::area::Area;
use crate::observe::in_handler::status;
use std::ffi::c_int;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

pub(in crate::sigbus::adopted) static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);
/// How /proc/self/maps names it.
pub(in crate::sigbus::adopted) static NAME: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Whether patches can be told from anonymous memory.
pub(crate) fn is_open() -> bool {
    NAME[1].load(Ordering::Relaxed) != 0 && descriptor().is_some()
}

/// The descriptor, if it is still what was opened.
pub(in crate::sigbus::adopted) fn descriptor() -> Option<c_int> {
    let fd = DESCRIPTOR.load(Ordering::Acquire);
    (fd >= 0 && is_zero(fd)).then_some(fd)
}

pub(in crate::sigbus::adopted) fn is_zero(fd: c_int) -> bool {
    /// Major 1, minor 5 (Documentation/admin-guide/devices.txt of the kernel).
    const ZERO: u64 = 1 << 8 | 5;
    status(fd).is_some_and(|status| {
        status.st_mode & libc::S_IFMT == libc::S_IFCHR && status.st_rdev == ZERO
    })
}

/// A patch: for whom, of which byte of the file on, and whether the mapping was a shared one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patch {
    /// That of an [`Entry`](super::super::entry::Entry); 0 is nobody's.
    pub(crate) number: u32,
    pub(crate) offset: u64,
    pub(crate) shared: bool,
    /// The file was another one than was adopted: it had the path.
    pub(crate) by_path: bool,
}

/// Bits of the offset in the file, and of the number above it.
const FILE: u32 = 44;
const NUMBER: u32 = 18;

impl Patch {
    /// The greatest number.
    pub(crate) const LAST: u32 = (1 << NUMBER) - 1;

    /// Descriptor and offset to map for it; none if it cannot be told so. Signal-safe.
    pub(crate) fn source(self) -> Option<(c_int, u64)> {
        let fits = self.number != 0 && self.number <= Self::LAST && self.offset >> FILE == 0;
        let fd = descriptor().filter(|_| fits && NAME[1].load(Ordering::Relaxed) != 0)?;
        let flags = u64::from(self.shared) << 63 | u64::from(self.by_path) << 62;
        let offset = flags | u64::from(self.number) << FILE | self.offset;
        Some((fd, offset))
    }

    /// The offset in the file, of an offset in /dev/zero.
    pub(crate) fn offset_in(offset: u64) -> u64 {
        offset & ((1 << FILE) - 1)
    }

    /// The patch that begins where this area does. Signal-safe.
    pub(crate) fn of(area: &Area) -> Option<Self> {
        let name = (NAME[0].load(Ordering::Relaxed), NAME[1].load(Ordering::Relaxed));
        let number = (area.offset >> FILE) as u32 & Self::LAST;
        let is = name.1 != 0 && !area.shared && area.file == name && number != 0;
        is.then_some(Self {
            number,
            offset: Self::offset_in(area.offset),
            shared: area.offset >> 63 & 1 != 0,
            by_path: area.offset >> 62 & 1 != 0,
        })
    }
}

//! What the patches of adopted maps are made of: private pages of /dev/zero, which are as anonymous memory, except that the
//! kernel shows where they are. So nobody's own anonymous memory, at addresses that a map's owner has given back, passes for a
//! patch of ours.
//!
//! Open while any map is adopted. Without it (no /dev, no descriptor left) patches are anonymous, and what needs to know them
//! again ([`heal`](crate::mapping::Adopted::heal)) refuses.

use super::area::Area;
use crate::mapping::registry::Facts;
use crate::observe::in_handler::status;
use std::ffi::c_int;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);
/// How /proc/self/maps names it.
static NAME: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Opens it, if it is not open. Only under the registry's lock; not for handlers.
#[cfg(target_os = "linux")]
pub(super) fn keep_open() {
    if descriptor().is_some() {
        return;
    }
    let Ok(zero) = std::fs::File::options().read(true).write(true).open("/dev/zero") else { return };
    let fd = std::os::fd::IntoRawFd::into_raw_fd(zero);
    let page = crate::mapping::page_size();
    // SAFETY: a new mapping that is only looked at from outside.
    let look = unsafe { libc::mmap(std::ptr::null_mut(), page, libc::PROT_READ, libc::MAP_PRIVATE, fd, 0) };
    if look != libc::MAP_FAILED {
        let name = super::area::area_at(look.addr()).map_or((0, 0), |area| area.file);
        // SAFETY: the mapping just made.
        unsafe { libc::munmap(look, page) };
        NAME[0].store(name.0, Ordering::Relaxed);
        NAME[1].store(name.1, Ordering::Relaxed);
    }
    DESCRIPTOR.store(fd, Ordering::Release);
}

#[cfg(not(target_os = "linux"))]
pub(super) fn keep_open() {}

/// Closes it. Only under the registry's lock.
pub(super) fn keep_no_longer() {
    let own = descriptor();
    DESCRIPTOR.store(-1, Ordering::Release);
    if let Some(fd) = own {
        // SAFETY: ours; no adopted map is left to use it.
        unsafe { libc::close(fd) };
    }
}

/// The descriptor, if it is still what was opened. Signal-safe.
pub(super) fn descriptor() -> Option<c_int> {
    /// Major 1, minor 5 (Documentation/admin-guide/devices.txt of the kernel).
    const ZERO: u64 = 1 << 8 | 5;
    let fd = DESCRIPTOR.load(Ordering::Acquire);
    let known = |status: libc::stat| {
        #[allow(
            clippy::unnecessary_cast,
            clippy::cast_lossless,
            reason = "the field's type differs between systems"
        )]
        let device = status.st_rdev as u64;
        status.st_mode & libc::S_IFMT == libc::S_IFCHR && device == ZERO
    };
    (fd >= 0 && status(fd).is_some_and(known)).then_some(fd)
}

/// Whether there is a name to know patches by.
pub(crate) fn has_name() -> bool {
    NAME[1].load(Ordering::Relaxed) != 0
}

/// An offset in /dev/zero, which has no end, for the patches of one map: by it they are told from those of another one that had
/// the same addresses before or after.
pub(crate) fn new_offset() -> u64 {
    /// Further apart than any map is long.
    const APART: u32 = 44;
    static LAST: AtomicU64 = AtomicU64::new(0);
    (LAST.fetch_add(1, Ordering::Relaxed) % (1 << 18) + 1) << APART
}

/// Where in /dev/zero the patch at `address` begins. Signal-safe.
pub(super) fn offset(facts: &Facts, address: usize) -> u64 {
    facts.patch_offset + (address - facts.pages.start) as u64
}

/// Whether what is at `address`, in this area, is a patch of this adopted map. Signal-safe.
pub(crate) fn is_patch(area: &Area, facts: &Facts, address: usize) -> bool {
    let name = (NAME[0].load(Ordering::Relaxed), NAME[1].load(Ordering::Relaxed));
    let here = area.offset + (address - area.start) as u64;
    has_name() && !area.shared && area.file == name && here == offset(facts, address)
}

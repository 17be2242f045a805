//! What the kernel has mapped at an address: which file, from which offset. Signal-safe.
//!
//! A mapping that somebody else made may be gone without our knowing, and another may lie at its addresses. So before a
//! page of an adopted map is replaced, the kernel is asked whether the file is still there: by `PROCMAP_QUERY` on
//! /proc/self/maps (Linux 6.11), before that by reading it.

use super::backing;
use crate::mapping::registry::{Facts, Slot};
#[cfg(target_os = "linux")]
use crate::observe::in_handler::status;
use std::ffi::c_int;
use std::ops::Range;
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// One mapping, as proc(5) shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Area {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// `PROT_*`.
    pub(crate) protection: c_int,
    pub(crate) shared: bool,
    pub(crate) offset: u64,
    /// Device and inode as the kernel names them there: on btrfs and overlayfs not those of stat(2).
    pub(crate) file: (u64, u64),
}

impl Area {
    /// Whether it shows, at `address`, what the adopted map had there: its file from the same offset.
    pub(crate) fn shows(&self, facts: &Facts, address: usize) -> bool {
        let expected = facts.file_offset + (address - facts.pages.start) as u64;
        self.file == facts.area_file && self.offset + (address - self.start) as u64 == expected
    }
}

/// What a handler may touch around a fault in a map.
pub(crate) struct Reach {
    /// Of a map of our own all, but not what is kept for growth beyond its end; of an adopted one the mapping that the address is in:
    /// what comes before and after may be somebody else's by now.
    pub(crate) pages: Range<usize>,
    /// Whether it is certain that the map's file, or a patch of it, is there: then it may be replaced again.
    pub(crate) certain: bool,
}

/// None if the owner of an adopted map has unmapped it: whatever is there now is not ours to touch. Only under the patch lock: a
/// patch is made before it is noted.
pub(crate) fn reach(slot: &Slot, address: usize) -> Option<Reach> {
    let facts = slot.facts();
    if !facts.adopted {
        return Some(Reach { pages: slot.pages_around(address), certain: true });
    }
    let area = area_at(address)?;
    let certain = area.shows(facts, address) || backing::is_patch(&area, facts, address);
    // Without /dev/zero a patch is anonymous memory as anybody's.
    let likely = || {
        let nameless = !backing::has_name() && area.file == (0, 0) && !area.shared;
        nameless && (slot.is_patched(address) || slot.is_scattered())
    };
    let pages = area.start..area.end;
    (certain || likely()).then_some(Reach { pages, certain })
}

/// The mapping that holds `address`.
#[cfg(target_os = "linux")]
#[inline(never)]
pub(crate) fn area_at(address: usize) -> Option<Area> {
    if let Some(found) = kept().and_then(|fd| query(fd, address).ok()) {
        return found;
    }
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: a C string. A bare system call: open(2) of the C library is a cancellation point.
    let fd = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, c"/proc/self/maps".as_ptr(), flags) };
    if fd < 0 {
        return None;
    }
    let fd = fd as c_int;
    let found = query(fd, address).unwrap_or_else(|_| read_through(fd, address));
    // SAFETY: ours.
    unsafe { libc::syscall(libc::SYS_close, fd) };
    found
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn area_at(_address: usize) -> Option<Area> {
    None
}

/// Where the number of a descriptor of /proc/self/maps is kept, one more than it: for the time when the process has no more
/// descriptors to give. A child sees 0 there, as that file is its parent's.
#[cfg(target_os = "linux")]
static KEPT: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());

/// The inode of that file, by which our own descriptor is known.
#[cfg(target_os = "linux")]
static KEPT_INODE: AtomicU64 = AtomicU64::new(0);

#[cfg(target_os = "linux")]
fn kept() -> Option<c_int> {
    // SAFETY: null, or a word that lives for ever.
    let word = unsafe { KEPT.load(Ordering::Acquire).as_ref() }?;
    c_int::try_from(word.load(Ordering::Relaxed).checked_sub(1)?).ok()
}

/// Opens /proc/self/maps, if it is not open yet. Only under the registry's lock; not for handlers.
#[cfg(target_os = "linux")]
pub(crate) fn keep_open() {
    backing::keep_open();
    if KEPT.load(Ordering::Acquire).is_null() {
        KEPT.store(crate::mapping::registry::word_wiped_on_fork(), Ordering::Release);
    }
    // SAFETY: null, or a word that lives for ever.
    let word = unsafe { KEPT.load(Ordering::Acquire).as_ref() };
    if let Some(word) = word.filter(|word| word.load(Ordering::Relaxed) == 0) {
        let fd = std::fs::File::open("/proc/self/maps").map_or(-1, std::os::fd::IntoRawFd::into_raw_fd);
        KEPT_INODE.store(status(fd).map_or(0, |status| status.st_ino), Ordering::Relaxed);
        word.store(fd.wrapping_add(1).unsigned_abs(), Ordering::Release);
    }
}

/// Closes it again: no adopted map is left, so no handler asks. Only under the registry's lock.
#[cfg(target_os = "linux")]
pub(crate) fn keep_no_longer() {
    backing::keep_no_longer();
    if let Some(fd) = kept() {
        // SAFETY: null, or a word that lives for ever.
        if let Some(word) = unsafe { KEPT.load(Ordering::Acquire).as_ref() } {
            word.store(0, Ordering::Release);
        }
        // Somebody may have closed it, and its number may be another file's.
        if status(fd).is_some_and(|status| status.st_ino == KEPT_INODE.load(Ordering::Relaxed)) {
            // SAFETY: ours; nobody uses it any more.
            unsafe { libc::close(fd) };
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn keep_open() {}

#[cfg(not(target_os = "linux"))]
pub(crate) fn keep_no_longer() {}

/// `struct procmap_query` (include/uapi/linux/fs.h).
#[cfg(target_os = "linux")]
#[repr(C)]
#[derive(Default)]
struct Query {
    size: u64,
    flags: u64,
    address: u64,
    start: u64,
    end: u64,
    area_flags: u64,
    page_size: u64,
    offset: u64,
    inode: u64,
    major: u32,
    minor: u32,
    name_size: u32,
    build_id_size: u32,
    name: u64,
    build_id: u64,
}

/// An error if this kernel cannot be asked so.
#[cfg(target_os = "linux")]
fn query(fd: c_int, address: usize) -> Result<Option<Area>, c_int> {
    /// `_IOWR('f', 17, struct procmap_query)`
    const PROCMAP_QUERY: usize = 0xC068_6611;
    const { assert!(size_of::<Query>() == 0x68) };
    let mut query = Query { size: size_of::<Query>() as u64, address: address as u64, ..Query::default() };
    // SAFETY: room for one struct; a bare system call.
    if unsafe { libc::syscall(libc::SYS_ioctl, fd, PROCMAP_QUERY, &raw mut query) } != 0 {
        return match super::present::errno() {
            libc::ENOENT => Ok(None),
            errno => Err(errno),
        };
    }
    // PROCMAP_QUERY_VMA_READABLE, WRITABLE, EXECUTABLE, SHARED.
    let protection = [(1, libc::PROT_READ), (2, libc::PROT_WRITE), (4, libc::PROT_EXEC)];
    let protection =
        protection.iter().filter(|(bit, _)| query.area_flags & bit != 0).fold(0, |all, (_, one)| all | one);
    Ok(Some(Area {
        start: query.start as usize,
        end: query.end as usize,
        protection,
        shared: query.area_flags & 8 != 0,
        offset: query.offset,
        file: (u64::from(query.major) << 32 | u64::from(query.minor), query.inode),
    }))
}

/// Reads lines until the one of `address`. Of each line only the front is kept.
#[cfg(target_os = "linux")]
#[inline(never)]
fn read_through(fd: c_int, address: usize) -> Option<Area> {
    let mut buffer = [0_u8; 128];
    let mut line = [0_u8; 96];
    let mut length = 0;
    loop {
        // SAFETY: room for as many bytes.
        let count = unsafe { libc::syscall(libc::SYS_read, fd, buffer.as_mut_ptr(), buffer.len()) };
        let bytes = usize::try_from(count).ok().and_then(|count| buffer.get(..count)).unwrap_or_default();
        if bytes.is_empty() {
            return None;
        }
        for byte in bytes {
            if *byte != b'\n' {
                if let Some(place) = line.get_mut(length) {
                    *place = *byte;
                    length += 1;
                }
                continue;
            }
            let area = line.get(..length).and_then(parse);
            if area.is_some_and(|area| (area.start..area.end).contains(&address)) {
                return area;
            }
            length = 0;
        }
    }
}

/// One line of /proc/self/maps: `start-end perms offset major:minor inode …`.
pub(crate) fn parse(line: &[u8]) -> Option<Area> {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let (start, end) = pair(words.next()?, b'-')?;
    let rights = words.next()?;
    let offset = number(words.next()?, 16)?;
    let (major, minor) = pair(words.next()?, b':')?;
    let inode = number(words.next()?, 10)?;
    let right =
        |place: usize, letter: u8, bit: c_int| if rights.get(place) == Some(&letter) { bit } else { 0 };
    Some(Area {
        start: start as usize,
        end: end as usize,
        protection: right(0, b'r', libc::PROT_READ)
            | right(1, b'w', libc::PROT_WRITE)
            | right(2, b'x', libc::PROT_EXEC),
        shared: rights.get(3) == Some(&b's'),
        offset,
        file: (major << 32 | minor, inode),
    })
}

fn pair(word: &[u8], between: u8) -> Option<(u64, u64)> {
    let middle = word.iter().position(|byte| *byte == between)?;
    Some((number(word.get(..middle)?, 16)?, number(word.get(middle + 1..)?, 16)?))
}

fn number(digits: &[u8], base: u32) -> Option<u64> {
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = char::from(*digit).to_digit(base)?;
        value.checked_mul(base.into())?.checked_add(digit.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_ask_agree() {
        let here = std::ptr::from_ref(&REFERENCE).addr();
        let area = area_at(here).unwrap();
        assert!((area.start..area.end).contains(&here) && area.file.1 != 0);
        let maps = std::fs::File::open("/proc/self/maps").unwrap();
        let read = read_through(std::os::fd::AsRawFd::as_raw_fd(&maps), here);
        assert_eq!(read, Some(area));
        assert_eq!(area_at(8), None);
    }

    static REFERENCE: u8 = 1;
}

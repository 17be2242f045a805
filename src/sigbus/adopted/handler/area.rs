//! What the kernel has mapped at an address: which file, from which offset, with which rights.
//! Signal-safe.
//!
//! Asked by `PROCMAP_QUERY` on /proc/self/maps (Linux 6.11), before that by reading that file. One
//! descriptor of it is kept, for the time when the process has no more to give. It is used only
//! after fstat(2) has shown that it is still ours: on another device the number of the request may
//! mean anything.

use crate::observe::in_handler::status;
use std::ffi::c_int;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// One mapping, as proc(5) shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Area {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// `PROT_*`.
    pub(crate) protection: c_int,
    pub(crate) shared: bool,
    pub(crate) offset: u64,
    /// Device and inode as the kernel names them there: on btrfs and overlayfs not those of
    /// stat(2).
    pub(crate) file: (u64, u64),
    /// Bytes of a page, on hugetlbfs of a huge one; 0 where the kernel did not say.
    pub(crate) page: usize,
}

impl Area {
    /// Which byte of the file is at `address`.
    pub(crate) fn offset_at(&self, address: usize) -> u64 {
        self.offset.wrapping_add((address - self.start) as u64)
    }

    /// Whether what is written here goes to the file.
    pub(crate) fn is_written_through(&self) -> bool {
        self.shared && self.protection & libc::PROT_WRITE != 0
    }
}

/// Room to read /proc/self/maps with: too much for a signal stack. Whoever has it holds the lock of
/// the list.
pub(crate) struct Scratch {
    bytes: [u8; 4096],
    /// One line, or the name that `PROCMAP_QUERY` gave.
    line: [u8; LINE],
    /// Where in `line` the path is that was asked for last.
    path: (usize, usize),
}

/// Numbers and rights, and a path as long as the kernel knows them.
const LINE: usize = 4096 + 128;

impl Scratch {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; 4096], line: [0; LINE], path: (0, 0) }
    }

    /// The path that [`path_at`] has found.
    pub(crate) fn path(&self) -> Option<&[u8]> {
        self.line.get(self.path.0..self.path.1).filter(|path| !path.is_empty())
    }
}

/// The mapping that holds `address`.
#[inline(never)]
pub(crate) fn area_at(address: usize, scratch: &mut Scratch) -> Option<Area> {
    with_maps(|fd| {
        query(fd, address, None).map_or_else(
            |_| read_through(fd, address, scratch).map(|(area, _)| area),
            |found| found.map(|(area, _)| area),
        )
    })?
}

/// The path of the file that is mapped at `address`, as it is now.
#[inline(never)]
pub(crate) fn path_at(address: usize, scratch: &mut Scratch) -> Option<&[u8]> {
    scratch.path = with_maps(|fd| match query(fd, address, Some(scratch.line.as_mut_slice())) {
        Ok(found) => found.map(|(_, length)| (0, length)),
        Err(_) => read_through(fd, address, scratch).map(|(_, name)| name),
    })??;
    scratch.path()
}

fn with_maps<T>(ask: impl FnOnce(c_int) -> T) -> Option<T> {
    if let Some(fd) = kept() {
        return Some(ask(fd));
    }
    let fd = open_maps();
    let answer = (fd >= 0).then(|| ask(fd));
    if fd >= 0 {
        // SAFETY: ours. A bare system call: close(2) of the C library is a cancellation point.
        unsafe { libc::syscall(libc::SYS_close, fd) };
    }
    answer
}

pub(in crate::sigbus::adopted) fn open_maps() -> c_int {
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: a C string. A bare system call: open(2) of the C library is a cancellation point.
    let fd = unsafe {
        libc::syscall(libc::SYS_openat, libc::AT_FDCWD, c"/proc/self/maps".as_ptr(), flags)
    };
    fd as c_int
}

/// Device and inode of that file, by which our own descriptor is known.
pub(in crate::sigbus::adopted) static KEPT_FILE: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// The number of the kept descriptor, one more than it. A child sees 0 there, as that file is its
/// parent's.
pub(in crate::sigbus::adopted) fn word() -> Option<&'static AtomicU32> {
    crate::sys::wiped::existing().map(|words| &words.maps)
}

/// The kept descriptor, if it is still what was opened.
#[inline(never)]
pub(in crate::sigbus::adopted) fn kept() -> Option<c_int> {
    let fd = c_int::try_from(word()?.load(Ordering::Acquire).checked_sub(1)?).ok()?;
    let file = status(fd).map(|status| [status.st_dev, status.st_ino]);
    (file == Some(KEPT_FILE.each_ref().map(|half| half.load(Ordering::Relaxed)))).then_some(fd)
}

/// `struct procmap_query` (include/uapi/linux/fs.h).
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

/// The mapping, and how long the name is that was put into `name`. An error if this kernel cannot
/// be asked so.
#[inline(never)]
fn query(
    fd: c_int,
    address: usize,
    name: Option<&mut [u8]>,
) -> Result<Option<(Area, usize)>, c_int> {
    /// `_IOWR('f', 17, struct procmap_query)`
    const PROCMAP_QUERY: usize = 0xC068_6611;
    const { assert!(size_of::<Query>() == 0x68) };
    let mut query =
        Query { size: size_of::<Query>() as u64, address: address as u64, ..Query::default() };
    if let Some(name) = name {
        query.name_size = name.len() as u32;
        query.name = name.as_mut_ptr() as u64;
    }
    // SAFETY: room for one struct and the name; a bare system call.
    if unsafe { libc::syscall(libc::SYS_ioctl, fd, PROCMAP_QUERY, &raw mut query) } != 0 {
        return match crate::sys::call::errno() {
            libc::ENOENT => Ok(None),
            errno => Err(errno),
        };
    }
    // PROCMAP_QUERY_VMA_READABLE, WRITABLE, EXECUTABLE, SHARED.
    let protection = [(1, libc::PROT_READ), (2, libc::PROT_WRITE), (4, libc::PROT_EXEC)];
    let protection = protection
        .iter()
        .filter(|(bit, _)| query.area_flags & bit != 0)
        .fold(0, |all, (_, one)| all | one);
    let area = Area {
        start: query.start as usize,
        end: query.end as usize,
        protection,
        shared: query.area_flags & 8 != 0,
        offset: query.offset,
        file: (u64::from(query.major) << 32 | u64::from(query.minor), query.inode),
        page: query.page_size as usize,
    };
    // Its NUL is counted.
    Ok(Some((area, (query.name_size as usize).saturating_sub(1))))
}

/// Reads lines until the one of `address`; also where in `scratch.line` its path is.
#[inline(never)]
fn read_through(
    fd: c_int,
    address: usize,
    scratch: &mut Scratch,
) -> Option<(Area, (usize, usize))> {
    let Scratch { bytes, line, .. } = scratch;
    let (mut length, mut place) = (0, 0_u64);
    loop {
        // SAFETY: room for as many bytes. By pread(2), as the kept descriptor may have been read
        // before.
        let count =
            unsafe { libc::syscall(libc::SYS_pread64, fd, bytes.as_mut_ptr(), bytes.len(), place) };
        let read =
            usize::try_from(count).ok().and_then(|count| bytes.get(..count)).unwrap_or_default();
        if read.is_empty() {
            return None;
        }
        place += read.len() as u64;
        for byte in read {
            if *byte != b'\n' {
                if let Some(place) = line.get_mut(length) {
                    *place = *byte;
                    length += 1;
                }
                // So the kernel writes a line feed in a name.
                if line.get(..length).is_some_and(|line| line.ends_with(b"\\012"))
                    && let Some(escape) = line.get_mut(length - 4)
                {
                    *escape = b'\n';
                    length -= 3;
                }
                continue;
            }
            if let Some((area, name)) = line.get(..length).and_then(parse)
                && (area.start..area.end).contains(&address)
            {
                return Some((area, (name, length)));
            }
            length = 0;
        }
    }
}

/// One line of /proc/self/maps: `start-end perms offset major:minor inode path`; also where the
/// path begins.
pub(crate) fn parse(line: &[u8]) -> Option<(Area, usize)> {
    let mut words = Words { line, at: 0 };
    let (start, end) = pair(words.next()?, b'-')?;
    let rights = words.next()?;
    let offset = number(words.next()?, 16)?;
    let (major, minor) = pair(words.next()?, b':')?;
    let inode = number(words.next()?, 10)?;
    let name = line.get(words.at..)?.iter().position(|byte| *byte != b' ');
    let right = |place: usize, letter: u8, bit: c_int| {
        if rights.get(place) == Some(&letter) { bit } else { 0 }
    };
    let area = Area {
        start: start as usize,
        end: end as usize,
        protection: right(0, b'r', libc::PROT_READ)
            | right(1, b'w', libc::PROT_WRITE)
            | right(2, b'x', libc::PROT_EXEC),
        shared: rights.get(3) == Some(&b's'),
        offset,
        file: (major << 32 | minor, inode),
        page: 0,
    };
    Some((area, name.map_or(line.len(), |name| words.at + name)))
}

/// Words between spaces, and where the next one begins.
struct Words<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.line.get(self.at..)?;
        let start = self.at + rest.iter().position(|byte| *byte != b' ')?;
        let rest = self.line.get(start..)?;
        self.at = start + rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        self.line.get(start..self.at)
    }
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
        let mut scratch = Box::new(Scratch::new());
        let here = std::ptr::from_ref(&REFERENCE).addr();
        let area = area_at(here, &mut scratch).unwrap();
        assert!((area.start..area.end).contains(&here) && area.file.1 != 0);
        let path = path_at(here, &mut scratch).unwrap().to_vec();
        assert_eq!(path, std::env::current_exe().unwrap().as_os_str().as_encoded_bytes());
        let maps = std::fs::File::open("/proc/self/maps").unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&maps);
        for _ in 0..2 {
            let (read, name) = read_through(fd, here, &mut scratch).unwrap();
            assert_eq!(read, Area { page: 0, ..area });
            assert_eq!(scratch.line[name.0..name.1], path);
        }
        assert_eq!(area_at(8, &mut scratch), None);
    }

    #[test]
    fn a_line_feed_in_a_name_is_one_both_ways() {
        let name = format!("sigward-area-{}\nline\n", std::process::id());
        let path = std::env::temp_dir().join(name);
        let file = std::fs::File::create_new(&path).unwrap();
        file.set_len(1).unwrap();
        let (size, rights, kind) = (1, libc::PROT_READ, libc::MAP_SHARED);
        let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
        // SAFETY: a new mapping, of which nothing is read.
        let map = unsafe { libc::mmap(std::ptr::null_mut(), size, rights, kind, fd, 0) };
        assert_ne!(map, libc::MAP_FAILED);
        let mut scratch = Box::new(Scratch::new());
        let asked = path_at(map.addr(), &mut scratch).unwrap().to_vec();
        let maps = std::fs::File::open("/proc/self/maps").unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&maps);
        let (_, (start, end)) = read_through(fd, map.addr(), &mut scratch).unwrap();
        let read = scratch.line[start..end].to_vec();
        // SAFETY: this test's own.
        unsafe { libc::munmap(map, size) };
        std::fs::remove_file(&path).unwrap();
        let name = path.as_os_str().as_encoded_bytes();
        assert_eq!((asked.as_slice(), read.as_slice()), (name, name));
    }

    static REFERENCE: u8 = 1;
}

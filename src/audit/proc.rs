//! What /proc says of processes and threads. The parsers are pure and take any bytes.

use super::text::shown;
use crate::mapping::outside;
use std::ffi::{CString, OsString};
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The lines of /proc/PID/status that are used here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The name of the thread.
    pub name: String,
    /// The process that the thread belongs to.
    pub process: i32,
    /// The parent.
    pub parent: i32,
    /// Who traces it; 0 for nobody.
    pub tracer: i32,
    /// Its number in its own namespace.
    pub innermost: i32,
    /// The real and the effective user.
    pub users: [u32; 2],
    /// Signals that wait for the thread, and for the process.
    pub pending: u64,
    /// Signals that the thread has blocked.
    pub blocked: u64,
    /// Signals that the process ignores.
    pub ignored: u64,
    /// Signals that the process has handlers for.
    pub caught: u64,
}

impl Status {
    /// Of a process or thread.
    #[must_use]
    pub fn of(id: i32) -> Option<Self> {
        Some(Self::parse(&contents(&format!("/proc/{id}/status")).ok()?))
    }

    /// From the file's text; what is not there is zero.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let mut status = Self::default();
        for line in text.split(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(line);
            let Some((name, value)) = line.split_once(":\t") else { continue };
            let number = || value.trim().parse().unwrap_or(0);
            let set = || u64::from_str_radix(value.trim(), 16).unwrap_or(0);
            match name {
                "Name" => value.clone_into(&mut status.name),
                "Tgid" => status.process = number(),
                "PPid" => status.parent = number(),
                "TracerPid" => status.tracer = number(),
                "NSpid" => {
                    let last = value.split_whitespace().next_back();
                    status.innermost = last.and_then(|last| last.parse().ok()).unwrap_or(0);
                }
                "Uid" => {
                    let mut users = value.split_whitespace().map(|user| user.parse().unwrap_or(0));
                    status.users = [users.next().unwrap_or(0), users.next().unwrap_or(0)];
                }
                "SigPnd" | "ShdPnd" => status.pending |= set(),
                "SigBlk" => status.blocked = set(),
                "SigIgn" => status.ignored = set(),
                "SigCgt" => status.caught = set(),
                _ => {}
            }
        }
        status
    }

    /// What the process does with a signal.
    #[must_use]
    pub fn disposition(&self, signal: i32) -> Disposition {
        if has(self.ignored, signal) {
            Disposition::Ignored
        } else if has(self.caught, signal) {
            Disposition::Caught
        } else if self.innermost == 1 {
            Disposition::Init
        } else {
            Disposition::Default
        }
    }
}

/// What a thread has blocked: of a thousand threads nothing else is asked.
#[must_use]
pub fn blocked(thread: i32) -> Option<u64> {
    parse_blocked(&contents(&format!("/proc/{thread}/status")).ok()?)
}

fn parse_blocked(text: &[u8]) -> Option<u64> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let set = lines.find_map(|line| line.strip_prefix(b"SigBlk:\t"))?;
    u64::from_str_radix(std::str::from_utf8(set).ok()?.trim(), 16).ok()
}

/// All of a file of /proc, whose length is not known in advance: with few calls, as there may be a
/// thousand of them.
fn contents(path: &str) -> std::io::Result<Vec<u8>> {
    use std::io::{ErrorKind, Read};
    let mut file = std::fs::File::open(path)?;
    let (mut text, mut used) = (vec![0; 4096], 0);
    loop {
        if used == text.len() {
            text.resize(used * 2, 0);
        }
        match file.read(&mut text[used..]) {
            Ok(0) => break,
            Ok(count) => used += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    text.truncate(used);
    Ok(text)
}

/// Whether a set has a signal.
#[must_use]
pub fn has(set: u64, signal: i32) -> bool {
    (1..=64).contains(&signal) && set >> (signal - 1) & 1 == 1
}

/// What a process does with a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The default action.
    Default,
    /// Nothing.
    Ignored,
    /// A handler of the program's.
    Caught,
    /// The default of the first process of a namespace, which the kernel does not end.
    Init,
}

impl Disposition {
    /// In one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Ignored => "ignored",
            Self::Caught => "caught",
            Self::Init => "init",
        }
    }

    /// What follows, to be read behind what has happened.
    #[must_use]
    pub fn comes_to(self) -> &'static str {
        match self {
            Self::Default => "; the default action ends the program",
            Self::Ignored => "; ignored, the program goes on",
            Self::Caught => "; the program's handler gets it",
            Self::Init => "; the first process of a namespace goes on",
        }
    }
}

/// A mapping of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The first address, and the one behind the last.
    pub start: u64,
    /// Behind the last address.
    pub end: u64,
    /// Offset of the first byte in the file.
    pub offset: u64,
    /// The file.
    pub path: PathBuf,
}

impl Mapping {
    /// The offset in the file of an address, if it is in the mapping.
    #[must_use]
    pub fn offset_of(&self, address: u64) -> Option<u64> {
        let inside = (self.start..self.end).contains(&address);
        inside.then(|| (address - self.start).saturating_add(self.offset))
    }
}

/// A file and its disk at this moment.
#[must_use]
pub fn now(path: &Path) -> outside::Now {
    use std::os::unix::fs::MetadataExt;
    let file = std::fs::metadata(path).ok();
    outside::Now {
        length: file.as_ref().map(Metadata::len),
        free: free(path).or_else(|| free(path.parent()?)),
        sparse: file.is_some_and(|file| file.blocks() * 512 < file.len()),
    }
}

/// How many bytes anybody can still have on the disk of a file.
fn free(path: &Path) -> Option<u64> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let found = nix::sys::statvfs::statvfs(path.as_c_str()).ok()?;
    // Without any blocks it has no limit: some mounts of tmpfs.
    (found.blocks() != 0).then(|| found.blocks_available().saturating_mul(found.fragment_size()))
}

/// A line of /proc/PID/maps.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the kernel's letters")]
pub struct Line {
    /// Addresses, offset, path.
    pub mapping: Mapping,
    /// Whether it may be written.
    pub writable: bool,
    /// Whether it is code.
    pub executable: bool,
    /// Whether what is written goes to the file.
    pub shared: bool,
    /// The file's inode; 0 for none.
    pub inode: u64,
    /// Whether the file has lost its name.
    pub deleted: bool,
}

impl Line {
    /// Whether it is neither a file's nor the kernel's own page.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.inode == 0 && !self.mapping.path.as_os_str().as_encoded_bytes().starts_with(b"[v")
    }
}

/// All mappings of a process.
pub fn maps(id: i32) -> std::io::Result<Vec<Line>> {
    Ok(parse_maps(&contents(&format!("/proc/{id}/maps"))?))
}

/// From the file's text; lines that cannot be read are left out.
pub fn parse_maps(text: &[u8]) -> Vec<Line> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Line> {
    let mut rest = line;
    let mut word = || {
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        rest = behind.get(1..).unwrap_or_default();
        std::str::from_utf8(word).ok()
    };
    let (range, rights, offset) = (word()?, word()?.as_bytes(), word()?);
    let (_device, inode) = (word()?, word()?);
    let (start, end) = range.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let path = rest.trim_ascii_start();
    let (path, deleted) =
        path.strip_suffix(b" (deleted)").map_or((path, false), |path| (path, true));
    let mapping = Mapping {
        start: number(start)?,
        end: number(end)?,
        offset: number(offset)?,
        path: PathBuf::from(OsString::from_vec(unescaped(path))),
    };
    let [_, w, x, s] = *rights else { return None };
    Some(Line {
        mapping,
        writable: w == b'w',
        executable: x == b'x',
        shared: s == b's',
        inode: inode.parse().ok()?,
        deleted,
    })
}

/// The kernel writes a newline in a path as `\012`.
fn unescaped(path: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, behind)) = rest.split_first() {
        if let Some(behind) = rest.strip_prefix(b"\\012") {
            text.push(b'\n');
            rest = behind;
        } else {
            text.push(*first);
            rest = behind;
        }
    }
    text
}

/// A name by which the file of a mapping can be looked at, also one that is deleted or in another
/// mount namespace: `map_files` for the privileged, else the path beneath the process's root, if it
/// is the same file.
#[must_use]
pub fn reachable(id: i32, line: &Line) -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let Mapping { start, end, ref path, .. } = line.mapping;
    let by_address = PathBuf::from(format!("/proc/{id}/map_files/{start:x}-{end:x}"));
    if std::fs::metadata(&by_address).is_ok() {
        return Some(by_address);
    }
    let beneath = PathBuf::from(format!("/proc/{id}/root")).join(path.strip_prefix("/").ok()?);
    let found = std::fs::metadata(&beneath).ok()?;
    (found.ino() == line.inode).then_some(beneath)
}

/// The name of a process or thread, also of one that has ended and was not waited for.
#[must_use]
pub fn name(id: i32) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{id}/comm")).ok()?;
    Some(shown(String::from_utf8_lossy(&bytes).trim_end()))
}

/// This process, by its number in the namespace of /proc.
#[must_use]
pub fn own() -> Option<i32> {
    std::fs::read_link("/proc/self").ok()?.to_str()?.parse().ok()
}

/// All processes.
#[must_use]
pub fn processes() -> Vec<i32> {
    numbers("/proc")
}

/// Device and inode of the program that a process executes; none where that may not be seen.
#[must_use]
pub fn executable(process: i32) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let file = std::fs::metadata(format!("/proc/{process}/exe")).ok()?;
    Some((file.dev(), file.ino()))
}

/// Whether it has memory: no thread of the kernel's has, and none that has ended.
#[must_use]
pub fn has_memory(id: i32) -> bool {
    contents(&format!("/proc/{id}/statm")).is_ok_and(|text| !text.starts_with(b"0 "))
}

/// The thread by which /proc tells of a process: the first, which has its number, or another one
/// where that has ended before the others.
#[must_use]
pub fn living(process: i32) -> i32 {
    if has_memory(process) {
        return process;
    }
    threads(process).into_iter().find(|tid| has_memory(*tid)).unwrap_or(process)
}

/// The threads of a process.
#[must_use]
pub fn threads(process: i32) -> Vec<i32> {
    numbers(&format!("/proc/{process}/task"))
}

/// The descriptors of a process; none if they may not be looked at.
#[must_use]
pub fn descriptors(process: i32) -> Option<Vec<i32>> {
    let entries = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?;
    let mut all: Vec<i32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    all.sort_unstable();
    Some(all)
}

/// Whether a descriptor is open for writing.
#[must_use]
pub fn writes(process: i32, fd: i32) -> bool {
    let info = std::fs::read_to_string(format!("/proc/{process}/fdinfo/{fd}")).unwrap_or_default();
    let flags =
        info.lines().find_map(|line| i32::from_str_radix(line.strip_prefix("flags:\t")?, 8).ok());
    flags.is_some_and(|flags| flags & libc::O_ACCMODE != libc::O_RDONLY)
}

/// The files that a process has open for writing, as far as that may be looked at.
pub fn open_for_writing(process: i32) -> impl Iterator<Item = Metadata> {
    let open = descriptors(process).unwrap_or_default().into_iter();
    open.filter_map(move |fd| {
        let path = PathBuf::from(format!("/proc/{process}/fd/{fd}"));
        std::fs::metadata(path).ok().filter(|_| writes(process, fd))
    })
}

/// The entries of a folder that are numbers.
fn numbers(folder: &str) -> Vec<i32> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Disposition, Path, Status, free, parse_blocked, parse_maps};

    const MAPS: &[u8] = b"55d0-55d4 r--p 00000000 fe:00 1234                       /usr/bin/a b\n\
        7f00-7f80 rw-s 00002000 00:01 99                         /data/x\\012y (deleted)\n\
        7fff0000-7fff1000 rw-p 00000000 00:00 0                          [stack]\n";
    const STATUS: &[u8] = b"Name:\tvictim\nTgid:\t70\nTracerPid:\t4\nUid:\t1000\t0\t0\t0\n\
        NSpid:\t70\t1\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000004000\n\
        SigBlk:\t0000000000000040\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000000400\n";

    #[test]
    fn lines_of_maps_are_read() {
        let lines = parse_maps(MAPS);
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].mapping.path, Path::new("/usr/bin/a b"));
        let second = &lines[1];
        assert!(second.deleted && second.shared && second.writable && second.inode == 99);
        assert_eq!(second.mapping.path, Path::new("/data/x\ny"));
        assert_eq!(second.mapping.offset_of(0x7f01), Some(0x2001));
        assert_eq!(second.mapping.offset_of(0x7f80), None);
    }

    #[test]
    fn masks_say_what_happens_to_a_signal() {
        let status = Status::parse(STATUS);
        assert_eq!((status.process, status.tracer, status.users), (70, 4, [1000, 0]));
        assert_eq!((status.pending, status.blocked), (0x4000, 0x40));
        assert_eq!(parse_blocked(STATUS), Some(0x40));
        assert_eq!([parse_blocked(b"SigBlk:\tx"), parse_blocked(b"SigBlk:")], [None; 2]);
        assert_eq!(status.disposition(13), Disposition::Ignored);
        assert_eq!(status.disposition(11), Disposition::Caught);
        assert_eq!(status.disposition(7), Disposition::Init);
        assert_eq!(Status { innermost: 70, ..status }.disposition(7), Disposition::Default);
    }

    #[test]
    fn a_disk_without_blocks_has_no_limit() {
        use std::os::fd::AsRawFd;
        let memory =
            nix::sys::memfd::memfd_create(c"place", nix::sys::memfd::MFdFlags::MFD_CLOEXEC);
        let memory = memory.expect("a file in memory");
        assert_eq!(free(Path::new(&format!("/proc/self/fd/{}", memory.as_raw_fd()))), None);
        assert!(free(Path::new("/")).is_some());
        assert_eq!(free(Path::new("/no such file")), None);
    }

    #[test]
    fn any_bytes_are_survived() {
        let mut state = 1_u64;
        for text in [MAPS, STATUS] {
            for length in 0..text.len() {
                parse_maps(&text[..length]);
                let _ = Status::parse(&text[..length]);
            }
            for _ in 0..5000 {
                let mut text = text.to_vec();
                for _ in 0..4 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let at = (state >> 33) as usize % text.len();
                    text[at] = (state >> 25) as u8;
                }
                for line in parse_maps(&text) {
                    let _ = line.mapping.offset_of(line.mapping.start);
                }
                let _ = Status::parse(&text).disposition(13);
            }
        }
    }
}

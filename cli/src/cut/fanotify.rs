//! fanotify(7): who does what to the files of a folder.
//!
//! Two kinds of groups. One that names files by folder and name (`FAN_REPORT_DFID_NAME`): only that
//! one tells of truncation and of renames. And one that is asked before each open
//! (`FAN_CLASS_CONTENT`): only that one sees the opener's flags, since the opener waits for us.

use nix::fcntl::AT_FDCWD;
use nix::sys::fanotify::{
    EventFFlags, Fanotify, FanotifyResponse, InitFlags, MarkFlags, MaskFlags, Response,
};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What has been done to a file of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `FAN_…`
    pub mask: u64,
    /// Who; 0 if the kernel does not tell (without CAP_SYS_ADMIN).
    pub pid: i32,
    /// The file's name in its folder.
    pub name: OsString,
}

/// A group that watches one folder.
pub struct Folder(Fanotify);

/// A question: somebody waits for leave to open a file.
pub struct Question<'a> {
    group: &'a Fanotify,
    /// The thread that waits.
    pub tid: i32,
    /// The file.
    pub file: OwnedFd,
}

/// A group that is asked before each open in one folder.
pub struct Gate(Fanotify);

const CHANGES: u64 = libc::FAN_OPEN
    | libc::FAN_MODIFY
    | libc::FAN_CLOSE_WRITE
    | libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_MOVED_FROM
    | libc::FAN_MOVED_TO
    | libc::FAN_EVENT_ON_CHILD;

impl Folder {
    /// Begins to watch.
    pub fn watch(folder: &Path) -> io::Result<Self> {
        let flags = libc::FAN_CLASS_NOTIF | libc::FAN_REPORT_DFID_NAME;
        let group = group(flags)?;
        mark(&group, CHANGES, folder)?;
        Ok(Self(group))
    }

    /// What has happened since.
    pub fn events(&self) -> Vec<Event> {
        let mut buffer = [0; 16384];
        parse(read(&self.0, &mut buffer)).into_iter().filter_map(|(event, _)| event).collect()
    }
}

impl Gate {
    /// Begins to ask.
    pub fn watch(folder: &Path) -> io::Result<Self> {
        let group = group(libc::FAN_CLASS_CONTENT | libc::FAN_REPORT_TID)?;
        mark(&group, libc::FAN_OPEN_PERM | libc::FAN_EVENT_ON_CHILD, folder)?;
        Ok(Self(group))
    }

    /// Who waits. Each question is answered with yes when it is dropped.
    pub fn questions(&self) -> Vec<Question<'_>> {
        let mut buffer = [0; 4096];
        let found = parse(read(&self.0, &mut buffer));
        let questions = found.into_iter().filter_map(|(_, (fd, tid))| {
            // SAFETY: a new descriptor that the kernel has made for us.
            let file = (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })?;
            Some(Question { group: &self.0, tid, file })
        });
        questions.collect()
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        let answer = FanotifyResponse::new(self.file.as_fd(), Response::FAN_ALLOW);
        let _ = self.group.write_response(answer); // refused, it has not been asked
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for Gate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether the kernel says who it was: it asks for the same capability as this flag does, and root
/// in a container may have none.
pub fn names_processes() -> bool {
    group(libc::FAN_CLASS_NOTIF | libc::FAN_UNLIMITED_QUEUE).is_ok()
}

fn group(flags: u32) -> io::Result<Fanotify> {
    let flags = InitFlags::from_bits_retain(flags | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK);
    let files = EventFFlags::O_RDONLY | EventFFlags::O_LARGEFILE | EventFFlags::O_CLOEXEC;
    Ok(Fanotify::init(flags, files)?)
}

fn mark(group: &Fanotify, mask: u64, folder: &Path) -> io::Result<()> {
    let flags = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_ONLYDIR;
    Ok(group.mark(flags, MaskFlags::from_bits_retain(mask), AT_FDCWD, Some(folder))?)
}

/// (The events of `nix` have no names.)
fn read<'a>(group: &Fanotify, buffer: &'a mut [u8]) -> &'a [u8] {
    let count = nix::unistd::read(group, buffer).unwrap_or(0);
    buffer.get(..count).unwrap_or_default()
}

/// `struct fanotify_event_metadata` and what follows it: of each the event by name, if there is a
/// name, and descriptor and process.
fn parse(mut bytes: &[u8]) -> Vec<(Option<Event>, (i32, i32))> {
    const HEAD: usize = 24;
    let mut found = Vec::new();
    while let Some(head) = bytes.get(..HEAD) {
        let number = |at: usize| head[at..at + 4].try_into().map_or(0, u32::from_le_bytes);
        let length = number(0) as usize;
        let Some(event) = bytes.get(..length).filter(|_| length >= HEAD) else { break };
        let mask = u64::from(number(8)) | u64::from(number(12)) << 32;
        let (fd, pid) = (number(16) as i32, number(20) as i32);
        let name = name_in(&event[HEAD..]);
        found.push((name.map(|name| Event { mask, pid, name }), (fd, pid)));
        bytes = &bytes[length..];
    }
    found
}

/// The name in a record of the type `FAN_EVENT_INFO_TYPE_DFID_NAME`.
fn name_in(mut records: &[u8]) -> Option<OsString> {
    const HEAD: usize = 4;
    const BEFORE_HANDLE: usize = HEAD + 8;
    while records.len() > HEAD {
        let length = usize::from(u16::from_le_bytes([records[2], records[3]]));
        let record = records.get(..length).filter(|_| length > HEAD)?;
        if record[0] == libc::FAN_EVENT_INFO_TYPE_DFID_NAME {
            let size = record.get(BEFORE_HANDLE..BEFORE_HANDLE + 4)?.try_into().ok()?;
            let name = record
                .get((BEFORE_HANDLE + 8).checked_add(u32::from_le_bytes(size) as usize)?..)?;
            let end = name.iter().position(|byte| *byte == 0)?;
            return Some(OsStr::from_bytes(&name[..end]).to_owned());
        }
        records = &records[length..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Event, parse};

    fn event(mask: u64, name: &[u8]) -> Vec<u8> {
        let mut record = vec![libc::FAN_EVENT_INFO_TYPE_DFID_NAME, 0, 0, 0];
        record.extend([0; 8]);
        record.extend(8_u32.to_le_bytes());
        record.extend([0; 12]);
        record.extend(name);
        record.resize(record.len().next_multiple_of(4), 0);
        let length = record.len() as u16;
        record[2..4].copy_from_slice(&length.to_le_bytes());
        let mut event = (24 + record.len() as u32).to_le_bytes().to_vec();
        event.extend([3, 0, 24, 0]);
        event.extend(mask.to_le_bytes());
        event.extend((-1_i32).to_le_bytes());
        event.extend(4711_i32.to_le_bytes());
        event.extend(record);
        event
    }

    #[test]
    fn events_have_names_and_any_bytes_are_survived() {
        let bytes = [event(2, b"data\0"), event(0x80, b"other\0")].concat();
        let events: Vec<Event> = parse(&bytes).into_iter().filter_map(|(event, _)| event).collect();
        assert_eq!(events[0], Event { mask: 2, pid: 4711, name: "data".into() });
        assert_eq!(events[1].name, "other");
        for at in 0..bytes.len() {
            parse(&bytes[..at]);
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                parse(&changed);
            }
        }
    }
}

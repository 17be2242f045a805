//! Being told of changes: inotify(7) on everything that lies between a path and its file.
//!
//! | what is watched | for |
//! |---|---|
//! | the file | writes, the end of a writer, other rights |
//! | each folder in which a name of the path is a link, or the file | another entry of that name: rename(2), creation, deletion |
//! | the other folders on the way | being renamed or removed themselves |
//!
//! What cannot be watched (no right to read a folder, the user's limit of watches, another
//! machine's changes to a network file system) is seen at the next tick.

use super::chain::{self, Chain};
use std::collections::{BTreeSet, HashMap};
use std::ffi::{CString, OsStr, OsString, c_int};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What the events since the last question amount to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Something was written to the file; the writer may go on.
    pub(super) written: bool,
    /// A writer has closed the file, or the path leads elsewhere.
    pub(super) concluded: bool,
}

pub(super) struct Watch {
    queue: OwnedFd,
    chain: Chain,
    names: HashMap<c_int, BTreeSet<OsString>>,
    /// Every place has its watch.
    complete: bool,
    /// What was read and not yet taken.
    news: News,
}

const SELF: u32 = libc::IN_MOVE_SELF | libc::IN_DELETE_SELF;
const ENTRIES: u32 = libc::IN_CREATE | libc::IN_MOVED_TO | libc::IN_MOVED_FROM | libc::IN_DELETE;
const FILE: u32 = libc::IN_MODIFY | libc::IN_CLOSE_WRITE | libc::IN_ATTRIB;
/// Also for the folder of a file that we may not read: then the folder tells of it.
const BLIND: u32 = libc::IN_ATTRIB | libc::IN_CLOSE_WRITE;

impl Watch {
    /// Nothing where the limit of instances is reached: then there is the tick.
    pub(super) fn new() -> Option<Self> {
        // SAFETY: no pointers.
        let queue = unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) };
        if queue < 0 {
            return None;
        }
        // SAFETY: a new descriptor that nobody else has.
        let queue = unsafe { OwnedFd::from_raw_fd(queue) };
        Some(Self {
            queue,
            chain: Chain::new(),
            names: HashMap::new(),
            complete: false,
            news: News::default(),
        })
    }

    /// Watches the way to `path` as it is now. What changes after this call is told.
    pub(super) fn renew(&mut self, path: &Path) {
        // A way that changes while it is being watched is walked again; should it never rest, there
        // is the tick.
        for _ in 0..8 {
            let chain = chain::of(path);
            if chain == self.chain && self.complete {
                return;
            }
            let moved = chain != self.chain;
            self.put(chain);
            if !moved {
                return;
            }
        }
    }

    /// Whether everything on the way is watched.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    fn put(&mut self, chain: Chain) {
        let mut names: HashMap<c_int, BTreeSet<OsString>> = HashMap::new();
        let mut complete = true;
        let mut blind = BTreeSet::new();
        for (at, _) in chain.iter().filter(|(_, place)| place.is_file) {
            if let Some(number) = self.add(at, SELF | FILE) {
                names.entry(number).or_default();
            } else {
                complete = false;
                blind.extend(at.parent().map(Path::to_path_buf));
            }
        }
        for (at, place) in chain.iter().filter(|(_, place)| !place.is_file) {
            let entries = if place.names.is_empty() { 0 } else { ENTRIES };
            let blind = if blind.contains(at) { BLIND } else { 0 };
            // The same folder by two ways has one watch: IN_MASK_ADD keeps what the other way asked
            // for.
            let mask = SELF | entries | blind | libc::IN_ONLYDIR | libc::IN_MASK_ADD;
            match self.add(at, mask) {
                Some(number) => names.entry(number).or_default().extend(place.names.iter().cloned()),
                None => complete = false,
            }
        }
        for number in self.names.keys().filter(|number| !names.contains_key(number)) {
            // SAFETY: numbers; one that is gone already is refused.
            unsafe { libc::inotify_rm_watch(self.queue.as_raw_fd(), *number) };
        }
        (self.names, self.chain, self.complete) = (names, chain, complete);
    }

    fn add(&self, at: &Path, mask: u32) -> Option<c_int> {
        let at = CString::new(at.as_os_str().as_bytes()).ok()?;
        // SAFETY: our own descriptor and a NUL-terminated path.
        let number = unsafe { libc::inotify_add_watch(self.queue.as_raw_fd(), at.as_ptr(), mask) };
        (number >= 0).then_some(number)
    }

    /// What has happened since the last [`take`](Self::take). Does not wait.
    pub(super) fn read(&mut self) -> News {
        let mut buffer = [0_u8; 4096];
        loop {
            // SAFETY: our own descriptor and room for as many bytes as are said.
            let count =
                unsafe { libc::read(self.queue.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
            let Ok(count @ 1..) = usize::try_from(count) else { return self.news };
            self.judge(&buffer[..count]);
        }
    }

    /// The same, and is told once only.
    pub(super) fn take(&mut self) -> News {
        self.read();
        std::mem::take(&mut self.news)
    }

    /// The events of one read: number, mask, cookie, length of the name, name.
    fn judge(&mut self, mut events: &[u8]) {
        while let Some((header, rest)) = events.split_first_chunk::<16>() {
            let word =
                |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
            let (name, next) = rest.split_at((word(12) as usize).min(rest.len()));
            events = next;
            let (number, mask) = (word(0) as c_int, word(4));
            if mask & libc::IN_Q_OVERFLOW != 0 {
                self.news = News { written: true, concluded: true };
                continue;
            }
            let Some(names) = self.names.get(&number) else { continue };
            if mask & libc::IN_IGNORED != 0 {
                // What it watched is gone, and something else may have got its number: everything
                // is watched anew.
                self.names.remove(&number);
                self.chain.clear();
                self.news.concluded = true;
                continue;
            }
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            let name = OsStr::from_bytes(&name[..end]);
            if mask & libc::IN_MODIFY != 0 {
                self.news.written = true;
            } else if name.is_empty() || names.contains(name) {
                self.news.concluded = true;
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

//! Being told of changes: one inotify(7) queue for the files of the whole process, watching
//! everything that lies between each path and its file.
//!
//! | what is watched | for |
//! |---|---|
//! | the file | writes, the end of a writer, other rights |
//! | each folder in which a name of the path is a link, or the file | another entry of that name: rename(2), creation, deletion |
//! | the other folders on the way | being renamed or removed themselves |
//!
//! What cannot be watched (no right to read a folder, the user's limit of watches or queues, a
//! seccomp filter, another machine's changes to a network file system, a mount over a folder) is
//! seen at the next tick.

use super::chain::Place;
use crate::sys::call::retried;
use crate::sys::kept::Kept;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString, c_int};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What the events since the last question amount to, for one path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Something was written to the file (the writer may go on), or the path leads elsewhere: the
    /// bytes may be others, whatever the times say. A file in the place of another often has its
    /// inode's number, and then all else within one tick of the kernel's clock.
    pub(super) written: bool,
    /// A writer has closed the file, or the path leads elsewhere.
    pub(super) concluded: bool,
}

pub(super) use super::chain::{Chain, of as walk};

/// The queue.
pub(super) struct Queue(Kept<Inotify>);

/// Whose watches these are.
pub(super) type Id = u64;

#[derive(Default)]
pub(super) struct Watch {
    spots: HashMap<c_int, Spot>,
    ways: HashMap<Id, Way>,
}

/// What one watch is for: several paths may lead through it.
#[derive(Default)]
struct Spot {
    users: BTreeSet<Id>,
    names: HashMap<OsString, BTreeSet<Id>>,
}

/// The watched way to one file.
#[derive(Default)]
struct Way {
    chain: Chain,
    spots: BTreeMap<c_int, BTreeSet<OsString>>,
    file: Option<c_int>,
    /// Whether every place has its watch, and if not, why.
    watched: Option<Result<(), c_int>>,
    news: News,
    /// What came last of the file: a write, and not a writer's close.
    writing: bool,
}

const SELF: u32 = libc::IN_MOVE_SELF | libc::IN_DELETE_SELF;
const ENTRIES: u32 = libc::IN_CREATE | libc::IN_MOVED_TO | libc::IN_MOVED_FROM | libc::IN_DELETE;
const FILE: u32 = libc::IN_MODIFY | libc::IN_CLOSE_WRITE | libc::IN_ATTRIB;
/// What says nothing of the bytes. Also for the folder of a file that we may not read: then the
/// folder tells of it.
const BLIND: u32 = libc::IN_ATTRIB | libc::IN_CLOSE_WRITE;

impl Queue {
    pub(super) fn open() -> Result<Self, c_int> {
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        let made = retried(|| Inotify::init(flags))?;
        Kept::of(made).map(Self).map_err(|failed| failed.errno)
    }

    /// Whether it has not been closed by the host, and its number been given to another file.
    pub(super) fn is_ours(&self) -> bool {
        self.0.is_ours()
    }

    fn add(&self, at: &Path, mask: u32) -> Result<c_int, c_int> {
        let mask = AddWatchFlags::from_bits_retain(mask);
        retried(|| self.0.add_watch(at, mask)).map(WatchDescriptor::as_raw)
    }

    fn remove(&self, number: c_int) {
        // (`nix` takes no number back.) SAFETY: numbers; one that is gone already is refused.
        unsafe { libc::inotify_rm_watch(self.0.as_fd().as_raw_fd(), number) };
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Watch {
    /// Watches a way that looks like `chain`. Says whether it was another one before: then it has
    /// to be walked again, as it may have changed before it was watched.
    pub(super) fn put(&mut self, queue: &Queue, id: Id, chain: Chain) -> bool {
        let way = self.ways.entry(id).or_default();
        let moved = way.chain != chain;
        if !moved && way.watched == Some(Ok(())) {
            return false;
        }
        let mut spots: BTreeMap<c_int, BTreeSet<OsString>> = BTreeMap::new();
        let mut watched = Ok(());
        let (mut file, mut blind) = (None, None);
        for (at, _) in chain.iter().filter(|(_, place)| place.is_file) {
            match queue.add(at, SELF | FILE) {
                Ok(number) => {
                    spots.entry(number).or_default();
                    file = Some(number);
                }
                Err(errno) => (watched, blind) = (Err(errno), at.parent()),
            }
        }
        for (at, place) in chain.iter().filter(|(_, place)| !place.is_file) {
            match queue.add(at, folder_mask(place, blind == Some(at))) {
                Ok(number) => spots.entry(number).or_default().extend(place.names.iter().cloned()),
                Err(errno) => watched = Err(errno),
            }
        }
        if file != way.file {
            // Whoever wrote to the file before writes to another one.
            way.writing = false;
        }
        let before = std::mem::replace(&mut way.spots, spots.clone());
        (way.chain, way.file, way.watched) = (chain, file, Some(watched));
        for (number, names) in &before {
            self.detach(*number, id, names);
        }
        for (number, names) in spots {
            let spot = self.spots.entry(number).or_default();
            spot.users.insert(id);
            for name in names {
                spot.names.entry(name).or_default().insert(id);
            }
        }
        self.sweep(queue, before.into_keys());
        moved
    }

    /// Whether everything on the way is watched, and if not, why.
    pub(super) fn watched(&self, id: Id) -> Result<(), c_int> {
        self.ways.get(&id).and_then(|way| way.watched).unwrap_or(Err(0))
    }

    /// Watches for this one no more.
    pub(super) fn leave(&mut self, queue: Option<&Queue>, id: Id) {
        let Some(way) = self.ways.remove(&id) else { return };
        for (number, names) in &way.spots {
            self.detach(*number, id, names);
        }
        if let Some(queue) = queue {
            self.sweep(queue, way.spots.into_keys());
        }
    }

    fn detach(&mut self, number: c_int, id: Id, names: &BTreeSet<OsString>) {
        let Some(spot) = self.spots.get_mut(&number) else { return };
        spot.users.remove(&id);
        for name in names {
            if let Some(users) = spot.names.get_mut(name) {
                users.remove(&id);
                if users.is_empty() {
                    spot.names.remove(name);
                }
            }
        }
    }

    /// Gives those of these watches back that nobody uses.
    fn sweep(&mut self, queue: &Queue, numbers: impl Iterator<Item = c_int>) {
        for number in numbers {
            if self.spots.get(&number).is_some_and(|spot| spot.users.is_empty()) {
                self.spots.remove(&number);
                queue.remove(number);
            }
        }
    }

    /// What has happened for this one and was not yet taken.
    pub(super) fn news(&self, id: Id) -> News {
        self.ways.get(&id).map(|way| way.news).unwrap_or_default()
    }

    /// The same, and is told once only.
    pub(super) fn take(&mut self, id: Id) -> News {
        self.ways.get_mut(&id).map(|way| std::mem::take(&mut way.news)).unwrap_or_default()
    }

    /// Whether somebody has written to the file and not closed it.
    pub(super) fn is_writing(&self, id: Id) -> bool {
        self.ways.get(&id).is_some_and(|way| way.writing)
    }

    /// Reads what the queue has, without waiting; `told` is called with each one that it concerns.
    pub(super) fn read(&mut self, queue: &Queue, mut told: impl FnMut(Id)) {
        let mut buffer = [0_u8; 16 << 10];
        loop {
            let Ok(count @ 1..) = nix::unistd::read(queue, &mut buffer) else { return };
            self.judge(&buffer[..count], &mut told);
        }
    }

    /// The events of one read: number, mask, cookie, length of the name, name.
    fn judge(&mut self, mut events: &[u8], told: &mut impl FnMut(Id)) {
        while let Some((header, rest)) = events.split_first_chunk::<16>() {
            let word = |at: usize| {
                u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
            };
            let (name, next) = rest.split_at((word(12) as usize).min(rest.len()));
            events = next;
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            self.event(word(0) as c_int, word(4), OsStr::from_bytes(&name[..end]), told);
        }
    }

    fn event(&mut self, number: c_int, mask: u32, name: &OsStr, told: &mut impl FnMut(Id)) {
        if mask & libc::IN_Q_OVERFLOW != 0 {
            for (id, way) in &mut self.ways {
                // Among what was lost may be its close, and the end of a watch.
                way.watched = None;
                way.news = News { written: true, concluded: true };
                way.writing = false;
                told(*id);
            }
            return;
        }
        let gone = mask & libc::IN_IGNORED != 0;
        let taken = if gone { self.spots.remove(&number) } else { None };
        let Some(spot) = taken.as_ref().or_else(|| self.spots.get(&number)) else { return };
        let users = if gone || name.is_empty() { Some(&spot.users) } else { spot.names.get(name) };
        for id in users.into_iter().flatten() {
            let Some(way) = self.ways.get_mut(id) else { continue };
            if gone {
                // What it watched is gone, and something else may have got its number: everything
                // is watched anew.
                way.chain.clear();
                way.spots.remove(&number);
                way.watched = None;
                (way.news.written, way.news.concluded) = (true, true);
            } else if mask & libc::IN_MODIFY != 0 {
                way.news.written = true;
                way.writing = true;
            } else {
                way.news.concluded = true;
                way.news.written |= mask & BLIND == 0;
                if mask & libc::IN_CLOSE_WRITE != 0 {
                    way.writing = false;
                }
            }
            told(*id);
        }
    }
}

/// Hears these events for two files in one folder, of which one is watched itself: nobody else is
/// told, and whoever is told has news.
///
/// # Panics
/// If not.
#[cfg(any(fuzzing, test))]
pub(crate) fn hear(events: &[u8]) {
    let mut watch = Watch::default();
    for (id, name) in [(1, "a"), (2, "b")] {
        let spots = BTreeMap::from([(7, BTreeSet::from([OsString::from(name)]))]);
        watch.ways.insert(id, Way { spots, watched: Some(Ok(())), ..Way::default() });
        let folder = watch.spots.entry(7).or_default();
        folder.users.insert(id);
        folder.names.entry(name.into()).or_default().insert(id);
    }
    let users = BTreeSet::from([1]);
    watch.spots.insert(8, Spot { users, ..Spot::default() });
    watch.ways.entry(1).or_default().spots.entry(8).or_default();
    let mut told = BTreeSet::new();
    watch.judge(events, &mut |id| _ = told.insert(id));
    for id in [1, 2] {
        assert_eq!(told.remove(&id), watch.take(id) != News::default());
        let way = watch.ways.get(&id).expect("a way stays");
        let is_whole = way.spots.keys().all(|number| watch.spots.contains_key(number));
        assert!(is_whole || way.watched.is_none(), "a watch is gone, and nobody watches anew");
    }
    assert!(told.is_empty(), "{told:?}");
}

/// The same folder by two ways has one watch: `IN_MASK_ADD` keeps what the other way asked for.
fn folder_mask(place: &Place, is_blind: bool) -> u32 {
    let entries = if place.names.is_empty() { 0 } else { ENTRIES };
    let blind = if is_blind { BLIND } else { 0 };
    SELF | entries | blind | libc::IN_ONLYDIR | libc::IN_MASK_ADD
}

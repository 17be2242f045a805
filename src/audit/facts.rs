//! What is known of a process without stopping it: /proc and its executable; of this process also
//! what the library and sigaction(2) say.

use super::elf::Elf;
use super::own::{Own, Row};
use super::proc::{self, Disposition, Line, Status};
use crate::mapping::outside::Now;
use crate::sys::pages::page_size;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that the findings are made from.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The process.
    pub pid: i32,
    /// Its leader's status: what is ignored and caught holds for the whole process.
    pub status: Status,
    /// How many threads there are.
    pub threads: usize,
    /// Of each thread what it has blocked.
    pub masks: Vec<(i32, u64)>,
    /// Go, JVM, CPython, Node.
    pub runtimes: Vec<&'static str>,
    /// Whether our library is in it.
    pub has_library: bool,
    /// Libraries beside the C library's own.
    pub libraries: usize,
    /// Libraries with a sigaction(2) of their own, which everybody in the process calls.
    pub interposers: Vec<PathBuf>,
    /// Whether it has sockets; none if that may not be looked at.
    pub sockets: Option<usize>,
    /// Mapped files that could be looked at, or are deleted, but for code.
    pub files: Vec<MappedFile>,
    /// Children that ignore SIGPIPE, and have no runtime that does so itself.
    pub ignoring_children: Vec<i32>,
    /// Whether its maps and descriptors may be looked at.
    pub is_open: bool,
    /// How long the pages of this machine are.
    pub page: u64,
    /// What only the process itself can say; none of another one.
    pub own: Option<Own>,
    /// Its handlers, where it was made to tell: `sigward audit --deep`.
    pub handlers: Option<Vec<Row>>,
}

/// A mapped file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedFile {
    /// Its name.
    pub path: PathBuf,
    /// The highest offset that is mapped.
    pub mapped_to: u64,
    /// Shared, and may be written.
    pub shared_writable: bool,
    /// Whether it has lost its name.
    pub deleted: bool,
    /// Its length and its disk.
    pub now: Now,
    /// How many bytes of it have no block.
    pub holes: u64,
    /// Others that have it open for writing.
    pub writers: Vec<i32>,
}

impl MappedFile {
    /// Whether more is mapped than the file has: the last page of a file is there as a whole.
    #[must_use]
    pub fn is_beyond(&self, page: u64) -> bool {
        self.now
            .length
            .is_some_and(|length| self.mapped_to > length.div_ceil(page).saturating_mul(page))
    }

    /// Whether its disk has no room for all of its holes, into which somebody may write.
    #[must_use]
    pub fn lacks_room(&self) -> bool {
        self.shared_writable && !self.deleted && self.now.free.is_some_and(|free| self.holes > free)
    }
}

/// What is blocked in a thread and kills it there, or is told to nobody.
pub const MATTERING: [i32; 3] = [libc::SIGBUS, libc::SIGSEGV, libc::SIGPIPE];

/// Device and inode: files that processes have open for writing, and who.
pub type Writers = HashMap<(u64, u64), HashSet<i32>>;

/// What is known of executables, which many processes share.
#[derive(Default)]
pub struct Executables {
    programs: HashMap<(u64, u64), Executable>,
    /// Of each file of code whether it has a sigaction(2) of its own.
    interposers: HashMap<(u64, PathBuf), bool>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Executable {
    go: bool,
    has_library: bool,
}

impl Executables {
    fn of(&mut self, pid: i32) -> Executable {
        let Some(file) = proc::executable(pid) else { return Executable::default() };
        *self.programs.entry(file).or_insert_with(|| {
            let program = Elf::open(format!("/proc/{pid}/exe").as_ref());
            let has = |look: &dyn Fn(&Elf) -> bool| program.as_ref().is_some_and(look);
            Executable {
                go: has(&|program| program.has_section(".go.buildinfo")),
                has_library: has(&|program| program.has_symbol("sigward_init")),
            }
        })
    }
}

impl Executables {
    /// The C library's own is what they stand before.
    fn interposers(&mut self, pid: i32, lines: &[Line]) -> Vec<PathBuf> {
        let is_c_library =
            |line: &Line| OF_C_LIBRARY.iter().any(|own| name_of(line).starts_with(own));
        let code =
            lines.iter().filter(|line| line.executable && line.inode != 0 && !is_c_library(line));
        let mut found: Vec<PathBuf> = code
            .filter(|line| {
                let has_own = || {
                    Elf::open(&proc::reachable(pid, line)?).map(|file| file.exports("sigaction"))
                };
                let key = (line.inode, line.mapping.path.clone());
                *self.interposers.entry(key).or_insert_with(|| has_own().unwrap_or(false))
            })
            .map(|line| line.mapping.path.clone())
            .collect();
        found.dedup();
        found
    }
}

impl Facts {
    /// Of a process; none if there is none. `writers` is empty where nobody was looked for.
    pub fn of(pid: i32, writers: &Writers, executables: &mut Executables) -> Option<Self> {
        Self::by(pid, pid, writers, executables)
    }

    /// The same, with maps and descriptors from another thread: the first may have ended.
    pub fn by(
        living: i32,
        pid: i32,
        writers: &Writers,
        executables: &mut Executables,
    ) -> Option<Self> {
        let status = Status::of(pid)?;
        let tids = proc::threads(pid);
        let masks = tids.iter().filter_map(|tid| Some((*tid, proc::blocked(*tid)?))).collect();
        let maps = proc::maps(living);
        let is_open = maps.is_ok();
        let lines = maps.unwrap_or_default();
        let executable = executables.of(living);
        let (mut runtimes, libraries) = runtimes(&lines);
        if executable.go {
            runtimes.push("Go");
        }
        let loaded = lines.iter().any(|line| name_of(line).starts_with("libsigward.so"));
        Some(Self {
            pid,
            threads: tids.len(),
            masks,
            has_library: loaded || executable.has_library,
            runtimes,
            libraries,
            interposers: executables.interposers(living, &lines),
            sockets: sockets(living),
            files: files(living, &lines, writers),
            ignoring_children: Vec::new(),
            status,
            is_open,
            page: page_size() as u64,
            own: None,
            handlers: None,
        })
    }

    /// Looks for children among all processes. One of the same program is a worker that ignores the
    /// signal as its parent does, by choice.
    pub fn add_children(&mut self, all: &[i32]) {
        let own = proc::executable(self.pid);
        let ignores = |pid: &i32| {
            Status::of(*pid).is_some_and(|status| {
                status.parent == self.pid && proc::has(status.ignored, libc::SIGPIPE)
            }) && proc::executable(*pid).is_some_and(|theirs| own.is_some_and(|own| own != theirs))
                && runtimes(&proc::maps(*pid).unwrap_or_default()).0.is_empty()
        };
        self.ignoring_children = all.iter().copied().filter(ignores).collect();
    }

    /// Of each signal that matters the threads that have it blocked.
    #[must_use]
    pub fn blocked(&self) -> BTreeMap<i32, Vec<i32>> {
        const EVERYTHING: u64 = (1 << 31) - 1;
        const NEVER: u64 = 1 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1);
        // One thread of Node waits for SIGUSR1, does nothing else, and has everything blocked.
        let is_nodes = |mask: u64| (mask | NEVER) & EVERYTHING == EVERYTHING;
        // One of Go keeps the mask of a program that has used os/signal: all but what it has asked
        // for and what Go needs itself. Nothing else runs there.
        let is_gos = |mask: u64| {
            let faults = [libc::SIGBUS, libc::SIGSEGV];
            mask >> 34 == (1 << 30) - 1 && !faults.iter().any(|fault| proc::has(mask, *fault))
        };
        let first = |runtime, is_its: &dyn Fn(u64) -> bool| {
            let has = self.runtimes.contains(&runtime);
            self.masks.iter().position(|(_, mask)| has && is_its(*mask))
        };
        let theirs = [first("Node", &is_nodes), first("Go", &is_gos)];
        let mut found: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        let others = self.masks.iter().enumerate().filter(|(at, _)| !theirs.contains(&Some(*at)));
        for (_, (tid, mask)) in others {
            for signal in MATTERING.into_iter().filter(|signal| proc::has(*mask, *signal)) {
                found.entry(signal).or_default().push(*tid);
            }
        }
        found
    }

    /// Whether Go's scheduler does not get the signal by which it interrupts threads.
    #[must_use]
    pub fn lacks_sigurg(&self) -> bool {
        self.runtimes.contains(&"Go")
            && self.status.disposition(libc::SIGURG) != Disposition::Caught
    }

    /// Keeps what is blocked now as well.
    fn keep_blocked(&mut self, now: impl Fn(i32) -> Option<u64>) {
        for (tid, mask) in self.masks.iter_mut().filter(|(_, mask)| *mask != 0) {
            *mask &= now(*tid).unwrap_or(0);
        }
    }
}

/// Looks once more at processes that have a signal blocked, or a Go program without its SIGURG.
/// Starting a thread or a program blocks all of them for a moment, and in the child of a Go program
/// nothing is caught before it executes another one.
pub fn look_again(all: &mut [Facts]) {
    let mut telling: Vec<&mut Facts> = all
        .iter_mut()
        .filter(|facts| !facts.blocked().is_empty() || facts.lacks_sigurg())
        .collect();
    if !telling.is_empty() {
        std::thread::sleep(Duration::from_millis(20));
    }
    for facts in &mut telling {
        facts.keep_blocked(proc::blocked);
        facts.status = Status::of(facts.pid).unwrap_or_else(|| facts.status.clone());
    }
}

/// Go has another name in each program; of the others the file has one.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static str> {
    let starts = |prefix: &str| name.starts_with(prefix);
    match name {
        "libjvm.so" => Some("JVM"),
        "node" => Some("Node"),
        _ if starts("libpython3") || starts("python3") => Some("CPython"),
        _ => None,
    }
}

fn name_of(line: &Line) -> &str {
    line.mapping.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Files of the C library, by how their names begin.
const OF_C_LIBRARY: [&str; 10] = [
    "libc.so",
    "libc-2.",
    "ld-",
    "libpthread",
    "libresolv",
    "libdl",
    "libm.so",
    "libm-2.",
    "librt",
    "libnss",
];

/// Runtimes, and how many libraries there are beside the C library's own.
fn runtimes(lines: &[Line]) -> (Vec<&'static str>, usize) {
    let mut found = Vec::new();
    let mut libraries = HashSet::new();
    for line in lines.iter().filter(|line| line.inode != 0) {
        let name = name_of(line);
        if let Some(runtime) = by_name(name).filter(|runtime| !found.contains(runtime)) {
            found.push(runtime);
        }
        if name.contains(".so") && !OF_C_LIBRARY.iter().any(|own| name.starts_with(own)) {
            libraries.insert(line.inode);
        }
    }
    (found, libraries.len())
}

fn sockets(pid: i32) -> Option<usize> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let links = entries.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    Some(links.filter(|link| link.as_os_str().as_encoded_bytes().starts_with(b"socket:")).count())
}

fn files(pid: i32, lines: &[Line], writers: &Writers) -> Vec<MappedFile> {
    let mut found: BTreeMap<(u64, PathBuf), (MappedFile, Line)> = BTreeMap::new();
    // Libraries and executables have a mapping that is code.
    let code: HashSet<u64> =
        lines.iter().filter(|line| line.executable).map(|line| line.inode).collect();
    for line in lines.iter().filter(|line| line.inode != 0 && !code.contains(&line.inode)) {
        let mapping = &line.mapping;
        let end = mapping.offset.saturating_add(mapping.end.saturating_sub(mapping.start));
        let key = (line.inode, mapping.path.clone());
        let entry = found.entry(key).or_insert_with(|| {
            let file = MappedFile {
                path: mapping.path.clone(),
                mapped_to: 0,
                shared_writable: false,
                deleted: line.deleted,
                now: Now::default(),
                holes: 0,
                writers: Vec::new(),
            };
            (file, line.clone())
        });
        entry.0.mapped_to = entry.0.mapped_to.max(end);
        entry.0.shared_writable |= line.shared && line.writable;
    }
    let known = found.into_values().filter_map(|(mut file, line)| {
        // That it has lost its name is known without looking.
        let Some(path) = proc::reachable(pid, &line) else { return file.deleted.then_some(file) };
        let status = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
        file.now = proc::now(&path);
        file.holes = status.len().saturating_sub(status.blocks() * 512);
        let others = writers.get(&(status.dev(), status.ino())).into_iter().flatten();
        file.writers = others.copied().filter(|other| *other != pid).collect();
        file.writers.sort_unstable();
        Some(file)
    });
    known.collect()
}

/// Looks at the descriptors of all processes that may be looked at.
pub fn writers(all: &[i32]) -> Writers {
    let mut found = Writers::new();
    for pid in all {
        for file in proc::open_for_writing(*pid).filter(std::fs::Metadata::is_file) {
            found.entry((file.dev(), file.ino())).or_default().insert(*pid);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::Facts;
    use std::collections::BTreeMap;

    const BUS: u64 = 1 << (libc::SIGBUS - 1);

    #[test]
    fn a_thread_of_node_has_everything_blocked_and_a_second_one_is_told() {
        const ALL: u64 = 0xffff_fffe_7ffb_feff;
        let tids = |masks: &[(i32, u64)], runtimes: &[&'static str]| {
            let facts =
                Facts { masks: masks.to_vec(), runtimes: runtimes.to_vec(), ..Facts::default() };
            facts.blocked().remove(&libc::SIGBUS).unwrap_or_default()
        };
        assert_eq!(tids(&[(2, 0), (3, ALL)], &["Node"]), [0; 0]);
        assert_eq!(tids(&[(3, ALL)], &[]), [3]);
        assert_eq!(tids(&[(3, ALL & !1)], &["Node"]), [3]);
        assert_eq!(tids(&[(3, ALL), (4, ALL)], &["Node"]), [4]);
        assert_eq!(tids(&[(3, BUS << 4)], &[]), [0; 0]);
    }

    #[test]
    fn a_thread_of_go_that_keeps_the_mask_is_not_told() {
        const KEPT: u64 = 0xffff_fffc_3bba_3a00;
        let tids = |masks: &[(i32, u64)], runtimes: &[&'static str]| {
            let facts =
                Facts { masks: masks.to_vec(), runtimes: runtimes.to_vec(), ..Facts::default() };
            facts.blocked().remove(&libc::SIGPIPE).unwrap_or_default()
        };
        assert_eq!(tids(&[(2, 0), (3, KEPT)], &["Go"]), [0; 0]);
        assert_eq!(tids(&[(3, KEPT)], &["JVM"]), [3]);
        assert_eq!(tids(&[(3, KEPT), (4, KEPT)], &["Go"]), [4]);
        assert_eq!(tids(&[(3, KEPT | BUS)], &["Go"]), [3]);
        assert_eq!(tids(&[(3, 1 << (libc::SIGPIPE - 1))], &["Go"]), [3]);
    }

    #[test]
    fn what_is_blocked_for_a_moment_is_not_told() {
        let mut facts = Facts { masks: vec![(8, BUS), (9, BUS | 1)], ..Facts::default() };
        facts.keep_blocked(|tid| (tid == 9).then_some(BUS | 2));
        assert_eq!(facts.blocked(), [(libc::SIGBUS, vec![9])].into());
        facts.keep_blocked(|_| Some(1));
        assert_eq!(facts.blocked(), BTreeMap::new());
    }
}

//! Builds the C hosts that lie beside the tests and runs them as processes of their own.
//!
//! A Rust test starts with SIGPIPE ignored and so proves nothing about embedding: each scenario is
//! a C program with real defaults (std's `Command` resets SIGPIPE in the child). Most are built
//! twice from the same source: *bare*, without the library, and *warded*.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod file_systems;

use nix::fcntl::{Flock, FlockArg};
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

pub const SIGPIPE: i32 = libc::SIGPIPE;

/// Of the kernel that runs the tests; some of arm64 have other pages (`scripts/test-arm64-tests`).
pub const PAGE: usize = match option_env!("SIGWARD_TEST_PAGE") {
    None => 4096,
    Some(size) => match usize::from_str_radix(size, 10) {
        Ok(size) => size,
        Err(_) => panic!("SIGWARD_TEST_PAGE is no number"),
    },
};

/// How a host has the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Not at all: `ward()` and its like are empty.
    Bare,
    /// `libsigward.a` of the release profile.
    Archive,
    /// `libsigward.a` of the debug profile.
    DebugArchive,
    /// `libsigward.a`, in a host linked with `-static`.
    Static,
    /// `libsigward.so`.
    Shared,
    /// The archive with the constructors, as Go links it.
    Early,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where cargo puts what it builds: the directory above this test's own `deps`.
pub fn target() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let deps = test.parent().and_then(Path::parent).and_then(Path::parent);
    deps.expect("a test lies in target/PROFILE/deps").to_path_buf()
}

/// Builds the C library once per test binary and profile; cargo keeps what is up to date. With
/// `SIGWARD_TEST_LIBRARIES`, which has the archives of another C library, nothing is built.
pub fn library(profile: &str) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    if let Some(folder) = std::env::var_os("SIGWARD_TEST_LIBRARIES") {
        return PathBuf::from(folder).join(profile);
    }
    let _one_at_a_time = BUILDING.lock();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "-p", "sigward-capi", "--target-dir"])
        .arg(target())
        .current_dir(root());
    if profile == "release" {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo runs").success(), "the C library builds");
    target().join(profile)
}

/// The C library with the constructors; `make archive` builds it in the same place.
fn early_library() -> PathBuf {
    if std::env::var_os("SIGWARD_TEST_LIBRARIES").is_some() {
        return library("early/release");
    }
    let target = target().join("early");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--quiet",
        "--release",
        "-p",
        "sigward-capi",
        "--features",
        "early",
        "--target-dir",
    ]);
    assert!(
        cargo.arg(&target).current_dir(root()).status().expect("cargo runs").success(),
        "it builds"
    );
    target.join("release")
}

/// `cc`, to be given sources: strict, with the library's headers and those that hosts share.
pub fn compiler() -> Command {
    let mut cc = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".into()));
    cc.args(["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-I"]);
    cc.arg(root().join("include")).arg("-I").arg(root().join("tests/support"));
    cc
}

/// `tests/MODULE/NAME`: no two modules have a file of one name.
pub fn source(name: &str) -> PathBuf {
    let modules = std::fs::read_dir(root().join("tests")).expect("the tests are there");
    let found = modules
        .map(|module| module.expect("a folder").path().join(name))
        .find(|path| path.exists());
    found.unwrap_or_else(|| panic!("no module has {name}"))
}

/// Compiles `tests/MODULE/NAME.c` and returns the program.
pub fn host(name: &str, link: Link) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let profile = if link == Link::DebugArchive { "debug" } else { "release" };
    let libraries = match link {
        Link::Bare => PathBuf::new(),
        Link::Early => early_library(),
        _ => library(profile),
    };
    let _one_at_a_time = BUILDING.lock();
    let folder = target().join("hosts");
    std::fs::create_dir_all(&folder).expect("target is writable");
    let program = folder.join(format!("{name}-{link:?}-{}", std::process::id()));
    let mut cc = compiler();
    // Put in place when it is whole: another test may be starting the one that is there.
    let new = program.with_extension("new");
    cc.arg(source(&format!("{name}.c"))).arg("-o").arg(&new);
    match link {
        Link::Bare => drop(cc.arg("-DBARE")),
        Link::Archive | Link::DebugArchive | Link::Early => {
            cc.arg(libraries.join("libsigward.a"));
        }
        Link::Static => drop(cc.arg("-static").arg(libraries.join("libsigward.a"))),
        Link::Shared => {
            // The program asks for the SONAME: give it that name beside the library.
            let soname = libraries.join("libsigward.so.0");
            // In one step: a host that another test has started may be looking for it.
            let new = libraries.join(format!("libsigward.so.{}", std::process::id()));
            let _ = std::fs::remove_file(&new);
            std::os::unix::fs::symlink("libsigward.so", &new).expect("target is writable");
            std::fs::rename(&new, &soname).expect("target is writable");
            cc.arg("-L")
                .arg(&libraries)
                .arg("-lsigward")
                .arg(format!("-Wl,-rpath,{}", libraries.display()));
        }
    }
    cc.args(["-ldl", "-lm"]);
    let output = cc.output().expect("a C compiler is installed");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&new, &program).expect("target is writable");
    program
}

/// `host`, made once per test binary: for hosts that many tests run.
pub fn prepared(name: &'static str, link: Link) -> PathBuf {
    static MADE: Mutex<Option<HashMap<(&str, String), PathBuf>>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let made = made.get_or_insert_with(HashMap::new);
    made.entry((name, format!("{link:?}"))).or_insert_with(|| host(name, link)).clone()
}

/// A folder of its own, removed with all that is in it.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A folder for temporary files' default file system.
    pub fn new(name: &str) -> Self {
        Self::in_folder(&std::env::temp_dir(), name)
    }

    /// Empty: what a run that was killed has left, under the same number of a process, is nobody's.
    pub fn in_folder(parent: &Path, name: &str) -> Self {
        let own = format!("sigward-{name}-{}", std::process::id());
        let names = (0..).map(|next| if next == 0 { own.clone() } else { format!("{own}-{next}") });
        for folder in names.map(|name| parent.join(name)) {
            match std::fs::create_dir(&folder) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => {
                    made.expect("the folder for temporary files is writable");
                    return Self(folder);
                }
            }
        }
        unreachable!("there are as many names as numbers");
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("names of ours are ASCII")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub const APART: &str = "SIGWARD_TEST_APART";
pub const FOLDER: &str = "SIGWARD_TEST_FOLDER";

/// The test of this name, to be started as a process of its own: handlers, counters and limits are
/// of a whole process, and in nobody's child between fork and exec is a file that it wrote still
/// open for writing.
pub fn own(test: &str, folder: &Path) -> Command {
    let mut own = Command::new(std::env::current_exe().expect("a test has a path"));
    own.args([test, "--exact", "--nocapture"]).env(APART, test).env(FOLDER, folder);
    own.stdin(Stdio::null()).stdout(Stdio::null());
    slowed(&mut own);
    own
}

/// Runs `case` to the end if this is the process made for it. `test` is the test that calls: of
/// another name nothing would run, and that would look like success.
#[track_caller]
pub fn if_apart(test: &str, case: impl FnOnce(&Path)) {
    let thread = std::thread::current();
    // With one thread for all tests it is the main one, without their names.
    assert!(
        thread.name().is_some_and(|name| name == test || name == "main"),
        "{test} is {:?}",
        thread.name()
    );
    if std::env::var(APART).is_ok_and(|name| name == test) {
        case(Path::new(&std::env::var_os(FOLDER).expect("set with the name")));
        std::process::exit(0);
    }
}

/// Runs `case` in a process of its own, in a folder of its own.
#[track_caller]
pub fn apart(test: &str, case: fn(&Path)) -> ExitStatus {
    if_apart(test, case);
    let scratch = Scratch::new(test);
    own(test, scratch.path()).status().expect("a test can be started again")
}

#[track_caller]
pub fn lives(test: &str, case: fn(&Path)) {
    let status = apart(test, case);
    assert_eq!(status.code(), Some(0), "{test}: {status}");
}

/// What cannot be tested here is named in the output; with `SIGWARD_REQUIRE_ALL=1` the test fails.
pub fn skip(what: &str) {
    println!("SKIPPED: {what}");
    assert!(
        std::env::var_os("SIGWARD_REQUIRE_ALL").is_none_or(|value| value != "1"),
        "skipped: {what}"
    );
}

/// Capabilities (linux/capability.h) that root in a container may lack.
pub const CAP_SETUID: u32 = 7;
pub const CAP_IPC_LOCK: u32 = 14;
pub const CAP_SYS_NICE: u32 = 23;

/// Whether this process has all of them. If not, `what` is named in the output; it is no failure,
/// whatever `SIGWARD_REQUIRE_ALL` says: nothing can be installed that gives them.
pub fn may(what: &str, capabilities: &[u32]) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective =
        effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).expect("a number");
    let lacks = capabilities.iter().find(|capability| effective >> **capability & 1 == 0);
    if let Some(capability) = lacks {
        println!("SKIPPED: {what}: needs the capability {capability} (capabilities(7))");
    }
    lacks.is_none()
}

/// Whether so many bytes of memory may be locked, by the limit or by the capability.
pub fn may_lock(what: &str, bytes: u64) -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: room for one struct.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } == 0;
    known && limit.rlim_cur >= bytes || may(what, &[CAP_IPC_LOCK])
}

/// What a run came to.
#[derive(Debug)]
pub struct Run {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

impl Run {
    /// The number of the signal that ended it.
    pub fn signal(&self) -> Option<i32> {
        std::os::unix::process::ExitStatusExt::signal(&self.status)
    }

    #[track_caller]
    pub fn lived(&self) -> &Self {
        assert_eq!(self.status.code(), Some(0), "{self:#?}");
        self
    }

    /// Asserts that each row of the host's table ended like this: `exit 0`, `signal 7`. Returns how
    /// many there are.
    #[track_caller]
    pub fn every_row(&self, end: &str) -> usize {
        let rows: Vec<&str> = self.lived().out.lines().collect();
        assert!(!rows.is_empty(), "{self:#?}");
        for row in &rows {
            assert!(row.ends_with(&format!(": {end}")), "{row}\n{}", self.err);
        }
        rows.len()
    }

    #[track_caller]
    pub fn died_of(&self, signal: i32) -> &Self {
        assert_eq!(self.signal(), Some(signal), "{self:#?}");
        self
    }
}

/// How long something may take; an emulator multiplies it.
pub fn patience(seconds: u64) -> Duration {
    let factor = std::env::var("SIGWARD_TEST_PATIENCE").ok().and_then(|factor| factor.parse().ok());
    Duration::from_secs(seconds * factor.unwrap_or(1))
}

/// Runs a program with these arguments, for at most ten minutes: on a busy machine some hosts that
/// start hundreds of processes take five.
pub fn run(program: &Path, arguments: &[&str]) -> Run {
    let mut command = Command::new(program);
    command.args(arguments);
    run_command(command)
}

/// Preloads what `SIGWARD_SLOW` names (`tests/support/slow.c`): `make soak` runs hosts so.
pub fn slowed(command: &mut Command) {
    if let Some(library) = std::env::var_os("SIGWARD_SLOW") {
        command.env("LD_PRELOAD", library);
    }
}

pub fn run_command(mut command: Command) -> Run {
    slowed(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the host starts");
    let deadline = Instant::now() + patience(600);
    // Hosts print less than a pipe holds, so nobody has to read meanwhile.
    while child.try_wait().expect("a child of ours").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("a child of ours");
            let output = child.wait_with_output().expect("a child of ours");
            panic!("{command:?} hung: {output:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let Output { status, stdout, stderr } = child.wait_with_output().expect("a child of ours");
    Run {
        status,
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Runs one scenario of a host with a folder of its own as the argument.
pub fn in_folder(host: &'static str, scenario: &str, link: Link) -> Run {
    run(&prepared(host, link), &[scenario, Scratch::new(scenario).as_str()])
}

/// Runs one scenario of a host bare and warded.
pub fn both(name: &str, scenario: &str) -> (Run, Run) {
    (run(&host(name, Link::Bare), &[scenario]), run(&host(name, Link::Archive), &[scenario]))
}

/// The machine's own settings (/proc/sys) as they are, until dropped: no test changes one
/// meanwhile, not those of another checkout either.
#[derive(Debug)]
pub struct Settings {
    _held: Flock<File>,
}

impl Settings {
    pub fn as_they_are() -> Self {
        Self::locked(FlockArg::LockShared)
    }

    fn locked(how: FlockArg) -> Self {
        let everybodys =
            File::open(std::env::temp_dir()).expect("the folder for temporary files is there");
        Self { _held: Flock::lock(everybodys, how).expect("flock(2) of a folder") }
    }
}

/// One of the machine's settings with another value, until dropped.
#[derive(Debug)]
pub struct Setting {
    path: PathBuf,
    before: String,
    _alone: Settings,
}

impl Setting {
    /// Makes something else of what /proc/sys/`name` was; None where that is not allowed.
    pub fn change(name: &str, to: impl FnOnce(&str) -> String) -> Option<Self> {
        let alone = Settings::locked(FlockArg::LockExclusive);
        let path = Path::new("/proc/sys").join(name);
        let before = std::fs::read_to_string(&path).expect("Linux has it");
        match std::fs::write(&path, to(before.trim())) {
            Ok(()) => Some(Self { path, before, _alone: alone }),
            Err(error) => {
                skip(&format!("{}: {error}", path.display()));
                None
            }
        }
    }

    /// Eight huge pages more than there are, if there is memory for them.
    pub fn huge_pages() -> Option<Self> {
        let count = |text: &str| text.trim().parse::<u64>().unwrap_or_default();
        let pages = Self::change("vm/nr_hugepages", |before| (count(before) + 8).to_string())?;
        let there = std::fs::read_to_string(&pages.path).expect("Linux has it");
        if count(&there) < count(&pages.before) + 8 {
            skip("huge pages: the kernel has no memory for them");
            return None;
        }
        Some(pages)
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        std::fs::write(&self.path, &self.before).expect("it was written before");
    }
}

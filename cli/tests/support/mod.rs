//! Runs the command, in a folder of the test's own.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod schema;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a run of the command has said.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Run {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The command, as it was built for the tests.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sigward"));
    command.stdin(Stdio::null());
    for name in ["SIGWARD", "SIGWARD_LOG", "LD_PRELOAD"] {
        command.env_remove(name);
    }
    command
}

pub fn sigward(arguments: &[&str]) -> Run {
    finish(command().args(arguments))
}

/// Runs any command to its end.
pub fn finish(command: &mut Command) -> Run {
    use std::os::unix::process::ExitStatusExt;
    let output = command.output().expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0));
    Run { code, out: text(output.stdout), err: text(output.stderr) }
}

/// Starts a program with a descriptor for stdin and stdout only (a socket would be a finding), and
/// waits until it says that it is ready.
pub fn ready(program: &Path, arguments: &[&str]) -> Child {
    let mut start = Command::new(program);
    start.args(arguments).env_remove("LD_PRELOAD");
    ready_as(&mut start)
}

/// The same of a command.
pub fn ready_as(start: &mut Command) -> Child {
    start.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    // What whoever has started the tests has left open, a pipe that nobody reads, is a finding too.
    let alone = || {
        // SAFETY: no pointers.
        unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        Ok(())
    };
    // SAFETY: one system call.
    unsafe { std::os::unix::process::CommandExt::pre_exec(start, alone) };
    let mut child = start.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

/// A folder that goes with the test.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("sigward-cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.0.join(name), bytes).expect("a file");
        self.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A folder on a disk of 256 KiB, which goes with the test.
pub struct SmallDisk(Scratch);

impl SmallDisk {
    /// None without leave to mount.
    pub fn mount(name: &str) -> Option<Self> {
        let folder = Scratch::new(name);
        let mut mount = Command::new("mount");
        let mount =
            finish(mount.args(["-t", "tmpfs", "-o", "size=256k", "none"]).arg(folder.path()));
        missing_unless(mount.code == 0, "leave to mount a tmpfs").then(|| Self(folder))
    }

    pub fn join(&self, name: &str) -> String {
        self.0.join(name)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        finish(Command::new("umount").arg(self.0.path()));
    }
}

/// Builds the library to preload, where the other tests of this repository build it.
pub fn library() -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_path_buf();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "-p", "sigward-capi", "--target-dir"]).arg(&target);
    let done = finish(&mut cargo);
    assert_eq!(done.code, 0, "{done:?}");
    target.join("debug/libsigward.so")
}

/// Builds `victims/NAME` once for all test programs, in the folder of their target.
pub fn victim(name: &str) -> PathBuf {
    use std::sync::Mutex;
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = root.join("tests/victims").join(name);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let program = folder.join(name.replace('.', "-"));
    let age = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    if age(&program) > age(&source) {
        return program;
    }
    // Another test program may build it as well.
    let fresh = folder.join(format!("{name}-{}", std::process::id()));
    let mut build = match name.rsplit('.').next() {
        Some("c") => {
            let mut build = Command::new("cc");
            build.args(["-O1", "-g0", "-w", "-pthread"]);
            build
        }
        Some("cpp") => {
            let mut build = Command::new("c++");
            build.args(["-O1", "-g0"]);
            build
        }
        Some("go") => {
            let mut build = Command::new("go");
            build.arg("build");
            build
        }
        _ => {
            let mut build = Command::new("rustc");
            build.args(["-O", "--edition=2024"]);
            build
        }
    };
    build.arg("-o").arg(&fresh).arg(&source).stdin(Stdio::null());
    assert!(build.status().expect("a compiler").success(), "{name} compiles");
    std::fs::rename(&fresh, &program).expect("it is there");
    program
}

/// A tool that a test needs: without it the test is left out, or wrong where all are required.
pub fn have(tool: &str) -> bool {
    missing_unless(is_installed(tool), tool)
}

pub fn is_installed(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(tool).exists())
}

/// Says what is left out, and fails where all is required.
pub fn missing_unless(found: bool, what: &str) -> bool {
    assert!(found || std::env::var_os("SIGWARD_REQUIRE_ALL").is_none(), "missing: {what}");
    left_out_unless(found, what)
}

/// Says what is left out, for want of what a machine or a user may well lack.
pub fn left_out_unless(found: bool, what: &str) -> bool {
    if !found {
        eprintln!("left out: no {what}");
    }
    found
}

/// Asks until there is an answer.
pub fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "it does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A line of /proc/PID/status.
pub fn status(pid: u32, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    line.unwrap_or_default().to_owned()
}

pub fn send(pid: u32, signal: i32) {
    // SAFETY: a process that the test has started and not yet waited for.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}

pub fn attach(pid: u32) -> Child {
    let mut start = command();
    let watcher =
        start.args(["watch", &pid.to_string()]).stdout(Stdio::piped()).stderr(Stdio::piped());
    watcher.spawn().unwrap()
}

pub fn is_traced_by(pid: u32, tracer: u32) -> bool {
    status(pid, "TracerPid") == tracer.to_string()
}

/// What an account finds.
pub fn ids(account: &serde_json::Value) -> Vec<&str> {
    let findings = account["findings"].as_array().expect("a list");
    findings.iter().map(|found| found["id"].as_str().expect("a text")).collect()
}

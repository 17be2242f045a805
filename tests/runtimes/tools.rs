//! Finds runtimes, builds their C halves, and says what is not installed.

pub use crate::support::Scratch;

use crate::support::{Run, compiler, library, root, target};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// What a C half becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    Program,
    Library,
}

/// Whether it has sigward, and from which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ward {
    /// Not at all.
    Bare,
    /// `libsigward.a` is in it.
    Archive,
}

/// Passes on what was found. If it is missing: says so past the test harness, which hides what
/// passing tests print; with `SIGWARD_REQUIRE_ALL=1` the test fails.
pub fn need<T>(runtime: &str, found: Option<T>) -> Option<T> {
    if found.is_none() {
        let line = format!("{runtime} is not installed: run tests/runtimes/setup");
        assert!(std::env::var_os("SIGWARD_REQUIRE_ALL").is_none_or(|value| value != "1"), "{line}");
        let _ = writeln!(std::io::stderr(), "skipped: {line}");
    }
    found
}

/// The first line that a command prints, if it runs.
pub fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?.lines().next()?.trim().to_string();
    output.status.success().then_some(line)
}

pub fn source(name: &str) -> PathBuf {
    root().join("tests/runtimes").join(name)
}

/// Where what the tests build lies.
pub fn folder() -> PathBuf {
    let folder = target().join("runtimes");
    std::fs::create_dir_all(&folder).expect("target is writable");
    folder
}

/// The shared library, as a program that loads it sees it.
pub fn shared_library() -> PathBuf {
    library("release").join("libsigward.so")
}

/// Compiles `tests/runtimes/NAME.c`, once per test run, and returns the file.
pub fn build(name: &str, made: Made, ward: Ward, flags: &[&str]) -> PathBuf {
    static BUILT: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    let archive = (ward == Ward::Archive).then(|| library("release").join("libsigward.a"));
    let suffix = if made == Made::Library { ".so" } else { "" };
    let file = folder().join(format!("{name}-{ward:?}{suffix}"));
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if built.contains(&file) {
        return file;
    }
    // Made under another name first: a second test run may be using the file.
    let fresh = folder().join(format!("{name}-{ward:?}.{}", std::process::id()));
    let mut cc = compiler();
    cc.arg(source(&format!("{name}.c"))).arg("-o").arg(&fresh);
    if made == Made::Library {
        cc.args(["-shared", "-fPIC"]);
    }
    match archive {
        Some(archive) => drop(cc.arg(archive)),
        None => drop(cc.arg("-DBARE")),
    }
    let output = cc.args(flags).args(["-ldl", "-lm"]).output().expect("a C compiler is installed");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&fresh, &file).expect("target is writable");
    built.push(file.clone());
    file
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Both lived and said the same: nobody noticed us.
#[track_caller]
pub fn same(bare: &Run, warded: &Run) {
    assert_eq!(bare.lived().out, warded.lived().out, "bare {bare:#?}\nwarded {warded:#?}");
}

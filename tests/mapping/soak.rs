//! The chaos soak of guarded maps (`tests/mapping/soak.h` tells what it does and how it judges):
//! our library, a plain guard without defects, which shows that the soak itself is sound, and seven
//! guards with one defect each, which it must find.
//!
//! `SIGWARD_SOAK_SECONDS` (5) is how long ours is soaked, `SIGWARD_SOAK_SEED` one seed for all.

#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use support::{Run, library, slowed, target};

const PARTS: [&str; 4] = ["soak", "soak_oracle", "soak_views", "soak_others"];

/// One after the other: each soak is meant to have the processors for itself.
static ALONE: Mutex<()> = Mutex::new(());

fn build(name: &str, parts: &[&str], arguments: &[&str]) -> PathBuf {
    let folder = target().join("hosts");
    std::fs::create_dir_all(&folder).expect("target is writable");
    let program = folder.join(format!("{name}-{}", std::process::id()));
    let mut cc = support::compiler();
    cc.args(parts.iter().map(|part| support::source(&format!("{part}.c"))));
    cc.args(arguments).args(["-ldl", "-lm", "-o"]).arg(&program);
    let output = cc.output().expect("a C compiler is installed");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    program
}

/// Two folders on two file systems, for as long as this lives.
struct Folders([PathBuf; 2]);

impl Folders {
    fn new(name: &str) -> Self {
        let own = format!("sigward-{name}-{}", std::process::id());
        let folders = [Path::new("/dev/shm").join(&own), std::env::temp_dir().join(&own)];
        for folder in &folders {
            std::fs::create_dir_all(folder).expect("there is room for files");
        }
        Self(folders)
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        for folder in &self.0 {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// Runs a soak; it ends by itself, and kills itself if it is stuck.
fn soak(program: &Path, name: &str, seconds: f64) -> Run {
    let _alone = ALONE.lock();
    let folders = Folders::new(name);
    let seed =
        std::env::var("SIGWARD_SOAK_SEED").unwrap_or_else(|_| std::process::id().to_string());
    let mut command = Command::new(program);
    slowed(&mut command);
    let output = command
        .arg(seconds.to_string())
        .arg(&seed)
        .args(&folders.0)
        .output()
        .expect("the soak starts");
    let run = Run {
        status: output.status,
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    println!("{name}, seed {seed}: {}\n{}{}", run.status, run.out, run.err);
    run
}

fn naive(number: u32, seconds: f64) -> Run {
    let name = format!("naive{number}");
    let mut parts = PARTS.to_vec();
    parts.push("naive");
    soak(&build(&name, &parts, &[&format!("-DNAIVE={number}")]), &name, seconds)
}

/// What the soak counted under this name; none if it died before it could say so.
fn figure(run: &Run, name: &str) -> Option<u64> {
    let (_, rest) = run.out.split_once(&format!("\"{name}\": "))?;
    rest.split([',', '}']).next()?.parse().ok()
}

/// It died of this signal, or a forked child of it did, of which it tells.
fn died_of(run: &Run, signal: i32) -> bool {
    run.signal() == Some(signal) || found(run, &["unexpected"])
}

/// It ran to its end and found one of these.
fn found(run: &Run, wrongs: &[&str]) -> bool {
    run.status.code() == Some(1)
        && wrongs.iter().any(|wrong| figure(run, wrong).is_some_and(|count| count > 0))
}

#[test]
fn guarded_maps_survive_the_soak() {
    let seconds = std::env::var("SIGWARD_SOAK_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(5.0);
    let archive = library("release").join("libsigward.a");
    let mut parts = PARTS.to_vec();
    parts.extend(["soak_adopter", "soak_pipes"]);
    let program = build("soak", &parts, &[archive.to_str().expect("a plain path")]);
    soak(&program, "soak", seconds).lived();
}

#[test]
fn a_plain_guard_without_defects_passes() {
    naive(0, 3.0).lived();
}

/// Long enough that each defect shows, also on one processor; the soak ends when it does.
const PATIENCE: f64 = 150.0;

/// A reader takes zeros for the file's bytes, or a writer takes what went to a patch for written.
#[test]
fn poison_after_the_page_is_found() {
    let run = naive(1, PATIENCE);
    assert!(found(&run, &["unflagged", "lost"]), "{run:?}");
}

/// Zeros come down on other people's memory: a neighbour's, another map's, or what the process
/// needs to live.
#[test]
fn closing_without_grace_is_found() {
    let run = naive(2, PATIENCE);
    let destroyed = run.signal().is_some();
    assert!(
        destroyed
            || found(&run, &["clobbers", "unflagged", "wrong", "lost", "overreach", "unexpected"]),
        "{run:?}"
    );
}

#[test]
fn a_page_patched_twice_is_found() {
    let run = naive(3, PATIENCE);
    assert!(found(&run, &["lost"]), "{run:?}");
}

#[test]
fn giving_up_at_the_second_fault_dies() {
    let run = naive(4, PATIENCE);
    assert!(died_of(&run, libc::SIGBUS), "{run:?}");
}

#[test]
fn a_flush_that_lies_is_found() {
    let run = naive(5, PATIENCE);
    assert!(found(&run, &["lost"]), "{run:?}");
}

#[test]
fn patching_whatever_faults_is_found() {
    let run = naive(6, PATIENCE);
    assert!(found(&run, &["clobbers", "stolen"]), "{run:?}");
}

#[test]
fn without_a_handler_it_dies() {
    let run = naive(7, PATIENCE);
    assert!(died_of(&run, libc::SIGBUS), "{run:?}");
}

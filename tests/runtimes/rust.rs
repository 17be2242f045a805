//! A program whose `main` is Rust's: std has set SIGPIPE to SIG_IGN above the seat that our
//! constructor took, and has handlers for SIGSEGV and SIGBUS.

use crate::support::{Run, SIGPIPE, run};
use crate::tools::{Ward, folder, same, source};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

/// Builds the programs with or without the crate, and returns one of them.
pub fn host(ward: Ward, name: &str) -> PathBuf {
    static BUILT: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    let target = folder().join(if ward == Ward::Bare { "rust-bare" } else { "rust-warded" });
    let program = target.join("debug").join(name);
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if built.contains(&target) {
        return program;
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--target-dir"]).arg(&target);
    cargo.arg("--manifest-path").arg(source("rust/Cargo.toml"));
    if ward == Ward::Archive {
        cargo.args(["--features", "warded"]);
    }
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    built.push(target);
    program
}

fn both(scenario: &str) -> (Run, Run) {
    let start = |ward| run(&host(ward, "runtimes-rust-host"), &[scenario]);
    (start(Ward::Bare), start(Ward::Archive))
}

const EPIPE: &str = "(-1, BrokenPipe)\n";

#[test]
fn stds_ignored_sigpipe_stays_ignored() {
    let (bare, warded) = both("ignored_write");
    assert_eq!(bare.lived().out, format!("{EPIPE}bare\n"));
    assert_eq!(warded.lived().out, format!("{EPIPE}AlreadyIgnored Covered\n"));
    let (bare, warded) = both("ignored_kill");
    same(&bare, &warded);
}

#[test]
fn at_its_default_a_write_kills_and_does_not_with_us() {
    let (bare, warded) = both("default_write");
    bare.died_of(SIGPIPE);
    assert_eq!(warded.lived().out, format!("{EPIPE}Filtered {{ previous: Default }} OnTop\n"));
    let (bare, warded) = both("default_kill");
    bare.died_of(SIGPIPE);
    warded.died_of(SIGPIPE);
}

#[test]
fn a_default_set_after_us_is_mended_by_ensure_on_top() {
    let (bare, warded) = both("late_write");
    bare.died_of(SIGPIPE);
    warded.died_of(SIGPIPE);
    let (bare, warded) = both("mended_write");
    bare.died_of(SIGPIPE);
    assert_eq!(warded.lived().out, format!("{EPIPE}Filtered {{ previous: Default }} OnTop\n"));
}

#[test]
fn stds_handlers_of_faults_work_on() {
    for disposition in ["ignored", "default"] {
        let (bare, warded) = both(&format!("{disposition}_overflow"));
        for run in [bare, warded] {
            assert!(
                run.died_of(libc::SIGABRT).err.contains("has overflowed its stack"),
                "{run:#?}"
            );
        }
        let (bare, warded) = both(&format!("{disposition}_bus"));
        assert_eq!(
            (bare.signal(), &bare.out),
            (warded.signal(), &warded.out),
            "{bare:#?} {warded:#?}"
        );
    }
}

#[test]
fn children_of_command_and_system_start_as_if_we_were_not_there() {
    for disposition in ["ignored", "default", "late", "mended"] {
        let (bare, warded) = both(&format!("{disposition}_children"));
        same(&bare, &warded);
        assert_eq!(bare.out.lines().count(), 9, "{bare:#?}");
    }
}

#[test]
fn in_place_of_stds_sig_ign_the_filter_swallows_and_children_start_with_the_default() {
    let (bare, warded) = both("replaced_write");
    assert_eq!(bare.lived().out, format!("{EPIPE}bare\n"));
    assert_eq!(warded.lived().out, format!("{EPIPE}Filtered {{ previous: Ignored }} OnTop\n"));
    // What is no echo is ignored as before.
    let (bare, warded) = both("replaced_kill");
    same(&bare, &warded);
    let bare_default = run(&host(Ward::Bare, "runtimes-rust-host"), &["default_children"]);
    let (bare, warded) = both("replaced_children");
    same(&bare_default, &warded);
    assert_ne!(bare.lived().out, warded.out, "std's SIG_IGN reaches children");
}

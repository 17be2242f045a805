//! `mmap.mmap` of CPython, adopted through ctypes. Bare, a truncation under any of Python's ways to
//! read kills the interpreter; adopted, the bytes that are left come over and the status names the
//! first lost one.

use crate::python::python;
use crate::support::{Run, run_command};
use crate::tools::{Scratch, Ward, shared_library, source};
use std::process::Command;

const SIGBUS: i32 = libc::SIGBUS;
const LOST: &str = "truncated at 10000 of 10000 by a read";

fn run(python: &str, scenario: &str, ward: Ward) -> Run {
    let scratch = Scratch::new("python-map");
    let mut command = Command::new(python);
    command.arg(source("map_host.py")).arg(scenario).arg(scratch.path());
    if ward == Ward::Archive {
        command.arg(shared_library());
    }
    run_command(command)
}

fn both(python: &str, scenario: &str) -> (Run, Run) {
    (run(python, scenario, Ward::Bare), run(python, scenario, Ward::Archive))
}

#[test]
fn a_map_truncated_under_pythons_reads_kills_bare_and_is_a_status_with_us() {
    let Some(python) = python() else { return };
    for reader in ["slice", "index", "find", "regex", "view", "crc", "hash"] {
        let (bare, warded) = both(&python, &format!("read_{reader}"));
        bare.died_of(SIGBUS);
        // Truncated and healed three times.
        let expected = format!("True True {LOST}\nTrue intact\n").repeat(3);
        assert_eq!(warded.lived().out, expected, "{reader}");
    }
}

#[test]
fn a_store_into_a_lost_page_kills_bare_and_is_a_status_with_us() {
    let Some(python) = python() else { return };
    let (bare, warded) = both(&python, "write");
    bare.died_of(SIGBUS);
    // The file is as short as it was: the byte went nowhere, and the status says so.
    assert_eq!(warded.lived().out, "10000 truncated at 10000 of 10000 by a write\n");
}

#[test]
fn what_is_not_ours_or_not_ours_any_more_kills_as_ever() {
    let Some(python) = python() else { return };
    for scenario in ["closed", "another"] {
        let (bare, warded) = both(&python, scenario);
        for run in [bare, warded] {
            assert_eq!(run.died_of(SIGBUS).out, "next: a death\n", "{scenario}");
        }
    }
}

/// What faulthandler prints when the interpreter dies of this.
#[track_caller]
fn reported<'a>(run: &'a Run, signal: i32, name: &str) -> &'a Run {
    let report = format!("Fatal Python error: {name}");
    assert!(run.died_of(signal).err.starts_with(&report), "{run:#?}");
    run
}

#[test]
fn faulthandler_beneath_us_reports_what_is_not_ours() {
    let Some(python) = python() else { return };
    let (bare, warded) = both(&python, "faults_before");
    reported(&bare, SIGBUS, "Bus error");
    assert_eq!(
        reported(&warded, libc::SIGSEGV, "Segmentation fault").out,
        format!("True {LOST}\n")
    );
}

#[test]
fn faulthandler_above_us_is_told_by_thread_check_and_takes_no_fault_of_a_map() {
    let Some(python) = python() else { return };
    let (bare, warded) = both(&python, "faults_above");
    // It reports, puts us back and raises again: the fault that it was called for is still the
    // map's.
    assert_eq!(reported(&bare, SIGBUS, "Bus error").out, "check bare\n");
    let run = warded.died_of(libc::SIGSEGV);
    assert_eq!(run.out, format!("check 2\nTrue {LOST}\n"), "{run:#?}");
    let (bare, warded) = both(&python, "faults_mended");
    reported(&bare, SIGBUS, "Bus error");
    let expected = format!("check 2\ncheck 0\nTrue {LOST}\n");
    assert_eq!(reported(&warded, libc::SIGSEGV, "Segmentation fault").out, expected);
}

//! The checked copy, beside its bare twin, which is memcpy. `src/sigbus/copy/tests.rs` has the
//! ways that this machine does not take by itself.

#[path = "../support/mod.rs"]
mod support;

use std::process::Command;
use support::{Link, Run, library, prepared, run, run_command};

const SIGBUS: i32 = libc::SIGBUS;
const SIGSEGV: i32 = libc::SIGSEGV;

fn bare(scenario: &str) -> Run {
    run(&prepared("copy", Link::Bare), &[scenario])
}

fn warded(scenario: &str) -> Run {
    run(&prepared("copy", Link::Archive), &[scenario])
}

// ---- how much came over ----

#[test]
fn the_count_is_exact_for_every_length_and_every_cut() {
    bare("bus").died_of(SIGBUS);
    warded("bus").lived();
    run(&prepared("copy", Link::DebugArchive), &["bus"]).lived();
}

#[test]
fn the_count_is_exact_where_nothing_is_mapped() {
    bare("segv").died_of(SIGSEGV);
    warded("segv").lived();
}

#[test]
fn one_copy_behind_the_end_of_a_file() {
    bare("copy_bus").died_of(SIGBUS);
    for link in [Link::Archive, Link::Shared, Link::Static] {
        assert_eq!(run(&prepared("copy", link), &["copy_bus"]).lived().out, "1000\n", "{link:?}");
    }
}

/// Nobody has taken the seat, and the copy takes none (`tests/chain/arming.rs`).
#[test]
fn without_the_seat_the_kernel_copies_as_exactly() {
    let unguarded = |scenario: &str| {
        let mut command = Command::new(prepared("copy", Link::Archive));
        command.arg(scenario).env("UNGUARDED", "1");
        run_command(command)
    };
    for scenario in ["bus", "nothing_to_copy", "in_handler"] {
        unguarded(scenario).lived();
    }
    for scenario in ["copy_bus", "after_fork"] {
        assert_eq!(unguarded(scenario).lived().out, "1000\n");
    }
    // As memcpy: the copy is for what SIGBUS says.
    unguarded("copy_segv").died_of(SIGSEGV);
    unguarded("other_bus").died_of(SIGBUS);
}

#[test]
fn null_and_impossible_lengths_copy_nothing() {
    bare("nothing_to_copy").died_of(SIGSEGV);
    warded("nothing_to_copy").lived();
}

// ---- what is not the copy's ----

#[test]
fn a_segv_is_nobodys_business_until_asked_for() {
    bare("copy_segv").died_of(SIGSEGV);
    warded("copy_segv").died_of(SIGSEGV);
    for run in [bare("segv_of_others"), warded("segv_of_others")] {
        assert_eq!(run.lived().out, "signal 11, at the end\n");
    }
}

#[test]
fn a_fault_in_other_code_still_ends_the_process() {
    for run in [bare("other_bus"), warded("other_bus"), bare("sent_bus"), warded("sent_bus")] {
        run.died_of(SIGBUS);
    }
    for run in [bare("other_segv"), warded("other_segv"), bare("sent_segv"), warded("sent_segv")] {
        run.died_of(SIGSEGV);
    }
    assert_eq!(warded("sent_bus").out, "1000\n");
}

#[test]
fn a_fault_in_other_code_reaches_the_handler_that_was_there() {
    for run in [bare("handled_bus"), warded("handled_bus")] {
        assert_eq!(run.lived().out, "signal 7, at the end\n");
    }
    for run in [bare("handled_segv"), warded("handled_segv")] {
        assert_eq!(run.lived().out, "signal 11, at the end\n");
    }
}

// ---- wherever it is called ----

#[test]
fn in_many_threads_at_once() {
    assert!([SIGBUS, SIGSEGV].map(Some).contains(&bare("threads").signal()));
    warded("threads").lived();
}

#[test]
fn in_a_signal_handler() {
    bare("in_handler").died_of(SIGBUS);
    warded("in_handler").lived();
    warded("in_our_handler").lived();
}

#[test]
fn after_fork() {
    bare("after_fork").died_of(SIGBUS);
    assert_eq!(warded("after_fork").lived().out, "1000\n");
}

#[test]
fn the_callers_registers_are_as_they_were() {
    for link in [Link::Archive, Link::DebugArchive] {
        run(&prepared("copy", link), &["registers"]).lived();
    }
}

#[test]
fn the_copy_is_to_be_seen_only_by_its_functions_names() {
    let names = Command::new("nm").arg("-D").arg(library("release").join("libsigward.so")).output();
    let names = String::from_utf8(names.expect("nm runs").stdout).expect("names are ASCII");
    assert!(names.contains(" T sigward_try_copy@@"));
    assert!(!names.contains("_sigward_copy"), "{names}");
}

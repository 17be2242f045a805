//! Guarded maps in C hosts: every cause, exact to the byte; every kind of access; whose a SIGBUS
//! is; bad input; maps that somebody else made. Each loss kills the bare twin of the same lines.

#[path = "../support/mod.rs"]
mod support;

use libc::{SIGABRT, SIGBUS};
use std::process::Command;
use support::{Link, PAGE, Scratch, in_folder, prepared, run_command};

/// Every row of the table dies bare and lives with the library of either profile.
#[track_caller]
fn dies_bare_lives_warded(host: &'static str, table: &str) {
    let rows = in_folder(host, table, Link::Bare).every_row(&format!("signal {SIGBUS}"));
    assert_eq!(in_folder(host, table, Link::Archive).every_row("exit 0"), rows);
    assert_eq!(in_folder(host, table, Link::DebugArchive).every_row("exit 0"), rows);
}

/// Every row ends the same, with us or without.
#[track_caller]
fn as_bare(host: &'static str, table: &str) -> String {
    let bare = in_folder(host, table, Link::Bare);
    for link in [Link::Archive, Link::DebugArchive] {
        let warded = in_folder(host, table, link);
        assert_eq!(bare.lived().out, warded.lived().out, "{link:?}: {}", warded.err);
    }
    bare.out
}

// ---- causes and exactness ----

#[test]
fn a_file_cut_to_any_length_is_told_to_the_byte() {
    dies_bare_lives_warded("maps", "lengths");
}

#[test]
fn a_read_across_the_end_returns_what_is_intact() {
    dies_bare_lives_warded("maps", "reads");
}

#[test]
fn every_way_to_lose_bytes_is_told() {
    dies_bare_lives_warded("maps", "ways");
}

#[test]
fn what_raises_no_signal_is_told_by_verify() {
    assert!(!as_bare("map_silent", "silent").contains("99"));
    in_folder("map_silent", "silent", Link::Archive).every_row("exit 0");
}

#[test]
fn every_kind_of_access_meets_zeros_and_poison() {
    dies_bare_lives_warded("map_accesses", "accesses");
}

// ---- signals ----

#[test]
fn a_lost_tail_of_eight_mebibytes_is_one_signal() {
    in_folder("map_signals", "one_fault", Link::Bare).died_of(SIGBUS);
    let warded = in_folder("map_signals", "one_fault", Link::Archive);
    assert_eq!(warded.lived().out, "faults 1 patches 1 healed 0\n");
    in_folder("map_signals", "one_patch", Link::Bare).died_of(SIGBUS);
    in_folder("map_signals", "one_patch", Link::Archive).lived();
}

#[test]
fn a_predecessor_sees_what_is_its_own() {
    let bare = in_folder("map_signals", "predecessors", Link::Bare);
    let rows = bare.every_row("exit 0");
    print!("{}", bare.err); // what an emulator does not do
    for link in [Link::Archive, Link::DebugArchive] {
        assert_eq!(in_folder("map_signals", "predecessors", link).every_row("exit 0"), rows);
    }
}

#[test]
fn what_kills_without_us_kills_with_us() {
    let ends = as_bare("map_signals", "deaths");
    assert_eq!(ends.matches(": signal 7\n").count(), 9, "{ends}");
    assert_eq!(ends.matches(": signal 11\n").count(), 1, "{ends}");
}

#[test]
fn the_seat_is_kept_and_taken_again() {
    dies_bare_lives_warded("map_seat", "seat");
    in_folder("map_seat", "thread_check", Link::Archive).lived();
    in_folder("map_seat", "leaving", Link::Archive).died_of(SIGBUS);
    in_folder("map_seat", "circle", Link::Archive).died_of(SIGBUS);
}

#[test]
fn a_foreign_fault_dies_at_its_instruction_with_its_address() {
    let ends = as_bare("map_seat", "faithful");
    assert!(!ends.contains("moved"), "{ends}");
    let address = 3 * PAGE + 5;
    assert!(ends.contains(&format!("load: signal 7, code 2, address {address},")), "{ends}");
}

#[test]
fn a_loss_leaves_a_record_and_a_line() {
    let scratch = Scratch::new("event");
    let mut host = Command::new(prepared("map_seat", Link::Archive));
    host.args(["event", scratch.as_str()]).env("SIGWARD_LOG", "stderr");
    let told = run_command(host);
    let line = told.lived().out.trim_end();
    let lost = format!("from byte {} on: the file was cut to {} bytes", 2 * PAGE + 7, 3 * PAGE + 7);
    for part in ["SIGBUS caught: read by map_seat-", "on thread \"reader\"", "-told (inode ", &lost]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
    // Once, though two loads met it; a handler does not look for the library that called.
    assert_eq!(told.err.lines().count(), 1, "{told:?}");
    assert!(told.err.starts_with("sigward: SIGBUS caught: read on thread \"reader\""), "{told:?}");
    assert!(told.err.contains(&lost), "{told:?}");
}

// ---- bad input ----

#[test]
fn bad_input_is_refused_and_leaves_nothing_behind() {
    for link in [Link::Archive, Link::DebugArchive] {
        for case in ["files", "options", "null_pointers", "lengths", "adopt"] {
            in_folder("map_bad", case, link).lived();
        }
    }
}

#[test]
fn the_debug_library_ends_the_use_of_a_closed_map_with_a_line() {
    for (case, line) in [
        ("closed_twice", "closed twice"),
        ("used_after_close", "used after it was closed"),
        ("adopted_closed_twice", "closed twice"),
    ] {
        let run = in_folder("map_bad", case, Link::DebugArchive);
        assert!(run.died_of(SIGABRT).err.contains(line), "{run:?}");
    }
}

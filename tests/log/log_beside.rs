//! Two things at once at one log: openers beside openers that are killed at any moment, readers
//! beside writers that die and recover, a reader beside flushes that fail, forks beside appends.
//! Each through a map and without one; bare is a log as people write it.

#[path = "../support/mod.rs"]
mod support;

use support::file_systems::{BTRFS, EXT4, FileSystem, ON_DEVICE, TMPFS, XFS};
use support::{Link, Run, prepared};

/// What the host finds in its environment, for either way.
const WAYS: [&str; 2] = ["", "SIGWARD_TEST_LOG_MAPPED=1"];

fn run(file_system: &FileSystem, scenario: &str, more: &str, link: Link, way: &str) -> Run {
    let script = format!(r#"exec env {way} "$1" {scenario} "$M" {more}"#);
    file_system.shell(&script, &prepared("log_beside", link))
}

#[track_caller]
fn whole(file_systems: &[&FileSystem], scenario: &str, more: &str) {
    for file_system in file_systems.iter().filter(|file_system| file_system.is_here()) {
        for way in WAYS {
            let run = run(file_system, scenario, more, Link::Archive, way);
            assert_eq!(run.lived().out, "whole\n", "{} {way}: {run:#?}", file_system.name);
        }
    }
}

/// A check of the host's has failed: something was lost, or two had it at once.
#[track_caller]
fn fails_bare(scenario: &str, more: &str) {
    let bare = run(&TMPFS, scenario, more, Link::Bare, "");
    println!("bare: {}", bare.err);
    assert_eq!(bare.status.code(), Some(99), "{bare:#?}");
}

#[test]
fn openers_beside_openers_that_are_killed_lose_nothing_and_one_has_it() {
    fails_bare("openers", "20");
    whole(&[&TMPFS], "openers", "20");
    whole(&[&EXT4, &XFS, &BTRFS], "openers", "2");
}

#[test]
fn a_reader_beside_writers_that_die_and_recover_sees_nothing_that_goes_again() {
    fails_bare("reader", "50");
    whole(&[&TMPFS], "reader", "50");
    whole(&[&EXT4, &XFS, &BTRFS], "reader", "5");
}

#[test]
fn a_child_that_appends_beside_its_parent_is_told_and_the_parent_goes_on() {
    fails_bare("forks", "");
    whole(&[&TMPFS, &EXT4], "forks", "");
}

/// Acknowledged, and what is there when the disk is mounted anew.
fn flushed_and_is(file_system: &FileSystem, link: Link, way: &str) -> (u64, u64) {
    let script = format!(
        r#"'{}' "$S/img" "$S/record" "$S/control" "$S/disk" sh -euc \
               'mount -o loop "$S/disk" "$M"; exec env {way} "$1" fails "$M" "$S/control"' sh "$1"
           mount -o loop "$S/img" "$M"; exec "$1" is "$M""#,
        prepared("device", Link::Bare).display(),
    );
    let run = file_system.shell(&script, &prepared("log_beside", link));
    let lines: Vec<u64> = run.lived().out.lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(lines.len(), 2, "{} {way} {link:?}: {run:#?}", file_system.name);
    (lines[0], lines[1])
}

#[test]
fn a_reader_beside_flushes_that_fail_sees_what_is_durable_and_so_does_the_disk() {
    if !support::may_lock("flushes that fail: pages that stay in memory", 1 << 20) {
        return;
    }
    for file_system in ON_DEVICE.iter().filter(|file_system| file_system.is_here()) {
        let (flushed, is) = flushed_and_is(file_system, Link::Bare, "");
        println!("{} bare: {flushed} acknowledged, {is} there", file_system.name);
        assert!(is < flushed, "{} bare: {flushed} {is}", file_system.name);
        for way in WAYS {
            let (flushed, is) = flushed_and_is(file_system, Link::Archive, way);
            assert!(is >= flushed, "{} {way}: {flushed} {is}", file_system.name);
        }
    }
}

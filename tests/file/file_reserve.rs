//! Blocks before bytes, on real file systems filled to the last block: bare dies, reserved lives or
//! is told before.

#[path = "../support/mod.rs"]
mod support;

use libc::{SIGBUS, SIGXFSZ};
use support::file_systems::{ALL, BTRFS, EXT2, FileSystem, TMPFS, XFS};
use support::{Link, prepared, run};

fn warded(file_system: &FileSystem, scenario: &str) -> String {
    let run = file_system.host("file_reserve", scenario, Link::Archive);
    assert_eq!(run.status.code(), Some(0), "{} {scenario}: {run:#?}", file_system.name);
    run.out
}

/// Bare dies of this signal, warded lives; returns what it said.
fn dies_bare(file_system: &FileSystem, scenario: &str, signal: i32) -> String {
    let bare = file_system.host("file_reserve", scenario, Link::Bare);
    assert_eq!(bare.signal(), Some(signal), "{} {scenario}: {bare:#?}", file_system.name);
    warded(file_system, scenario)
}

fn each(test: impl Fn(&FileSystem)) {
    ALL.iter()
        .filter(|file_system| file_system.is_here())
        .for_each(|file_system| test(file_system));
}

fn each_that_keeps_blocks(test: impl Fn(&FileSystem)) {
    each(|file_system| {
        if file_system.keeps_blocks() {
            test(file_system);
        }
    });
}

/// 0: all, 1: first writes only, 2: zeros had to be written.
fn promise_of(file_system: &FileSystem) -> u32 {
    match file_system.name {
        name if name == EXT2.name => 2,
        name if name == BTRFS.name => 1,
        _ => 0,
    }
}

#[test]
fn stores_into_a_reserved_range_find_their_blocks() {
    each_that_keeps_blocks(|file_system| {
        let said = dies_bare(file_system, "stores", SIGBUS);
        assert_eq!(said, format!("promise {}\n", promise_of(file_system)), "{}", file_system.name);
        dies_bare(file_system, "holes", SIGBUS);
        dies_bare(file_system, "neighbours", SIGBUS);
    });
}

#[test]
fn a_refused_reservation_leaves_the_file_as_it_was() {
    each_that_keeps_blocks(|file_system| drop(dies_bare(file_system, "refused", SIGBUS)));
}

#[test]
fn what_is_promised_about_writing_again_is_what_happens() {
    each(|file_system| {
        let promise = promise_of(file_system);
        let end = if promise == 1 { "died" } else { "lived" };
        let said = warded(file_system, "overwrite");
        assert_eq!(said, format!("promise {promise} {end}\n"), "{}", file_system.name);
    });
}

#[test]
fn copy_on_write_is_seen_through_overlay_and_not_in_files_without_it() {
    if !BTRFS.is_here() || !BTRFS.keeps_blocks() {
        return;
    }
    let host = prepared("file_reserve", Link::Archive);
    let overlay = r#"cd "$M"; mkdir lower upper work merged
                     mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none merged
                     exec "$1" overwrite "$M/merged""#;
    assert_eq!(BTRFS.shell(overlay, &host).lived().out, "promise 1 died\n");
    let never_copied =
        r#"mkdir "$M/in-place"; chattr +C "$M/in-place"; exec "$1" overwrite "$M/in-place""#;
    assert_eq!(BTRFS.shell(never_copied, &host).lived().out, "promise 0 lived\n");
}

#[test]
fn blocks_shared_with_another_file_are_no_promise() {
    each(|file_system| {
        let expected = match file_system.name {
            name if name == XFS.name => "promise 0\n", // they are unshared
            name if name == BTRFS.name => "promise 1\n",
            _ => "no clones\n",
        };
        assert_eq!(warded(file_system, "shared"), expected, "{}", file_system.name);
    });
}

#[test]
fn the_limit_for_sizes_is_an_error_and_no_signal() {
    each(|file_system| drop(dies_bare(file_system, "size_limit", SIGXFSZ)));
}

#[test]
fn what_cannot_be_reserved_is_refused() {
    each(|file_system| drop(warded(file_system, "bad")));
}

#[test]
fn descriptors_that_append_or_only_write() {
    each(|file_system| drop(warded(file_system, "appending")));
}

#[test]
fn a_quota_is_told() {
    if BTRFS.is_here() {
        let script = r#"btrfs quota enable "$M"; btrfs qgroup limit 4M "$M"; exec "$1" quota "$M""#;
        BTRFS.shell(script, &prepared("file_reserve", Link::Archive)).lived();
    }
}

#[test]
fn a_timer_does_not_keep_tmpfs_from_reserving() {
    assert!(TMPFS.is_here());
    let bare = run(&prepared("file_reserve", Link::Bare), &["signals"]);
    // Which of both depends on the kernel: 6.18 goes on. What is blocked meanwhile is tested in
    // src/sys/undisturbed.rs.
    assert!(
        ["Interrupted system call\n", "reserved\n"].contains(&bare.lived().out.as_str()),
        "{bare:?}"
    );
    let warded = run(&prepared("file_reserve", Link::Archive), &["signals"]);
    assert_eq!(warded.lived().out, "reserved\n");
}

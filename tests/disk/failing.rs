//! A disk that refuses writes and heals: what is said to be on it, is on it.
//!
//! The disk is one of our own (`support/device.c`), mounted anew before it is looked at.

#[path = "../support/mod.rs"]
mod support;

use support::file_systems::{FileSystem, ON_DEVICE};
use support::{Link, may_lock, prepared};

/// What the host believes, and what the disk has.
fn believed_and_is(
    file_system: &FileSystem,
    link: Link,
    scenario: &str,
    look: &str,
) -> (String, String) {
    let script = format!(
        r#"'{}' "$S/img" "$S/record" "$S/control" "$S/disk" sh -euc \
               'mount -o loop "$S/disk" "$M"; exec "$1" {scenario} "$M" "$S/control"' sh "$1"
           mount -o loop "$S/img" "$M"; exec "$1" {look} "$M""#,
        prepared("device", Link::Bare).display(),
    );
    let run = file_system.shell(&script, &prepared("failing", link));
    assert_eq!(run.status.code(), Some(0), "{} {scenario} {link:?}: {run:#?}", file_system.name);
    let (believed, is) = run.out.split_once('\n').expect("two lines");
    (believed.into(), is.trim_end_matches('\n').into())
}

fn each(test: impl Fn(&FileSystem)) {
    if may_lock("a disk that fails: pages that stay in memory", 1 << 20) {
        let here = ON_DEVICE.iter().filter(|file_system| file_system.is_here());
        here.for_each(|file_system| test(file_system));
    }
}

#[test]
fn a_map_believes_only_what_was_written_again() {
    each(|file_system| {
        for scenario in ["map", "map_twice"] {
            let (believed, is) = believed_and_is(file_system, Link::Bare, scenario, "map_is");
            println!("{} bare: {believed}\n{is}", file_system.name);
            assert_ne!(believed, is, "{} {scenario}", file_system.name);
        }
        for scenario in ["map", "map_shared", "map_beside", "map_moves", "map_twice"] {
            let (believed, is) = believed_and_is(file_system, Link::Archive, scenario, "map_is");
            assert_eq!(believed, is, "{} {scenario}", file_system.name);
        }
    });
}

#[test]
fn no_replacement_succeeds_that_is_not_on_the_disk() {
    each(|file_system| {
        let (believed, is) = believed_and_is(file_system, Link::Bare, "replace", "live_is");
        assert_ne!(believed, is, "{} bare", file_system.name);
        let (may_be, is) = believed_and_is(file_system, Link::Archive, "replace", "live_is");
        println!("{} bare: {believed} is {is}; {may_be}", file_system.name);
        assert!(
            may_be.split(' ').any(|one| one == is),
            "{}: {may_be}, and is {is}",
            file_system.name
        );
    });
}

#[test]
fn a_log_whose_beginning_failed_begins_for_whoever_opens_it_next() {
    each(|file_system| {
        let (believed, is) = believed_and_is(file_system, Link::Bare, "log", "log_is");
        assert_ne!(believed, is, "{} bare", file_system.name);
        let (believed, is) = believed_and_is(file_system, Link::Archive, "log", "log_is");
        assert_eq!(believed, is, "{}", file_system.name);
    });
}

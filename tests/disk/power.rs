//! A power failure at any write of the disk: a disk of our own (`support/device.c`) keeps each
//! write and each flush, and what was acknowledged up to a write has to be there on a disk that has
//! got no further, whatever order it has given to the writes since its last flush. Careless twins
//! that do not flush lose what they acknowledged.
//!
//! Here a few dozen points; `make power` takes every one.

#[path = "../support/mod.rs"]
mod support;

use support::file_systems::{DEVICE_BTRFS, DEVICE_EXT4, DEVICE_XFS, FileSystem};
use support::{Link, prepared};

/// A process works on the disk; then what the disk has kept is played back to every `$STEP`th
/// point from `$FIRST` on, in the order of the writes and in `$ORDERS` others.
const SCRIPT: &str = r#"
    cp --sparse=always "$S/img" "$S/base"
    "$DEVICE" "$S/img" "$S/record" "$S/control" "$S/disk" sh -euc \
        'mount -o loop "$S/disk" "$M"; exec "$1" work "$M" "$S/control" "$S/notes" 12' sh "$1"
    exec "$1" play "$M" $TYPE "$S/base" "$S/record" "$S/notes" $FIRST $STEP $ORDERS $FIRST"#;

/// How many runs have every point between them.
const SHARES: u32 = 39;
/// One of so many points has to do otherwise.
const FEW: u32 = 13;

fn played(
    file_system: &FileSystem,
    link: Link,
    forget: &str,
    first: u32,
    step: u32,
    orders: u32,
) -> String {
    let script = format!(
        "export FORGET={forget}; DEVICE='{}' TYPE={} FIRST={first} STEP={step} ORDERS={orders}\n{SCRIPT}",
        prepared("device", Link::Bare).display(),
        file_system.name
    );
    let run = file_system.shell(&script, &prepared("power", link));
    assert_eq!(run.status.code(), Some(0), "{} {link:?}: {run:#?}", file_system.name);
    println!("{} {link:?} {forget}: {}{}", file_system.name, run.out, run.err);
    run.out
}

fn what_was_acknowledged_is_there(file_system: &FileSystem) {
    if !file_system.is_here() {
        return;
    }
    let mut careless = (2..2 + FEW).map(|first| played(file_system, Link::Bare, "", first, FEW, 0));
    assert!(careless.any(|played| played.ends_with("\nlost\n")), "{}", file_system.name);
    let all: Option<u32> =
        std::env::var("SIGWARD_POWER").ok().map(|orders| orders.parse().expect("a number"));
    let runs = all.map_or(0..1, |_| 0..SHARES);
    for first in runs {
        let step = if all.is_some() { SHARES } else { FEW };
        let ours = played(file_system, Link::Archive, "", first, step, all.unwrap_or(1));
        assert!(ours.ends_with("\nall there\n"), "{}: {ours}", file_system.name);
    }
}

#[test]
fn ext4() {
    what_was_acknowledged_is_there(&DEVICE_EXT4);
}

#[test]
fn xfs() {
    what_was_acknowledged_is_there(&DEVICE_XFS);
}

#[test]
fn btrfs() {
    what_was_acknowledged_is_there(&DEVICE_BTRFS);
}

/// Each kind of flush that the library makes, left out: a test that does not see that, is blind.
#[test]
fn no_flush_is_superfluous() {
    if DEVICE_EXT4.is_here() {
        for forgotten in ["file", "folder", "data", "map"] {
            // What is lost may be there again some writes later: other points, if these show none.
            let mut mutants = (2..2 + FEW)
                .map(|first| played(&DEVICE_EXT4, Link::Archive, forgotten, first, FEW, 0));
            assert!(
                mutants.any(|mutant| mutant.ends_with("\nlost\n")),
                "{forgotten} is superfluous"
            );
        }
    }
}

//! A reservation that fails destroys nothing: writers beside it, on real file systems, and every
//! byte compared.

#[path = "../support/mod.rs"]
mod support;

use support::file_systems::{ALL, FileSystem};
use support::{Link, prepared};

/// Failures on each file system; `make beside` sets ten thousand.
fn failures() -> u32 {
    std::env::var("SIGWARD_FAILURES").map_or(100, |number| number.parse().expect("a number"))
}

/// So many on one file system, then on a new one: btrfs that was filled often has no room to cut a
/// file.
const AT_ONCE: u32 = 500;

fn beside(file_system: &FileSystem, link: Link) -> String {
    let script = format!(r#"exec "$1" beside "$M" {}"#, failures().min(AT_ONCE));
    let run = file_system.shell(&script, &prepared("file_beside", link));
    assert_eq!(run.status.code(), Some(0), "{} {link:?}: {run:#?}", file_system.name);
    println!("{} {link:?}: {}", file_system.name, run.err);
    run.out
}

#[test]
fn writers_beside_failing_reservations_lose_nothing() {
    for file_system in ALL.iter().filter(|file_system| file_system.is_here()) {
        assert_eq!(beside(file_system, Link::Bare), "lost\n", "{}", file_system.name);
        for _ in 0..failures().div_ceil(AT_ONCE) {
            assert_eq!(beside(file_system, Link::Archive), "all there\n", "{}", file_system.name);
        }
    }
}

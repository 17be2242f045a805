//! A reservation that fails destroys nothing: writers beside it, on real file systems, and every
//! byte compared.

mod support;

use support::file_systems::{ALL, FileSystem};
use support::{Link, prepared};

/// Failures on each file system; `make beside` sets ten thousand.
fn failures() -> String {
    std::env::var("SIGWARD_FAILURES").unwrap_or_else(|_| "100".to_string())
}

fn beside(file_system: &FileSystem, link: Link) -> String {
    let script = format!(r#"exec "$1" beside "$M" {}"#, failures());
    let run = file_system.shell(&script, &prepared("file_beside", link));
    assert_eq!(run.status.code(), Some(0), "{} {link:?}: {run:#?}", file_system.name);
    println!("{} {link:?}: {}", file_system.name, run.err);
    run.out
}

#[test]
fn writers_beside_failing_reservations_lose_nothing() {
    for file_system in ALL.iter().filter(|file_system| file_system.is_here()) {
        assert_eq!(beside(file_system, Link::Bare), "lost\n", "{}", file_system.name);
        assert_eq!(beside(file_system, Link::Archive), "all there\n", "{}", file_system.name);
    }
}

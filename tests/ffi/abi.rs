//! The C interface between programs and libraries of different versions.

#[path = "../support/mod.rs"]
mod support;

use std::process::Command;
use support::{Link, Run, host, library, run};

fn abi(scenario: &str, link: Link) -> Run {
    run(&host("abi", link), &[scenario])
}

#[test]
fn options_of_other_versions_are_taken_as_far_as_they_are_known() {
    abi("options", Link::Archive).lived();
}

#[test]
fn structs_of_other_versions_are_filled_as_far_as_they_are_known() {
    abi("filled", Link::Archive).lived();
}

#[test]
fn the_header_passes_the_size_along() {
    abi("names", Link::Archive).lived();
    abi("names", Link::Shared).lived();
}

/// A program asks for the version that it was linked with, and the library has no name without one.
#[cfg(target_os = "linux")]
#[test]
fn the_symbols_of_the_shared_library_have_a_version() {
    let shared = library("release").join("libsigward.so");
    let names = Command::new("nm")
        .args(["-D", "--defined-only", "--with-symbol-versions"])
        .arg(shared)
        .output();
    let names =
        String::from_utf8(names.expect("binutils are installed").stdout).expect("names are ASCII");
    let (versioned, others): (Vec<_>, Vec<_>) = names
        .lines()
        .filter(|line| !line.contains(" A "))
        .partition(|line| line.ends_with("@@SIGWARD_0.1"));
    assert!(
        versioned.iter().any(|line| line.contains("sigward_init@@")) && others.is_empty(),
        "{names}"
    );
    let asked = Command::new("nm")
        .args(["-D", "--with-symbol-versions"])
        .arg(host("abi", Link::Shared))
        .output();
    let asked = String::from_utf8(asked.expect("as above").stdout).expect("as above");
    assert!(asked.contains("sigward_init@SIGWARD_0.1"), "{asked}");
}

//! The C interface between programs and libraries of different versions.

mod support;

use support::{Link, Run, host, run};

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

//! What the header says of pthread_cancel(3). (At maps: `tests/mapping/map_harsh.rs`; at writers:
//! `tests/io/writers_harsh.rs`.)

#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

use support::{Link, Scratch, prepared, run};

#[test]
fn no_function_is_a_cancellation_point() {
    assert_eq!(run(&prepared("cancel", Link::Archive), &["deferred"]).every_row("whole"), 21);
}

#[test]
fn no_function_of_files_is_one() {
    let scratch = Scratch::new("cancel");
    let arguments = ["deferred_files", scratch.as_str()];
    assert_eq!(run(&prepared("cancel", Link::Archive), &arguments).every_row("whole"), 5);
}

#[test]
fn a_signal_is_swallowed_whole() {
    assert_eq!(run(&prepared("cancel", Link::Archive), &["swallowed"]).every_row("whole"), 2);
}

#[test]
fn who_is_ended_at_any_moment_leaves_nothing_taken() {
    assert_eq!(run(&prepared("cancel", Link::Archive), &["any_moment"]).every_row("whole"), 21);
}

#[test]
fn who_leaves_in_the_middle_holds_nobody_up() {
    for (scenario, said) in [("jumped", "jumped\n"), ("ended", "ended\n"), ("killed", "killed\n")] {
        for link in [Link::Bare, Link::Archive] {
            assert_eq!(run(&prepared("left", link), &[scenario]).lived().out, said);
        }
    }
}

//! The rows of all signals, saved and put back around a library, and the repair of every handler.

#[path = "../support/mod.rs"]
mod support;

use support::{Link, both, host, run};

#[test]
fn what_a_library_leaves_behind_is_put_back() {
    for (scenario, signal) in [
        ("put_back", libc::SIGPROF),
        ("same_handler", libc::SIGPROF),
        ("seat_put_back", libc::SIGPIPE),
    ] {
        let (bare, warded) = both("rows", scenario);
        bare.died_of(signal);
        warded.lived();
    }
}

#[test]
fn a_seat_that_was_taken_meanwhile_stays() {
    run(&host("rows", Link::Archive), &["seat_kept"]).lived();
}

#[test]
fn rows_that_were_never_saved_are_refused() {
    run(&host("rows", Link::Archive), &["bad"]).lived();
}

#[test]
fn every_handler_without_a_signal_stack_is_repaired() {
    run(&host("rows", Link::Archive), &["repair_all"]).lived();
}

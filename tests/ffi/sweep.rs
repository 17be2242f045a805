//! Senseless arguments at every function of the C interface.

#[path = "../support/mod.rs"]
mod support;

use support::{Link, prepared, run};

fn sweep(scenario: &str) {
    run(&prepared("sweep", Link::Archive), &[scenario]).lived();
}

#[test]
fn writers_answer_as_the_plain_calls_do() {
    sweep("writers");
    sweep("writers_without");
}

#[test]
fn descriptors_that_are_none_are_refused() {
    sweep("descriptors");
}

#[test]
fn numbers_that_are_out_of_range_are_refused() {
    sweep("numbers");
}

#[test]
fn copies_from_nowhere_say_so() {
    sweep("copies");
}

#[test]
fn handles_that_are_null_are_refused() {
    sweep("handles");
}

#[test]
fn a_guard_is_left_by_its_own_thread_only() {
    sweep("wrong_thread");
}

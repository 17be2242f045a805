//! Small alternate stacks: what does not fit is left out, and nothing below them is written.

mod support;

use std::process::Command;
use support::{Link, SIGPIPE, prepared, run, run_command};

#[test]
fn what_does_not_fit_on_a_small_stack_is_left_out() {
    run(&prepared("small_stack", Link::Bare), &["swallowed"]).died_of(SIGPIPE);
    run(&prepared("small_stack", Link::Archive), &["swallowed"]).lived();
    let mut told = Command::new(prepared("small_stack", Link::Archive));
    told.arg("swallowed").env("SIGWARD_LOG", "stderr");
    let told = run_command(told);
    let lines = told.lived().err.lines().count();
    assert!((1..600).contains(&lines), "lines where there is room: {lines}");
}

#[test]
fn a_host_with_a_handler_of_its_own_needs_little_more_than_without_us() {
    run(&prepared("small_stack", Link::Bare), &["chained"]).lived();
    run(&prepared("small_stack", Link::Archive), &["chained"]).lived();
}

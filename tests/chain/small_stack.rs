//! Small alternate stacks: everything works on the smallest that the kernel takes, and nothing
//! below them is written.

#[path = "../support/mod.rs"]
mod support;

use std::process::Command;
use support::{Link, SIGPIPE, Scratch, prepared, run, run_command};

fn with_lines(scenario: &str, scratch: &Scratch) -> String {
    let mut told = Command::new(prepared("small_stack", Link::Archive));
    told.args([scenario, scratch.as_str()]).env("SIGWARD_LOG", "stderr");
    run_command(told).lived().err.clone()
}

#[test]
fn an_echo_is_swallowed_and_told_of_on_the_smallest_stack() {
    let scratch = Scratch::new("small-stack-swallowed");
    run(&prepared("small_stack", Link::Bare), &["swallowed"]).died_of(SIGPIPE);
    run(&prepared("small_stack", Link::Archive), &["swallowed"]).lived();
    assert!(with_lines("swallowed", &scratch).lines().count() > 400);
}

#[test]
fn a_handler_behind_ours_has_its_stack_and_its_mask() {
    run(&prepared("small_stack", Link::Bare), &["chained"]).lived();
    run(&prepared("small_stack", Link::Archive), &["chained"]).lived();
}

#[test]
fn a_lost_page_is_told_of_on_the_smallest_stack() {
    let scratch = Scratch::new("small-stack-faults");
    run(&prepared("small_stack", Link::Bare), &["faults", scratch.as_str()]).died_of(libc::SIGBUS);
    run(&prepared("small_stack", Link::Archive), &["faults", scratch.as_str()]).lived();
    assert!(with_lines("faults", &scratch).lines().count() > 200);
}

#[test]
fn the_default_action_writes_nothing_below_the_smallest_stack() {
    run(&prepared("small_stack", Link::Bare), &["by_default"]).lived();
    run(&prepared("small_stack", Link::Archive), &["by_default"]).lived();
}

#[test]
fn seven_handlers_of_others_have_as_much_room_as_without_us() {
    let scratch = Scratch::new("small-stack-nested");
    run(&prepared("small_stack", Link::Bare), &["nested", scratch.as_str()]).died_of(SIGPIPE);
    run(&prepared("small_stack", Link::Archive), &["nested", scratch.as_str()]).lived();
    with_lines("nested", &scratch);
}

#[test]
fn a_thread_whose_stack_is_nearly_full_needs_no_more_of_it_than_an_empty_handler() {
    let scratch = Scratch::new("small-stack-thread");
    run(&prepared("small_stack", Link::Bare), &["nearly_full", scratch.as_str()]).died_of(SIGPIPE);
    run(&prepared("small_stack", Link::Archive), &["nearly_full", scratch.as_str()]).lived();
    with_lines("nearly_full", &scratch);
}

#[test]
fn a_handler_above_ours_that_passes_a_signal_on_needs_little_more_than_without_us() {
    // What it passes on to is SIG_DFL, an address that nobody can call.
    run(&prepared("small_stack", Link::Bare), &["passed_on"]).died_of(libc::SIGSEGV);
    run(&prepared("small_stack", Link::Archive), &["passed_on"]).lived();
}

#[test]
fn an_argument_that_leads_behind_the_stack_is_not_followed() {
    run(&prepared("small_stack", Link::Bare), &["stray"]).lived();
    run(&prepared("small_stack", Link::Archive), &["stray"]).lived();
}

/// What the compiler has not optimised takes two to three times as much.
#[test]
fn the_debug_build_keeps_within_them_as_well() {
    let scratch = Scratch::new("small-stack-debug");
    for scenario in ["swallowed", "chained", "faults", "by_default", "nested", "passed_on"] {
        run(&prepared("small_stack", Link::DebugArchive), &[scenario, scratch.as_str()]).lived();
    }
}

//! What a handler finds at its entry and in the code that it interrupted: frames of other handlers,
//! system calls at the end of a page, handlers above that pass a signal on.
//! (`scripts/test-aarch64-hosts` and `scripts/test-arm64-kernel` run the same host.)

#[path = "../support/mod.rs"]
mod support;

use support::{Link, SIGPIPE, prepared, run};

fn dies_bare_and_lives(scenario: &str) {
    run(&prepared("entered", Link::Bare), &[scenario]).died_of(SIGPIPE);
    run(&prepared("entered", Link::Archive), &[scenario]).lived();
}

#[test]
fn frames_of_other_handlers_are_looked_through() {
    for scenario in ["plain_storm", "full_storm"] {
        dies_bare_and_lives(scenario);
    }
}

#[test]
fn a_system_call_is_seen_wherever_in_its_page_it_is() {
    for scenario in ["end_of_page", "end_of_page_in_a_sandbox"] {
        dies_bare_and_lives(scenario);
    }
}

/// Bare they pass it on to SIG_DFL, an address that nobody can jump to.
#[test]
fn what_a_handler_above_passes_on_counts() {
    for scenario in ["above_jumping", "above_calling", "above_far", "above_copying"] {
        assert_ne!(run(&prepared("entered", Link::Bare), &[scenario]).status.code(), Some(0));
        run(&prepared("entered", Link::Archive), &[scenario]).lived();
    }
}

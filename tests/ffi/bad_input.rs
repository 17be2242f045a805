//! Bad input and bad circumstances at the C interface.

#[path = "../support/mod.rs"]
mod support;

use support::{Link, Run, SIGPIPE, host, run};

fn bad(scenario: &str) -> Run {
    run(&host("bad", Link::Archive), &[scenario])
}

#[test]
fn options_of_another_size_or_with_unknown_values_are_refused() {
    bad("options").lived();
}

#[test]
fn null_pointers_and_impossible_lengths_are_refused() {
    bad("null_pointers").lived();
}

#[test]
fn many_threads_may_init_at_once() {
    bad("many_threads").lived();
}

#[test]
fn init_in_a_signal_handler_works() {
    assert_eq!(bad("in_handler").lived().out, "answered\n");
}

#[test]
fn a_process_without_entry_points_left_is_told_so_and_goes_on() {
    let run = bad("limit");
    assert!(run.lived().out.contains("every entry point"), "{run:?}");
}

#[test]
fn a_blocked_signal_stays_pending() {
    bad("blocked").lived();
}

#[test]
fn seccomp_may_refuse_sigaction_before_and_after() {
    let before = bad("seccomp_before");
    assert!(before.died_of(SIGPIPE).out.contains("seccomp"), "nothing was changed: {before:?}");
    let after = bad("seccomp_after");
    assert_eq!(after.status.code(), Some(128 + SIGPIPE), "{after:?}");
    bad("seccomp_queue").died_of(SIGPIPE);
}

#[test]
fn a_static_host_works() {
    run(&host("bad", Link::Static), &["nothing"]).lived();
    run(&host("bad", Link::Static), &["many_threads"]).lived();
}

//! Hosts whose libraries treat signals badly: they put rows back in part, drop siginfos, jump out
//! of handlers, arm handlers anew.

#[path = "../support/mod.rs"]
mod support;

use support::{Link, SIGPIPE, prepared, run};

fn bare(scenario: &str) -> support::Run {
    run(&prepared("misused", Link::Bare), &[scenario])
}

fn warded(scenario: &str) -> support::Run {
    run(&prepared("misused", Link::Archive), &[scenario])
}

#[test]
fn a_row_without_its_flags_is_seen_counted_and_mended() {
    warded("mended").lived();
}

/// Bare the first write is the last one as well.
#[test]
fn a_row_for_one_call_is_seen_and_mended_by_who_looks_and_by_nobody_else() {
    bare("one_shot").died_of(SIGPIPE);
    assert_eq!(warded("one_shot").died_of(SIGPIPE).out, "one\n");
}

#[test]
fn faults_are_told_by_the_registers_where_the_siginfo_is_missing() {
    for (scenario, signal) in [("flipped_bus", libc::SIGBUS), ("flipped_segv", libc::SIGSEGV)] {
        bare(scenario).died_of(signal);
        warded(scenario).lived();
    }
}

/// Neither is a row taken for the one that the kernel has called by, nor is the other's handler put
/// back over what it has put back itself.
#[test]
fn faults_in_the_middle_of_flips_are_no_death_and_leave_no_handler_of_the_flips() {
    for (name, signal) in [("flipped_bus", libc::SIGBUS), ("flipped_segv", libc::SIGSEGV)] {
        let scenario = format!("{name}_meanwhile");
        bare(&scenario).died_of(signal);
        warded(&scenario).lived();
    }
}

/// Bare such a handler has nobody to hand on to.
#[test]
fn a_handler_above_that_drops_the_siginfo_turns_no_error_into_a_death() {
    for scenario in ["drops", "drops_all", "drops_to_null", "drops_from_anywhere"] {
        bare(scenario).lived();
        warded(scenario).lived();
    }
    for (scenario, signal) in [("drops_bus", libc::SIGBUS), ("drops_segv", libc::SIGSEGV)] {
        bare(scenario).died_of(signal);
        warded(scenario).lived();
    }
}

#[test]
fn what_was_sent_is_passed_on_where_the_siginfo_was_dropped() {
    for run in [bare("drops_a_kill"), warded("drops_a_kill")] {
        assert_eq!(run.died_of(SIGPIPE).out, "sent\n");
    }
}

#[test]
fn a_handler_with_one_call_that_is_armed_anew_has_one_more() {
    assert_eq!(bare("armed_anew").died_of(SIGPIPE).out, "once more\n");
    assert_eq!(warded("armed_anew").died_of(SIGPIPE).out, "once more\n");
}

#[test]
fn a_handler_that_jumps_out_is_no_circle_from_whatever_depth() {
    for scenario in ["jumps_deeper", "jumps_in_turns"] {
        let (bare, warded) = (bare(scenario), warded(scenario));
        assert_eq!(bare.lived().out, warded.lived().out);
    }
}

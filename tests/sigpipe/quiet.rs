//! Threads and descriptors that were declared quiet, in hosts with handlers of their own.

#[path = "../support/mod.rs"]
mod support;

use support::{Link, SIGPIPE, prepared, run};

/// What the host's own handler ends the process with.
const ENDED: i32 = 74;

#[track_caller]
fn bare(scenario: &str) -> support::Run {
    run(&prepared("quiet", Link::Bare), &[scenario])
}

#[track_caller]
fn warded(scenario: &str) {
    run(&prepared("quiet", Link::Archive), &[scenario]).lived();
}

#[test]
fn echoes_of_a_quiet_thread_end_with_us_whatever_stands_behind() {
    for scenario in ["thread", "brought_back"] {
        assert_eq!(bare(scenario).status.code(), Some(ENDED), "{scenario}");
        warded(scenario);
    }
    bare("brought_back_over_default").died_of(SIGPIPE);
    warded("brought_back_over_default");
}

/// There the last write, of a thread that is not quiet, ends the host.
#[test]
fn a_thread_is_not_quiet_because_an_earlier_one_at_its_address_was() {
    for scenario in ["after_the_end", "after_a_fork", "strict"] {
        for link in [Link::Bare, Link::Archive] {
            let run = run(&prepared("quiet", link), &[scenario]);
            assert_eq!(run.status.code(), Some(ENDED), "{scenario} {link:?}: {run:?}");
        }
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn echoes_of_a_quiet_descriptor_end_with_us_while_it_is_the_same() {
    assert_eq!(bare("descriptor").status.code(), Some(ENDED));
    warded("descriptor");
}

/// Nothing shows any more which write it was for. A guard that is left after the jump takes it
/// back.
#[test]
fn a_signal_that_waited_behind_the_mask_comes_as_without_us() {
    for scenario in ["jumps_with_the_mask", "opens_its_own_mask"] {
        bare(scenario).died_of(SIGPIPE);
        run(&prepared("quiet", Link::Archive), &[scenario]).died_of(SIGPIPE);
    }
    bare("jumps_without_the_mask").died_of(SIGPIPE);
    warded("jumps_without_the_mask");
}

//! The SIGPIPE policy in a C host: who lives, who dies, what is reported.

#[path = "../support/mod.rs"]
mod support;

use std::process::Command;
use support::{Link, SIGPIPE, both, host, run, run_command};

fn warded(scenario: &str) -> support::Run {
    run(&host("policy", Link::Archive), &[scenario])
}

#[test]
fn every_system_call_that_raises_it_returns_epipe_and_names_its_descriptor() {
    let (bare, warded) = both("policy", "every_call");
    assert_eq!(bare.lived().out.lines().count(), 20, "{bare:#?}");
    for line in bare.out.lines() {
        assert!(line.ends_with("signal 13"), "bare must die: {line}");
    }
    for line in warded.lived().out.lines() {
        assert!(line.ends_with("exit 0"), "warded must live: {line}\n{}", warded.err);
    }
    assert_eq!(bare.out.lines().count(), warded.out.lines().count());
    assert!(warded.err.contains("(socket:["), "{}", warded.err);
    assert!(
        warded.err.contains(", peer 127.0.0.1:"),
        "the peer of a dead connection: {}",
        warded.err
    );
}

#[test]
fn a_descriptor_of_a_high_number_is_like_any_other() {
    let (bare, warded) = both("policy", "high_number");
    bare.died_of(SIGPIPE);
    warded.lived();
}

#[test]
fn the_number_decides_what_is_stdout() {
    let (bare, warded) = both("policy", "copies_of_stdout");
    assert_eq!(bare.died_of(SIGPIPE).err, "");
    assert_eq!(warded.died_of(SIGPIPE).err, "copies fail\n");
}

#[test]
fn what_is_ignored_behind_the_filter_interrupts_a_call_as_any_handler_does() {
    let (bare, warded) = both("policy", "ignored_by_a_handler");
    assert_eq!(bare.lived().out, "ready\n");
    assert_eq!(warded.lived().out, "interrupted\n");
}

#[test]
fn a_partial_write_is_told_from_the_descriptor() {
    let (bare, warded) = both("policy", "partial");
    bare.died_of(SIGPIPE);
    warded.lived();
}

#[test]
fn frames_of_lower_signals_are_looked_through() {
    let (bare, warded) = both("policy", "nested");
    bare.died_of(SIGPIPE);
    warded.lived();
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_program_may_have_the_processor_check_its_alignment() {
    let (bare, warded) = both("policy", "alignment_checked");
    bare.died_of(SIGPIPE);
    warded.lived();
    let (bare, warded) = both("policy", "alignment_checked_and_handled");
    bare.lived();
    warded.lived();
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_call_and_a_stack_at_the_edge_of_what_is_mapped_are_read_no_further() {
    let (bare, warded) = both("policy", "edges");
    bare.died_of(SIGPIPE);
    warded.lived();
    let (bare, warded) = both("policy", "edge_of_a_jump");
    bare.died_of(SIGPIPE);
    warded.died_of(SIGPIPE);
}

#[test]
fn an_existing_handler_keeps_its_signals() {
    let (bare, warded) = both("policy", "existing_handler");
    assert_eq!(bare.lived().out, "handled 2\n");
    assert_eq!(warded.lived().out, "handled 2\n");
}

#[test]
fn ignore_is_idempotent_and_reversible() {
    let run = warded("ignore_default");
    assert_eq!(
        run.died_of(SIGPIPE).out,
        "outcome 2 seat 0 previous 0\noutcome 0 seat 0 previous 0\n"
    );
}

#[test]
fn ignore_never_overwrites_a_handler() {
    assert_eq!(
        warded("ignore_above_a_handler").lived().out,
        "outcome 4 seat 1 previous 2\nhandled 1\n"
    );
}

#[test]
fn filter_after_ignore_gives_the_default_back_to_what_is_no_echo() {
    assert_eq!(warded("filter_after_ignore").died_of(SIGPIPE).out, "outcome 3 seat 1 previous 0\n");
}

#[test]
fn an_ignored_signal_is_left_alone() {
    assert_eq!(warded("already_ignored").lived().out, "outcome 1 seat 0 previous 0\nleft alone\n");
}

#[test]
fn filter_is_idempotent_and_reversible() {
    let run = warded("restore_and_die");
    let filtered = "outcome 3 seat 1 previous 0\n";
    assert_eq!(
        run.died_of(SIGPIPE).out,
        format!("{filtered}{filtered}outcome 0 seat 0 previous 0\n")
    );
}

#[test]
fn being_overwritten_is_noticed_and_mended() {
    let run = warded("overwritten");
    let expected = "outcome 3 seat 3 previous 0\noutcome 3 seat 1 previous 0\noutcome 3 seat 3 previous 0\nhandled 1\n";
    assert_eq!(run.died_of(SIGPIPE).out, expected);
}

#[test]
fn children_start_as_if_we_were_not_there() {
    let (bare, warded) = both("policy", "children");
    assert_eq!(bare.lived().out, warded.lived().out);
    assert_eq!(bare.out.lines().count(), 6);
}

#[test]
fn an_inherited_ignore_stays_for_us_and_for_children() {
    for link in [Link::Bare, Link::Archive] {
        let program = host("policy", link);
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' PIPE; exec \"$0\" children"]).arg(program);
        let run = run_command(shell);
        let ignored: Vec<_> =
            run.lived().out.lines().filter(|line| line.starts_with("SigIgn")).collect();
        assert_eq!(ignored.len(), 2);
        for line in ignored {
            // Others may be ignored by whoever runs the tests (a shell's background job has SIGINT
            // and SIGQUIT so).
            let set = u64::from_str_radix(line.rsplit('\t').next().unwrap(), 16).unwrap();
            assert_eq!(set >> (SIGPIPE - 1) & 1, 1, "{link:?}: {line}");
        }
    }
}

#[test]
fn a_line_on_stderr_if_asked_and_never_a_wait_for_it() {
    let line = warded("log_line");
    assert!(
        line.lived().err.starts_with("sigward: SIGPIPE swallowed: write on thread \"policy-"),
        "{line:?}"
    );
    assert!(line.err.ends_with("]): EPIPE\n") && line.err.lines().count() == 1, "{line:?}");
    assert_eq!(warded("log_nowhere").lived().out, "lived\n");
    warded("log_limited").lived();
    // By the environment alone.
    for (value, lines) in [("stderr", 1), ("no", 0)] {
        let mut command = Command::new(host("policy", Link::Archive));
        command.arg("existing_default").env("SIGWARD_LOG", value);
        assert_eq!(run_command(command).lived().err.lines().count(), lines, "SIGWARD_LOG={value}");
    }
}

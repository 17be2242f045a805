//! What is an echo is decided by the system call alone.

#[path = "../support/mod.rs"]
mod support;

use support::{Link, SIGPIPE, prepared, run};

/// Bare it dies, warded it lives.
#[track_caller]
fn is_an_echo(scenarios: &[&str]) {
    for scenario in scenarios {
        println!("{scenario}");
        run(&prepared("echo", Link::Bare), &[scenario]).died_of(SIGPIPE);
        run(&prepared("echo", Link::Archive), &[scenario]).lived();
    }
}

#[test]
fn a_write_that_was_cut_short_is_one_whatever_its_descriptor_has_become() {
    is_an_echo(&["replaced", "closed", "shut_for_writing", "shut_for_all", "reader_comes_back"]);
}

#[test]
fn what_was_submitted_is_one_whether_the_number_of_the_call_is_known_or_not() {
    is_an_echo(&["aio_known", "aio_unknown", "ring_known", "ring_unknown"]);
    is_an_echo(&["registered_known", "registered_unknown", "aio_in_a_sandbox"]);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn so_is_what_came_by_the_other_gate_and_from_the_end_of_a_stack() {
    is_an_echo(&["int80", "int80_socketcall", "end_of_stack"]);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn processors_that_leave_rcx_and_r11_alone_make_no_difference() {
    let fred = prepared("fred", Link::Bare);
    let under = |link, scenario| run(&fred, &[prepared("echo", link).to_str().unwrap(), scenario]);
    for scenario in
        ["failed", "replaced", "aio_unknown", "int80", "registered_unknown", "end_of_page"]
    {
        under(Link::Bare, scenario).died_of(SIGPIPE);
        under(Link::Archive, scenario).lived();
    }
}

/// The host itself expects that each kill(2) ends its child: bare or warded.
#[test]
fn a_kill_that_meets_any_other_system_call_is_none() {
    let mut scenarios = vec!["kill_in_read", "kill_in_readv", "kill_in_recv", "kill_in_poll"];
    if cfg!(target_arch = "x86_64") {
        scenarios.extend(["kill_in_int80_read", "kill_at_start_of_page"]);
        // What has written all that it was to write has raised nothing.
        scenarios.extend(["kill_in_writev", "kill_in_sendmsg", "kill_in_sendmmsg"]);
    }
    for scenario in scenarios {
        for link in [Link::Bare, Link::Archive] {
            println!("{scenario} {link:?}");
            run(&prepared("echo", link), &[scenario]).lived();
        }
    }
}

#[test]
fn without_events_the_handler_makes_no_system_call() {
    is_an_echo(&["sandbox"]);
}

#[test]
fn no_line_is_written_where_descriptor_2_is_not_stderr_any_more() {
    let mut host = std::process::Command::new(prepared("echo", Link::Archive));
    host.arg("reused_stderr").env("SIGWARD_LOG", "stderr");
    let run = support::run_command(host);
    assert_eq!(run.lived().err.lines().count(), 1, "before it was closed: {run:?}");
}

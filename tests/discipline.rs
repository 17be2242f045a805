//! What our handler uses of the interrupted thread, and how faithful its default action is.

mod support;

use std::process::Command;
use support::{Link, Scratch, both, host, run, run_command};

// ---- 7. handler discipline ----

#[test]
fn our_own_stack_is_within_two_kibibytes() {
    let scratch = Scratch::new("discipline-stack");
    for (scenario, count) in [("stack_use", 3), ("bus_stack_use", 8)] {
        let run = run(&host("discipline", Link::Archive), &[scenario, scratch.as_str()]);
        let uses: Vec<(&str, i32)> = run
            .lived()
            .out
            .lines()
            .map(|line| line.rsplit_once(' ').map(|(what, bytes)| (what, bytes.parse().unwrap())).unwrap())
            .collect();
        assert_eq!(uses.len(), count, "{run:?}");
        for (what, bytes) in uses {
            println!("{what}: {bytes} bytes beyond the kernel's frame and an empty handler");
            assert!((1..=2048).contains(&bytes), "{what} uses {bytes}");
        }
    }
}

#[test]
fn nothing_is_allocated_in_a_handler() {
    let scratch = Scratch::new("discipline-allocation");
    run(&host("discipline", Link::Archive), &["no_allocation"]).lived();
    run(&host("discipline", Link::Archive), &["bus_no_allocation", scratch.as_str()]).lived();
}

#[test]
fn errno_is_as_it_was() {
    run(&host("discipline", Link::Archive), &["errno_kept"]).lived();
}

// ---- 4. faithful default ----

#[test]
fn the_default_action_has_the_original_siginfo_at_the_original_instruction() {
    let (bare, warded) = both("faithful", "siginfo");
    assert_eq!(bare.lived().out, warded.lived().out);
    assert!(!bare.out.contains("moved"));
    assert!(bare.out.contains("queue: signal 13, code -1, own pid 1, value 4711"), "{}", bare.out);
}

#[test]
fn the_init_process_of_a_namespace_lives_as_without_us() {
    for link in [Link::Bare, Link::Archive] {
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--kill-child"]);
        // Without root a user namespace comes first.
        // SAFETY: geteuid(2) cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            unshare.args(["--user", "--map-root-user"]);
        }
        unshare.arg(host("faithful", link)).arg("init_process");
        assert_eq!(run_command(unshare).lived().out, "lived\n", "{link:?}");
    }
}

// ---- sandboxes ----

/// A test that needs another call here needs it in docs/design.md as well.
#[test]
fn handlers_make_no_system_call_that_is_not_listed() {
    let scratch = Scratch::new("discipline-allowed");
    let allowed = |scenario: &str| run(&host("allowed", Link::Archive), &[scenario, scratch.as_str()]);
    assert_eq!(allowed("listed").every_row("exit 0"), 9);
    assert_eq!(allowed("unlisted").every_row("signal 31"), 1);
}

//! The invariants of `chain`, each in processes of their own, most of them beside their bare twin.

#[path = "../support/mod.rs"]
mod support;

use support::{Link, SIGPIPE, both, host, run};

#[test]
fn who_stacks_handlers_for_ever_leaves_an_entry_point_to_each_other_signal() {
    for link in [Link::Archive, Link::DebugArchive] {
        run(&host("chain", link), &["used_up"]).lived();
    }
}

// ---- 1. termination ----

#[test]
fn a_circle_of_handlers_ends_in_the_default_action() {
    // Without the cut this recurses until the stack is gone: SIGSEGV.
    run(&host("chain", Link::Archive), &["circle"]).died_of(SIGPIPE);
    run(&host("chain", Link::Archive), &["circle_of_garbage"]).died_of(SIGPIPE);
    run(&host("chain", Link::Archive), &["circle_of_copies"]).died_of(SIGPIPE);
}

#[test]
fn a_circle_above_a_handler_reaches_that_handler() {
    let run = run(&host("chain", Link::Archive), &["circle_above_a_handler"]);
    // chaining twice (by the kernel and by ours'), and counting once as the base action.
    assert_eq!(run.lived().out, "calls 3\ncut 1\n");
}

#[test]
fn a_circle_above_two_handlers_reaches_both() {
    let run = run(&host("chain", Link::Archive), &["circle_above_two"]);
    assert_eq!(run.lived().out, "calls 3, between 1\n");
}

#[test]
fn a_circle_that_goes_through_raise_ends_in_the_default_action() {
    run(&host("chain", Link::Archive), &["circle_of_raises"]).died_of(SIGPIPE);
    run(&host("chain", Link::Archive), &["circle_in_a_thread"]).died_of(SIGPIPE);
}

#[test]
fn a_handler_that_jumps_out_is_no_circle() {
    let (bare, warded) = both("chain", "jumps");
    assert_eq!(
        (bare.lived().out.as_str(), warded.lived().out.as_str()),
        ("calls 100\n", "calls 100\n")
    );
    let (bare, warded) = both("chain", "jumps_from_above");
    assert_eq!(
        (bare.lived().out.as_str(), warded.lived().out.as_str()),
        ("calls 100\n", "calls 100\n")
    );
}

#[test]
fn each_delivery_at_the_same_place_is_a_new_one() {
    let (bare, warded) = both("chain", "again");
    let lines = "beneath: calls 10\npassed on: calls 20\nthree times: calls 30\nwith little stack: calls 10\n";
    assert_eq!((bare.lived().out.as_str(), warded.lived().out.as_str()), (lines, lines));
}

#[test]
fn a_handler_that_jumps_out_from_ever_deeper_calls_is_no_circle() {
    let (bare, warded) = both("chain", "deeper_jumps");
    assert_eq!(
        (bare.lived().out.as_str(), warded.lived().out.as_str()),
        ("calls 1000\n", "calls 1000\n")
    );
}

#[test]
fn a_circle_that_drops_the_siginfo_ends_in_the_default_action() {
    run(&host("chain", Link::Archive), &["circle_without_siginfo"]).died_of(SIGPIPE);
}

// ---- 2. no theft ----

#[test]
fn leaving_beneath_another_handler_passes_through() {
    let (bare, warded) = both("chain", "leave_beneath_another");
    assert_eq!(bare.lived().out, "calls 2\n");
    assert_eq!(warded.lived().out, "calls 2\n");
}

#[test]
fn leaving_on_top_gives_back_what_stood_there() {
    let (bare, warded) = both("chain", "leave_on_top");
    assert_eq!(bare.lived().out, "calls 1\n");
    assert_eq!(warded.lived().out, "calls 1\n");
}

#[test]
fn no_handler_is_lost_in_a_race_with_another_writer() {
    assert_eq!(run(&host("chain", Link::Archive), &["races"]).lived().out, "races 1\n");
}

#[test]
fn leaving_gives_no_second_call_to_a_handler_that_had_its_only_one() {
    let (bare, warded) = both("chain", "spent");
    bare.died_of(SIGPIPE);
    warded.died_of(SIGPIPE);
}

#[test]
fn what_handlers_do_in_a_child_that_shares_memory_is_the_child_s() {
    let (bare, warded) = both("chain", "guests");
    let as_said = "PIPE 3, BUS 3, calls 2\nPIPE -13, BUS -7, calls 4\ncalls 6\n";
    assert_eq!(bare.died_of(SIGPIPE).out, as_said);
    assert_eq!(warded.died_of(SIGPIPE).out, as_said);
}

#[test]
fn no_handler_is_lost_when_another_writer_comes_between_the_look_and_the_write() {
    run(&host("chain", Link::Archive), &["between"]).lived();
}

// ---- 4. faithful default ----

#[test]
fn what_is_no_echo_ends_the_process_as_without_us() {
    for scenario in [
        "raise_default",
        "kill_self",
        "queue_self",
        "kill_from_outside",
        "suspended",
        "no_system_call",
        "default_with_flags",
    ] {
        let (bare, warded) = both("chain", scenario);
        bare.died_of(SIGPIPE);
        warded.died_of(SIGPIPE);
        assert_eq!((bare.out, warded.out), (String::new(), String::new()), "{scenario}");
    }
}

#[test]
fn a_kill_in_the_middle_of_quiet_sends_is_no_echo() {
    let (bare, warded) = both("chain", "forked_theft");
    bare.lived();
    warded.lived();
    let (bare, warded) = both("chain", "own_kill");
    bare.died_of(SIGPIPE);
    warded.died_of(SIGPIPE);
}

// ---- 6. flags ----

#[test]
fn a_predecessor_sees_the_mask_the_siginfo_and_the_single_call_that_the_kernel_would_give_it() {
    let (bare, warded) = both("chain", "flags");
    assert_eq!(bare.lived().out, warded.lived().out);
    assert!(bare.out.contains("flags 7: signal 13"), "RESETHAND really resets: {}", bare.out);
}

#[test]
fn a_predecessor_beneath_another_handler_sees_the_same() {
    let (bare, _) = both("chain", "flags");
    let (_, warded) = both("chain", "flags_beneath");
    assert_eq!(bare.lived().out, warded.lived().out);
}

#[test]
fn a_predecessor_has_its_mask_where_the_context_is_lost() {
    let run = run(&host("chain", Link::Archive), &["mask_without_context"]);
    let blocked = |what, one| format!("{what} blocked: PIPE 1 USR1 {one} USR2 0 code 1\n");
    assert_eq!(run.lived().out, blocked("plain", 1) + &blocked("back", 0));
}

#[test]
fn what_the_predecessor_masks_waits_until_it_has_run() {
    let (bare, warded) = both("chain", "order");
    assert_eq!(
        (bare.lived().out.as_str(), warded.lived().out.as_str()),
        ("PIPE\nALRM\n", "PIPE\nALRM\n")
    );
}

#[test]
fn an_interrupted_read_starts_again_or_not_as_the_predecessor_asked() {
    let (bare, warded) = both("chain", "restart");
    assert_eq!(bare.lived().out, "restart 0: -1 Interrupted system call\nrestart 1: 1 \n");
    assert_eq!(bare.out, warded.lived().out);
}

// ---- 8. fork ----

#[test]
fn a_child_forked_in_the_middle_of_a_change_works() {
    run(&host("chain", Link::Archive), &["forks"]).lived();
}

//! Guarded maps at the kernel's limits, in great numbers, and with everything at once.

#[path = "../support/mod.rs"]
mod support;

use libc::SIGBUS;
use std::process::Command;
use std::sync::Mutex;
use support::{
    CAP_IPC_LOCK, CAP_SETUID, Link, Scratch, Setting, in_folder, may, prepared, run_command, skip,
};

// ---- limits ----

#[test]
fn a_fault_at_a_limit_of_the_kernel_is_caught() {
    if !may("limits: mlockall and setresuid", &[CAP_IPC_LOCK, CAP_SETUID]) {
        return;
    }
    let rows = in_folder("map_limits", "limits", Link::Bare).every_row("signal 7");
    assert_eq!(in_folder("map_limits", "limits", Link::Archive).every_row("exit 0"), rows);
    // Where less may be locked than is locked already, the kernel makes no mapping at all: the
    // death that would have been.
    for link in [Link::Bare, Link::Archive] {
        in_folder("map_limits", "locked_below", link).died_of(SIGBUS);
    }
}

#[test]
fn so_many_maps_are_looked_after_one_by_one() {
    for many in ["many_files", "many_maps"] {
        in_folder("map_limits", many, Link::Bare).died_of(SIGBUS);
        in_folder("map_limits", many, Link::Archive).lived();
    }
}

// ---- huge pages ----

#[test]
fn huge_pages_are_replaced_as_such() {
    let Some(_pages) = Setting::huge_pages() else { return };
    let in_memory = in_folder("map_limits", "huge_memory", Link::Bare);
    if in_memory.status.code() == Some(77) {
        return skip("huge pages: the kernel has no memory for them");
    }
    in_memory.died_of(SIGBUS);
    in_folder("map_limits", "huge_memory", Link::Archive).lived();
    for (link, signal) in [(Link::Bare, Some(SIGBUS)), (Link::Archive, None)] {
        let scratch = Scratch::new("hugetlbfs");
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private", "sh", "-euc"]);
        unshare.args([r#"mount -t hugetlbfs none "$2"; exec "$1" huge_file "$2""#, "sh"]);
        unshare.arg(prepared("map_limits", link)).arg(scratch.path());
        let run = run_command(unshare);
        assert_eq!(
            (run.signal(), run.status.success()),
            (signal, signal.is_none()),
            "{link:?}: {run:#?}"
        );
    }
}

// ---- everything at once ----

/// One after the other: each wants all processors.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn opening_closing_faulting_and_forking_at_once_harm_nobody() {
    let _alone = ALONE.lock();
    for case in ["together", "in_the_middle", "spawned"] {
        in_folder("map_threads", case, Link::Bare).died_of(SIGBUS);
        in_folder("map_threads", case, Link::Archive).lived();
    }
    in_folder("map_threads", "in_the_middle", Link::DebugArchive).lived();
}

#[test]
fn a_handler_held_in_its_work_holds_up_only_who_has_to_wait() {
    let rows = in_folder("map_held", "held_up", Link::Bare).every_row("signal 7");
    for link in [Link::Archive, Link::DebugArchive] {
        assert_eq!(in_folder("map_held", "held_up", link).every_row("exit 0"), rows);
    }
}

#[test]
fn addresses_that_change_hands_are_never_touched() {
    let _alone = ALONE.lock();
    in_folder("map_threads", "changing_hands", Link::Archive).lived();
}

#[test]
fn a_flush_that_a_handler_jumps_out_of_holds_up_no_later_one() {
    for link in [Link::Bare, Link::Archive] {
        in_folder("map_threads", "jumped_out", link).lived();
    }
}

//! Guarded maps in the hands of hosts that behave badly.

#[path = "../support/mod.rs"]
mod support;

use support::{CAP_SYS_NICE, Link, Scratch, Setting, in_folder, may, prepared, run, skip};

#[test]
fn nothing_that_interrupts_a_handler_holds_up_the_others() {
    let rows = in_folder("map_harsh", "middle", Link::Bare).every_row("signal 7");
    for link in [Link::Archive, Link::DebugArchive] {
        assert_eq!(in_folder("map_harsh", "middle", link).every_row("exit 0"), rows);
    }
}

#[test]
fn a_real_time_reader_lets_an_ordinary_one_finish() {
    if !may("real time: SCHED_FIFO", &[CAP_SYS_NICE]) {
        return;
    }
    in_folder("map_harsh", "real_time", Link::Bare).every_row("signal 7");
    in_folder("map_harsh", "real_time", Link::Archive).every_row("exit 0");
}

#[test]
fn a_cancelled_thread_leaves_nothing_locked() {
    in_folder("map_cancel", "deferred", Link::Archive).every_row("exit 0");
    in_folder("map_cancel", "deferred", Link::DebugArchive).every_row("exit 0");
    in_folder("map_cancel", "any_moment", Link::Archive).every_row("exit 0");
}

#[test]
fn a_handler_that_jumps_out_of_refresh_leaves_a_map() {
    in_folder("map_cancel", "jumped", Link::Archive).lived();
}

#[test]
fn a_handler_that_jumps_out_of_opening_or_growing_leaves_nothing_locked() {
    for case in ["opening", "growing"] {
        in_folder("map_jumps", case, Link::Archive).every_row("exit 0");
        in_folder("map_jumps", case, Link::DebugArchive).every_row("exit 0");
    }
}

#[test]
fn a_descriptor_that_is_no_longer_ours_is_not_used() {
    let rows = in_folder("map_harsh", "descriptors", Link::Bare).every_row("signal 7");
    assert_eq!(in_folder("map_harsh", "descriptors", Link::Archive).every_row("exit 0"), rows);
}

#[test]
fn a_loss_that_a_system_call_met_is_told_when_asked() {
    let rows = in_folder("map_harsh", "straight_in", Link::Bare).every_row("signal 7");
    assert_eq!(in_folder("map_harsh", "straight_in", Link::Archive).every_row("exit 0"), rows);
}

#[test]
fn limits_and_rights_that_change_later_do_no_harm() {
    let rows = in_folder("map_harsh", "limits", Link::Bare).every_row("signal 7");
    assert_eq!(in_folder("map_harsh", "limits", Link::Archive).every_row("exit 0"), rows);
}

#[test]
fn a_huge_page_that_cannot_be_had_is_no_endless_loop() {
    let Some(_pages) = Setting::huge_pages() else { return };
    let bare = in_folder("map_harsh", "huge", Link::Bare);
    if bare.status.code() == Some(77) {
        return skip("huge pages: the kernel has no memory for them");
    }
    bare.died_of(libc::SIGBUS);
    // The file has all of it: a patch would throw away what the process still reads.
    in_folder("map_harsh", "huge", Link::Archive).died_of(libc::SIGBUS);
    // A kernel that answers every question with yes: the same registers again and again are
    // believed more.
    in_folder("map_harsh", "huge_lie", Link::Bare).died_of(libc::SIGBUS);
    in_folder("map_harsh", "huge_lie", Link::Archive).lived();
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "it reads x86-64's instructions")]
fn a_child_forked_at_any_instruction_gets_along() {
    let program = prepared("map_steps", Link::Archive);
    for half in ["0", "1"] {
        for scenario in ["steps", "seat_steps"] {
            let scratch = Scratch::new(&format!("{scenario}-{half}"));
            run(&program, &[scenario, scratch.as_str(), half]).lived();
        }
    }
}

#[test]
fn no_map_is_made_while_nobody_guards() {
    in_folder("map_harsh", "seat", Link::Bare).every_row("signal 7");
    in_folder("map_harsh", "seat", Link::Archive).every_row("exit 0");
}

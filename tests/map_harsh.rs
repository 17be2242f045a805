//! Guarded maps in the hands of hosts that behave badly.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use support::{Link, Run, Scratch, prepared, run, skip};

fn scenario(host: &'static str, scenario: &str, link: Link) -> Run {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let scratch = Scratch::new(&format!("{scenario}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    run(&prepared(host, link), &[scenario, scratch.as_str()])
}

#[test]
fn nothing_that_interrupts_a_handler_holds_up_the_others() {
    let rows = scenario("map_harsh", "middle", Link::Bare).every_row("signal 7");
    for link in [Link::Archive, Link::DebugArchive] {
        assert_eq!(scenario("map_harsh", "middle", link).every_row("exit 0"), rows);
    }
}

#[test]
fn a_real_time_reader_lets_an_ordinary_one_finish() {
    // SAFETY: geteuid(2) cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return skip("real time: SCHED_FIFO needs root");
    }
    scenario("map_harsh", "real_time", Link::Bare).every_row("signal 7");
    scenario("map_harsh", "real_time", Link::Archive).every_row("exit 0");
}

#[test]
fn a_cancelled_thread_leaves_nothing_locked() {
    scenario("map_cancel", "deferred", Link::Archive).every_row("exit 0");
    scenario("map_cancel", "deferred", Link::DebugArchive).every_row("exit 0");
    scenario("map_cancel", "any_moment", Link::Archive).every_row("exit 0");
}

#[test]
fn a_descriptor_that_is_no_longer_ours_is_not_used() {
    let rows = scenario("map_harsh", "descriptors", Link::Bare).every_row("signal 7");
    assert_eq!(scenario("map_harsh", "descriptors", Link::Archive).every_row("exit 0"), rows);
}

#[test]
fn a_loss_that_a_system_call_met_is_told_when_asked() {
    let rows = scenario("map_harsh", "straight_in", Link::Bare).every_row("signal 7");
    assert_eq!(scenario("map_harsh", "straight_in", Link::Archive).every_row("exit 0"), rows);
}

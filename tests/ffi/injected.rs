//! Each system call of each operation fails once: `injected.c` has the operations and what holds
//! after each, `tests/support/inject.h` which errors a call can have.

#[path = "../support/mod.rs"]
mod support;

use support::{Link, Scratch, prepared, run};

/// Most of the time goes into waiting for a disk.
fn part(part: u32) {
    let folder = Scratch::new("injected");
    let part = format!("{part}/4");
    run(&prepared("injected", Link::Archive), &[folder.as_str(), &part]).lived();
}

#[test]
fn with_a_failing_call_an_operation_succeeds_or_says_why_and_leaves_nothing_behind() {
    part(1);
}

#[test]
fn with_a_failing_call_the_second_quarter_of_them() {
    part(2);
}

#[test]
fn with_a_failing_call_the_third_quarter_of_them() {
    part(3);
}

#[test]
fn with_a_failing_call_the_last_quarter_of_them() {
    part(4);
}

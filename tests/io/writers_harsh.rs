//! Writers and the thread guard under filters that come later, cancellation, and signals of others.

#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

use support::{Link, prepared, run};

#[test]
fn a_way_that_is_refused_later_gives_place_to_the_next() {
    assert_eq!(run(&prepared("writers_harsh", Link::Archive), &["deny"]).every_row("exit 0"), 10);
}

#[test]
fn a_writer_is_cancelled_where_write_is() {
    assert_eq!(
        run(&prepared("writers_harsh", Link::Archive), &["cancelled"]).every_row("exit 0"),
        14
    );
}

#[test]
fn a_guard_takes_no_signal_but_that_of_a_write_inside_it() {
    assert_eq!(run(&prepared("writers_harsh", Link::Archive), &["guards"]).every_row("exit 0"), 7);
}

#[test]
fn children_of_a_quiet_thread_are_as_bare() {
    run(&prepared("writers_harsh", Link::Archive), &["quiet_children"]).lived();
}

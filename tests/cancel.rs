//! What the header says of pthread_cancel(3), at the functions that no map, file or log is behind.
//! (Maps: `tests/map_harsh.rs`; writers: `tests/writers_harsh.rs`.)

#![cfg(target_os = "linux")]

mod support;

use support::{Link, prepared, run};

#[test]
fn no_function_is_a_cancellation_point() {
    assert_eq!(run(&prepared("cancel", Link::Archive), &["deferred"]).every_row("whole"), 19);
}

#[test]
fn who_is_ended_at_any_moment_leaves_nothing_taken() {
    assert_eq!(run(&prepared("cancel", Link::Archive), &["any_moment"]).every_row("whole"), 19);
}

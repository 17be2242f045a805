//! Single sentences of the manual, where no other test proves them in passing.

#![cfg(target_os = "linux")]

mod support;

use support::{Link, Scratch, prepared, run};

fn holds(sentence: &str) {
    let scratch = Scratch::new(&format!("manual-{sentence}"));
    run(&prepared("manual", Link::Archive), &[sentence, scratch.as_str()]).lived();
}

#[test]
fn a_flag_of_init_stays_until_restored() {
    holds("flags");
}

#[test]
fn a_handle_that_cannot_be_had_is_null() {
    holds("handles");
}

#[test]
fn asking_for_the_status_changes_one_counter_once() {
    holds("status");
}

#[test]
fn an_adopted_file_that_was_cut_and_is_long_again_is_told_by_verify() {
    holds("cut_and_long_again");
}

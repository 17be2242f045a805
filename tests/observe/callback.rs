//! A C host is called back for events, from a thread, as long as it wants to be.

#[path = "../support/mod.rs"]
mod support;

use support::{Link, Scratch, compiler, prepared, run, source};

fn holds(scenario: &str) {
    run(&prepared("callback", Link::Archive), &[scenario]).lived();
}

#[test]
fn all_of_before_the_end_is_reported() {
    holds("reports");
}

#[test]
fn what_is_lost_is_counted() {
    holds("missed");
}

#[test]
fn a_callback_whose_own_peer_has_gone_is_not_called_for_that() {
    holds("itself");
}

#[test]
fn a_callback_that_stops_its_watch_is_not_called_again() {
    holds("stop_inside");
}

#[test]
fn a_forked_child_is_not_called_back() {
    holds("forked");
}

#[test]
fn a_library_may_go_when_its_watch_has_ended() {
    let scratch = Scratch::new("callback");
    let plugin = scratch.path().join("plugin.so");
    let mut cc = compiler();
    cc.args(["-shared", "-fPIC", "-o"]).arg(&plugin).arg(source("callback_plugin.c"));
    assert!(cc.status().unwrap().success());
    run(&prepared("callback", Link::Archive), &["unloaded", plugin.to_str().unwrap()]).lived();
}

#[test]
fn senseless_arguments_start_nothing() {
    holds("arguments_wrong");
}

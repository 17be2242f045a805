//! Single sentences of the manual, where no other test proves them in passing.

#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::process::Command;
use support::{Link, Scratch, prepared, root, run};

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

#[test]
fn a_map_without_descriptor_is_asked_by_its_path() {
    holds("without_descriptor");
}

#[test]
fn what_is_kept_open_is_nobody_s_standard_output() {
    holds("standard_closed");
}

#[test]
fn the_record_locks_of_an_adopted_file_stay() {
    holds("record_locks");
}

#[test]
fn what_the_host_has_closed_is_not_used_as_ours() {
    holds("closed_by_the_host");
}

/// "What a code that a function of this header returned means": each that the header names has a
/// text of its own.
#[test]
fn each_code_of_the_header_has_a_text() {
    let header = std::fs::read_to_string(root().join("include/sigward.h")).unwrap();
    let texts = header.lines().filter(|line| line.trim_start().starts_with("//"));
    let names: BTreeSet<&str> = texts
        .flat_map(|line| line.split(|one: char| !one.is_ascii_alphanumeric() && one != '-'))
        .filter_map(|word| word.strip_prefix("-E"))
        .filter(|name| !name.is_empty())
        .collect();
    assert!(names.len() > 30, "{names:?}");
    let scratch = Scratch::new("manual-codes");
    let (source, program) = (scratch.path().join("codes.c"), scratch.path().join("codes"));
    let lines = names.iter().map(|name| format!("    puts(sigward_strerror(-E{name}));\n"));
    let lines: String = lines.collect();
    let begin =
        "#include <errno.h>\n#include <stdio.h>\n#include \"sigward.h\"\nint main(void) {\n";
    let end = "    puts(sigward_strerror(-12345));\n    return 0;\n}\n";
    std::fs::write(&source, format!("{begin}{lines}{end}")).unwrap();
    let mut cc = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".into()));
    cc.arg("-I").arg(root().join("include")).arg("-o").args([&program, &source]);
    cc.arg(support::library("release").join("libsigward.a"));
    assert!(cc.status().expect("a C compiler").success());
    let said = run(&program, &[]);
    let mut said: Vec<&str> = said.lived().out.lines().collect();
    let other = said.pop().unwrap();
    let without: Vec<_> = names.iter().zip(&said).filter(|(_, text)| **text == other).collect();
    assert!(said.len() == names.len() && without.is_empty(), "{without:?}");
}

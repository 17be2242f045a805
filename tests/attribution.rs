//! Attribution is right or unknown, over every system call that raises SIGPIPE; and nothing is lost in a storm.

mod support;

use std::process::Command;
use support::{Link, host, library, root, run, target};

fn caller() -> std::path::PathBuf {
    let library = target().join("hosts/libcaller.so");
    std::fs::create_dir_all(target().join("hosts")).unwrap();
    let built = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".into()))
        .args(["-std=gnu11", "-O1", "-DBARE", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(root().join("tests/hosts/caller.c"))
        .status();
    assert!(built.unwrap().success());
    library
}

#[test]
fn the_call_the_descriptor_and_the_library_are_named_also_under_a_storm_of_lower_signals() {
    let (program, library) = (host("attribution", Link::Archive), caller());
    run(&program, &[library.to_str().unwrap(), "1"]).lived();
    run(&program, &[library.to_str().unwrap(), "3000"]).lived();
}

#[test]
fn a_literal_in_the_segment_of_code_is_no_caller() {
    let program = target().join("hosts/one_segment");
    let caller = caller();
    let built = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".into()))
        .args([
            "-std=gnu11",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pthread",
            "-Wl,-z,noseparate-code",
            "-I",
        ])
        .arg(root().join("include"))
        .arg(root().join("tests/hosts/one_segment.c"))
        .arg(library("release").join("libsigward.a"))
        .args(["-ldl", "-lm", "-o"])
        .arg(&program)
        .status();
    assert!(built.unwrap().success());
    run(&program, &[caller.to_str().unwrap()]).lived();
}

#[test]
fn a_million_signals_on_eight_threads_are_all_counted() {
    let run = run(&host("storm", Link::Archive), &[]);
    println!("{}", run.lived().out);
}

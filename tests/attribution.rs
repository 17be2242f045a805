//! Attribution is right or unknown, over every system call that raises SIGPIPE; and nothing is lost in a storm.

mod support;

use std::process::Command;
use support::{Link, host, root, run, target};

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
fn a_million_signals_on_eight_threads_are_all_counted() {
    let run = run(&host("storm", Link::Archive), &[]);
    println!("{}", run.lived().out);
}

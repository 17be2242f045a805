//! A C++ host, bare and warded, by way of `sigward.hpp`.

#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use support::{SIGPIPE, library, root, run, target};

fn host(bare: bool) -> &'static PathBuf {
    static PROGRAMS: [OnceLock<PathBuf>; 2] = [const { OnceLock::new() }; 2];
    PROGRAMS[usize::from(bare)].get_or_init(|| build(bare))
}

fn build(bare: bool) -> PathBuf {
    let program = target().join(if bare { "hosts/cpp-bare" } else { "hosts/cpp-warded" });
    std::fs::create_dir_all(target().join("hosts")).unwrap();
    let mut compiler = Command::new(std::env::var("CXX").unwrap_or_else(|_| "c++".into()));
    compiler.args([
        "-std=c++17",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        "-pthread",
        "-I",
    ]);
    compiler
        .arg(root().join("include"))
        .arg(root().join("tests/ffi/host.cpp"))
        .arg("-o")
        .arg(&program);
    if bare {
        compiler.arg("-DBARE");
    } else {
        compiler.arg(library("release").join("libsigward.a"));
    }
    assert!(compiler.status().expect("a C++ compiler is installed").success());
    program
}

#[test]
fn a_cpp_host_dies_bare_and_lives_warded() {
    run(host(true), &[]).died_of(SIGPIPE);
    assert_eq!(run(host(false), &[]).lived().out, "lived\n");
}

#[test]
fn a_cpp_map_that_is_truncated_kills_bare_and_is_an_exception_warded() {
    run(host(true), &["map"]).died_of(libc::SIGBUS);
    assert_eq!(run(host(false), &["map"]).lived().out, "lived\n");
}

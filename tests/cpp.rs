//! A C++ host, bare and warded, by way of `sigward.hpp`.

mod support;

use std::process::Command;
use support::{SIGPIPE, library, root, run, target};

fn host(bare: bool) -> std::path::PathBuf {
    let program = target().join(if bare { "hosts/cpp-bare" } else { "hosts/cpp-warded" });
    std::fs::create_dir_all(target().join("hosts")).unwrap();
    let mut compiler = Command::new(std::env::var("CXX").unwrap_or_else(|_| "c++".into()));
    compiler.args(["-std=c++17", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread", "-I"]);
    compiler.arg(root().join("include")).arg(root().join("tests/hosts/host.cpp")).arg("-o").arg(&program);
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
    run(&host(true), &[]).died_of(SIGPIPE);
    assert_eq!(run(&host(false), &[]).lived().out, "lived\n");
}

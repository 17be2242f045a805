//! The book's programs are files below examples/, which are built and run here; its commands exist.

#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Scratch, root, run, target};

/// Every page: its name and text.
fn pages() -> Vec<(String, String)> {
    let entries =
        std::fs::read_dir(root().join("docs/book")).unwrap().map(|entry| entry.unwrap().path());
    let page = |path: PathBuf| {
        (
            path.file_name().unwrap().to_str().unwrap().to_owned(),
            std::fs::read_to_string(path).unwrap(),
        )
    };
    entries.map(page).collect()
}

/// The language and text of every fenced block.
fn blocks(text: &str) -> Vec<(String, String)> {
    let parts = text.split("```").skip(1).step_by(2);
    parts.map(|part| part.split_once('\n').unwrap()).map(|(a, b)| (a.into(), b.into())).collect()
}

/// The files of a folder that end so, sorted.
fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.to_string_lossy().ends_with(end)).collect();
    found.sort();
    assert!(!found.is_empty(), "{folder} has none");
    found
}

fn examples() -> Vec<PathBuf> {
    let go = ["first", "geoip", "journal", "exporter"]
        .map(|name| files(&format!("examples/go/{name}"), ".go"));
    let others =
        [files("examples", ".rs"), files("examples/c", ".c"), files("examples/cpp", ".cpp")];
    go.into_iter().chain(others).flatten().collect()
}

#[test]
fn every_program_is_an_example() {
    let examples: Vec<String> =
        examples().iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let mut shown = 0;
    for (name, text) in pages() {
        for (language, block) in blocks(&text) {
            match language.as_str() {
                "sh" => (),
                "c" | "cpp" | "go" | "rust" => {
                    assert!(examples.contains(&block), "{name}: no file is\n{block}");
                    shown += 1;
                }
                other => panic!("{name}: a block of {other}, which nothing tests"),
            }
        }
    }
    assert_eq!(shown, examples.len(), "an example is not in the book");
}

#[test]
fn every_make_target_exists() {
    let mut known = 0;
    for (name, text) in pages() {
        for (_, block) in blocks(&text).into_iter().filter(|block| block.0 == "sh") {
            for command in block.lines().filter_map(|line| line.strip_prefix("make ")) {
                let words = command.split_whitespace();
                let make = Command::new("make")
                    .arg("-n")
                    .args(words)
                    .current_dir(root())
                    .output()
                    .unwrap();
                assert!(make.status.success(), "{name}: make {command}");
                known += 1;
            }
        }
    }
    assert!(known > 0);
}

/// Builds a program with a compiler and runs it: it lives, and says this.
fn builds(compiler: &str, source: &Path, standard: &str, said: &str) {
    let folder = Scratch::new("book");
    let product = folder.path().join("program");
    let mut command = Command::new(compiler);
    command.args([standard, "-Wall", "-Wextra", "-Werror", "-I"]).arg(root().join("include"));
    command
        .arg("-o")
        .args([&product, source])
        .arg(support::library("release").join("libsigward.a"));
    assert!(command.status().unwrap().success(), "{}", source.display());
    assert_eq!(run(&product, &[]).lived().out, said, "{}", source.display());
}

#[test]
fn the_c_and_cpp_examples_run() {
    let said = [
        ("first", "write: Broken pipe\n"),
        ("map", "lost: the file was cut\n"),
        ("status", "SIGPIPE: armed\nSIGBUS: armed\n"),
    ];
    let sources = files("examples/c", ".c");
    assert_eq!(sources.len(), said.len());
    for (name, said) in said {
        builds("cc", &root().join(format!("examples/c/{name}.c")), "-std=gnu11", said);
    }
    builds("c++", &root().join("examples/cpp/map.cpp"), "-std=c++17", "read_at: Bad address\n");
}

#[test]
fn the_rust_examples_run() {
    let said = [
        ("first", "write: Broken pipe (os error 32)\n", ""),
        ("map", "lost: Truncated { len_now: 0 }\n", ""),
        ("journal", "order 1\n", ""),
        ("log_events", "", "sigward] SIGBUS caught: read by log_events on thread"),
        ("trace_events", "", "WARN sigward: SIGBUS caught: read by trace_events on thread"),
    ];
    assert_eq!(files("examples", ".rs").len(), said.len());
    let mut cargo = Command::new(env!("CARGO"));
    // With the features of `make test`, whose build of the crate serves here as well.
    cargo.args(["build", "--quiet", "--all-features", "--examples"]).current_dir(root());
    cargo.arg("--target-dir").arg(target());
    assert!(cargo.status().unwrap().success());
    for (name, said, logged) in said {
        let run = run(&target().join("debug/examples").join(name), &[]);
        let run = run.lived();
        assert_eq!(run.out, said, "{name}");
        assert!(run.err.contains(logged), "{name}: {}", run.err);
        assert!(
            logged.is_empty() || run.err.contains("error.type=") && run.err.lines().count() == 1
        );
    }
}

#[test]
fn the_go_examples_run() {
    let platform = if cfg!(target_arch = "aarch64") { "linux_arm64" } else { "linux_amd64" };
    if !root().join("go/lib").join(platform).join("libsigward.a").exists() {
        support::skip("no archive for Go here, run `make archive`");
        return;
    }
    let said = [
        ("first", "SIGPIPE armed; SIGBUS armed\n"),
        ("geoip", "Oslo\n"),
        ("journal", "order 1\n"),
        ("exporter", "sigward_sigpipe_swallowed_total 0\n"),
    ];
    for (name, said) in said {
        let folder = root().join("examples/go");
        let mut go = Command::new("go");
        let output = go.args(["run", &format!("./{name}")]).current_dir(folder).output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && out.starts_with(said), "{name}: {output:?}");
    }
}

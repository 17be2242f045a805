//! The README's Go and C programs are taken out of it, built and run. (Its Rust is a doctest of the crate.)

mod support;

use std::process::Command;
use support::{library, root, target};

/// The first fenced block of this language.
fn block(language: &str) -> String {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let after = readme.split_once(&format!("```{language}\n")).expect("a block of this language").1;
    after.split_once("```").expect("the block ends").0.to_owned()
}

#[test]
fn the_c_program_compiles_and_runs() {
    let folder = target().join("readme");
    std::fs::create_dir_all(&folder).unwrap();
    let (source, program) = (folder.join("program.c"), folder.join("program"));
    std::fs::write(&source, block("c")).unwrap();
    let cc = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let built = Command::new(cc)
        .args(["-Wall", "-Wextra", "-Werror", "-I"])
        .arg(root().join("include"))
        .arg("-o")
        .args([&program, &source])
        .arg(library("release").join("libsigward.a"))
        .status();
    assert!(built.unwrap().success());
    support::run(&program, &[]).lived();
}

#[test]
fn the_go_program_builds_and_runs() {
    if !root().join("go/lib").join(go_platform()).join("libsigward.a").exists() {
        println!("skipped: no archive for Go here, run `make archive`");
        return;
    }
    let folder = target().join("readme-go");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("main.go"), block("go")).unwrap();
    let module = "github.com/sigward/sigward/go";
    let replaced = root().join("go");
    let text = format!(
        "module readme\ngo 1.21\nrequire {module} v0.0.0\nreplace {module} => {}\n",
        replaced.display()
    );
    std::fs::write(folder.join("go.mod"), text).unwrap();
    let output =
        Command::new("go").args(["run", "."]).current_dir(&folder).output().expect("Go is installed");
    assert!(output.status.success(), "{output:?}");
}

fn go_platform() -> &'static str {
    if cfg!(target_arch = "aarch64") { "linux_arm64" } else { "linux_amd64" }
}

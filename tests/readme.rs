//! The README's Go and C programs are taken out of it and built; the first of each is run. (Its
//! Rust is a doctest of the crate.)

mod support;

use std::process::Command;
use support::{library, root, target};

/// The fenced blocks of this language.
fn blocks(language: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let fence = format!("```{language}\n");
    let after = readme.split(&fence).skip(1);
    after.map(|text| text.split_once("```").expect("the block ends").0.to_owned()).collect()
}

#[test]
fn the_c_programs_compile_and_the_first_one_runs() {
    let folder = target().join("readme");
    std::fs::create_dir_all(&folder).unwrap();
    let blocks = blocks("c");
    assert_eq!(blocks.len(), 2);
    for (number, block) in blocks.iter().enumerate() {
        let source = folder.join(format!("program{number}.c"));
        let product = folder.join(format!("program{number}.out"));
        std::fs::write(&source, block).unwrap();
        let mut cc = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".into()));
        cc.args(["-Wall", "-Wextra", "-Werror", "-I"]).arg(root().join("include"));
        cc.arg("-o").args([&product, &source]);
        if number == 0 {
            cc.arg(library("release").join("libsigward.a"));
        } else {
            cc.arg("-c");
        }
        assert!(cc.status().unwrap().success(), "{block}");
    }
    support::run(&folder.join("program0.out"), &[]).lived();
}

#[test]
fn the_go_programs_build_and_the_first_one_runs() {
    if !root().join("go/lib").join(go_platform()).join("libsigward.a").exists() {
        println!("skipped: no archive for Go here, run `make archive`");
        return;
    }
    let blocks = blocks("go");
    assert_eq!(blocks.len(), 2);
    for (number, (block, what)) in blocks.iter().zip(["run", "vet"]).enumerate() {
        let folder = target().join(format!("readme-go{number}"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("main.go"), block).unwrap();
        let module = "github.com/sigward/sigward/go";
        let replaced = root().join("go");
        let text = format!(
            "module readme\ngo 1.21\nrequire {module} v0.0.0\nreplace {module} => {}\n",
            replaced.display()
        );
        std::fs::write(folder.join("go.mod"), text).unwrap();
        let output =
            Command::new("go").args([what, "."]).current_dir(&folder).output().expect("Go is installed");
        assert!(output.status.success(), "{output:?}");
    }
}

fn go_platform() -> &'static str {
    if cfg!(target_arch = "aarch64") { "linux_arm64" } else { "linux_amd64" }
}

//! Every program of the README is taken out of it, built and run; what it shows of commands and of
//! output is compared with what there is. (The lines of the log: `src/observe/log.rs`.)

#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Scratch, lives, root, target};

/// The fenced blocks that begin with this line.
fn blocks(fence: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let fence = format!("```{fence}\n");
    let after = readme.split(&fence).skip(1);
    after.map(|text| text.split_once("```").expect("the block ends").0.to_owned()).collect()
}

/// What each block of the README is, so that a new one does not go untested.
#[test]
fn there_are_no_other_blocks() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let fences: Vec<&str> = readme.lines().filter(|line| line.starts_with("```")).collect();
    let begins: Vec<&str> = fences.iter().step_by(2).copied().collect();
    let known = [
        "```sh",
        "```go",
        "```c",
        "```rust",
        "```text",
        "```go",
        "```c",
        "```rust,no_run",
        "```text",
    ];
    assert_eq!(begins, known);
}

/// The map that the programs look into.
fn with_a_city(folder: &Path) -> PathBuf {
    let path = folder.join("city.mmdb");
    std::fs::write(&path, [7; 10_000]).unwrap();
    path
}

/// What the second C program is called by.
const MAIN: &str = r#"
#include <stdio.h>
int main(int count, char **arguments) {
    char buf[16];
    ssize_t missing = head("/nowhere/at/all", buf, sizeof buf);
    ssize_t there = head(arguments[count - 1], buf, sizeof buf);
    printf("%zd %zd %d\n", there, missing, buf[15]);
    return 0;
}
"#;

#[test]
fn the_c_programs_build_and_run() {
    let folder = Scratch::new("readme-c");
    let city = with_a_city(folder.path());
    let blocks = blocks("c");
    for (number, block) in blocks.iter().enumerate() {
        let source = folder.path().join(format!("program{number}.c"));
        let product = folder.path().join(format!("program{number}.out"));
        std::fs::write(&source, if number == 0 { block.clone() } else { block.clone() + MAIN })
            .unwrap();
        let mut cc = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".into()));
        cc.args(["-Wall", "-Wextra", "-Werror", "-I"]).arg(root().join("include"));
        cc.arg("-o").args([&product, &source]);
        cc.arg(support::library("release").join("libsigward.a"));
        assert!(cc.status().unwrap().success(), "{block}");
    }
    support::run(&folder.path().join("program0.out"), &[]).lived();
    let second = support::run(&folder.path().join("program1.out"), &[city.to_str().unwrap()]);
    assert_eq!(second.lived().out, "16 -2 7\n");
}

#[test]
fn the_go_programs_build_and_run() {
    if !root().join("go/lib").join(go_platform()).join("libsigward.a").exists() {
        println!("skipped: no archive for Go here, run `make archive`");
        return;
    }
    for (number, block) in blocks("go").iter().enumerate() {
        let folder = target().join(format!("readme-go{number}"));
        std::fs::create_dir_all(&folder).unwrap();
        with_a_city(&folder);
        std::fs::write(folder.join("main.go"), block).unwrap();
        let module = "github.com/sigward/sigward/go";
        let replaced = root().join("go");
        let text = format!(
            "module readme\ngo 1.21\nrequire {module} v0.0.0\nreplace {module} => {}\n",
            replaced.display()
        );
        std::fs::write(folder.join("go.mod"), text).unwrap();
        for what in ["vet", "run"] {
            let mut go = Command::new("go");
            let output = go.args([what, "."]).current_dir(&folder).output().expect("Go is there");
            assert!(output.status.success(), "{output:?}");
        }
    }
}

/// The lines between `BEGIN` and `END` in this file are those of the README.
#[test]
fn the_rust_lines_about_a_map_run() {
    fn lines() -> Result<usize, sigward::mapping::Error> {
        // BEGIN
        let map = sigward::mapping::Map::open("city.mmdb")?;
        let checksum = map.with(0..map.len(), |bytes| {
            (0..bytes.len()).filter_map(|at| bytes.get(at)).fold(0_u8, u8::wrapping_add)
        })?;
        let mut head = [0; 16];
        // Err(Lost(fault)): fault.cause() is Truncated, NoSpace, Io, Hardware or Unknown.
        let count = map.read_at(0, &mut head)?;
        // END
        assert_eq!((checksum, head), (7_u8.wrapping_mul((10_000 % 256) as u8), [7; 16]));
        Ok(count)
    }
    let squeezed = |lines: &str| lines.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, from) = include_str!("readme.rs").split_once("// BEGIN\n").unwrap();
    let (here, _) = from.split_once("// END\n").unwrap();
    let shown = blocks("rust,no_run").remove(0);
    let (shown, _) = shown.split_once("# let _").unwrap();
    assert_eq!(squeezed(shown), squeezed(here));
    lives("the_rust_lines_about_a_map_run", |folder| {
        with_a_city(folder);
        std::env::set_current_dir(folder).unwrap();
        assert_eq!(lines().unwrap(), 16);
    });
}

/// The test that tests/README.md shows is one, and it names each file.
#[test]
fn the_readme_of_the_tests_is_true() {
    let read = |name: &str| std::fs::read_to_string(root().join("tests").join(name)).unwrap();
    let text = read("README.md");
    for (fence, file) in [("```c\n", "sigpipe/policy.c"), ("```rust\n", "sigpipe/policy.rs")] {
        let shown = text.split_once(fence).unwrap().1.split_once("```").unwrap().0;
        assert!(read(file).contains(shown), "{file} has no\n{shown}");
    }
    let words: Vec<&str> =
        text.split(|one: char| !one.is_ascii_alphanumeric() && one != '_' && one != '-').collect();
    let entries = |folder: &Path| {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_string();
    let cargo = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut seen = std::collections::HashSet::new();
    for module in entries(&root().join("tests")) {
        let module_name = name(&module);
        assert!(
            words.contains(&module_name.as_str()),
            "tests/README.md: {module_name} is not there"
        );
        if !module.is_dir() {
            continue;
        }
        for file in entries(&module) {
            let test = name(&file);
            let kind = file.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
            if kind == "c" {
                assert!(seen.insert(test.clone()), "two hosts are called {test}");
            }
            if kind != "rs" || ["runtimes", "support"].contains(&&*module_name) || test == "ways" {
                continue;
            }
            assert!(words.contains(&test.as_str()), "tests/README.md: {test} is not there");
            let entry = format!("{{ name = \"{test}\", path = \"tests/{module_name}/{test}.rs\"");
            assert!(cargo.contains(&entry), "Cargo.toml: no {entry}");
        }
    }
}

/// `make demo` and `make test` are what they are called.
#[test]
fn the_commands_exist() {
    for block in blocks("sh") {
        for command in block.lines().map(|line| line.split('#').next().unwrap().trim()) {
            let target = command.strip_prefix("make ").expect("a command of make");
            let known = Command::new("make").args(["-n", target]).current_dir(root()).output();
            assert!(known.expect("make is there").status.success(), "{command}");
        }
    }
}

/// Each row of the table of platforms names what proves it, and the Makefile has that.
#[test]
fn each_platform_has_a_command_that_proves_it() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let (_, table) = readme.split_once("\n| platform |").expect("a table of platforms");
    let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 5, "{rows:#?}");
    for row in rows {
        let proof = row.split(" | ").nth(3).expect("a column for the proof");
        let commands: Vec<&str> = proof.split('`').skip(1).step_by(2).collect();
        assert!(!commands.is_empty(), "nothing proves: {row}");
        for command in commands {
            let target = command.strip_prefix("make ").expect("a command of make");
            let rule = format!("\n{target}:");
            assert!(makefile.contains(&rule), "the Makefile has no {target}: {row}");
        }
    }
}

/// What the manuals name as a file or folder of this project, or as a test in Go, is there.
#[test]
fn what_the_manuals_name_exists() {
    let there = |name: &str| {
        let name = name.trim_end_matches('/');
        ["", "src"].iter().any(|folder| root().join(folder).join(name).exists())
    };
    let tests: String = walk(&root().join("tests/go"))
        .chain(walk(&root().join("go")))
        .filter(|path| path.to_string_lossy().ends_with("_test.go"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let mut missing = Vec::new();
    let book =
        walk(&root().join("docs/book")).map(|page| page.strip_prefix(root()).unwrap().to_owned());
    let others = ["README.md", "docs/design.md", "go-example/README.md", "tests/README.md"]
        .map(PathBuf::from);
    for manual in others.into_iter().chain(book) {
        let text = std::fs::read_to_string(root().join(&manual)).unwrap();
        let manual = manual.display();
        let outside: String = text.split("```").step_by(2).collect();
        for name in outside.split('`').skip(1).step_by(2) {
            let is_path = |end: &str| name.ends_with(end) && name.contains('/');
            let begins = ["tests/", "src/", "scripts/", "capi/", "docs/", "benches/"];
            let is_ours = begins.iter().any(|begin| name.starts_with(begin)) || is_path(".rs");
            let plain = |one: char| one.is_ascii_alphanumeric() || "/._-".contains(one);
            let in_example = root().join("go-example").join(name).exists();
            if is_ours && name.chars().all(plain) && !there(name) && !in_example {
                missing.push(format!("{manual}: {name}"));
            }
            if name.starts_with("Test") && !tests.contains(&format!("func {name}(")) {
                missing.push(format!("{manual}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Every file below a folder.
fn walk(folder: &Path) -> Box<dyn Iterator<Item = PathBuf>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    Box::new(
        entries.flat_map(
            |path| {
                if path.is_dir() { walk(&path) } else { Box::new(std::iter::once(path)) }
            },
        ),
    )
}

fn go_platform() -> &'static str {
    if cfg!(target_arch = "aarch64") { "linux_arm64" } else { "linux_amd64" }
}

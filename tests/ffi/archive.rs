//! `scripts/isolate-archive --no-backtrace`: what is left of a panic in a Rust archive.
#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Scratch, root, run_command};

const LIBRARY: &str = r#"
#[unsafe(no_mangle)]
pub extern "C" fn half_caught() -> bool {
    std::panic::catch_unwind(|| panic!("the first")).is_err()
}
#[unsafe(no_mangle)]
pub extern "C" fn half_dies(number: i32) {
    panic!("the number {number}")
}
"#;

const PROGRAM: &str = "
_Bool half_caught(void);
void half_dies(int number);
int main(void) {
    if (!half_caught()) return 1;
    half_dies(7);
}
";

fn made(command: &mut Command) {
    let output = command.output().expect("compilers and linkers are installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn program(folder: &Path, archive: &Path, options: &[&str]) -> PathBuf {
    let isolated = folder.join(format!("isolated{}.a", options.concat()));
    let mut isolate = Command::new(root().join("scripts/isolate-archive"));
    made(isolate.args(options).args([archive, &isolated]).arg("half_*"));
    let program = isolated.with_extension("program");
    let mut cc = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".into()));
    made(
        cc.arg(folder.join("program.c")).arg(isolated).args(["-lgcc_s", "-lm", "-o"]).arg(&program),
    );
    program
}

#[test]
fn without_its_backtrace_a_panic_still_says_what_and_where_and_can_be_caught() {
    let scratch = Scratch::new("archive");
    let folder = scratch.path();
    std::fs::write(folder.join("half.rs"), LIBRARY).unwrap();
    std::fs::write(folder.join("program.c"), PROGRAM).unwrap();
    let archive = folder.join("libhalf.a");
    let mut rustc = Command::new(std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into()));
    rustc
        .args(["--edition=2024", "--crate-type=staticlib", "-O", "-o"])
        .arg(&archive)
        .arg("half.rs");
    made(rustc.current_dir(folder));

    let sizes = [&[][..], &["--no-backtrace"]].map(|options| {
        let program = program(folder, &archive, options);
        let mut command = Command::new(&program);
        command.env("RUST_BACKTRACE", "1");
        let died = run_command(command);
        died.died_of(libc::SIGABRT);
        for line in ["half.rs:4:", "\nthe first\n", "half.rs:8:", "\nthe number 7\n"] {
            assert!(died.err.contains(line), "{line}: {}", died.err);
        }
        assert_eq!(died.err.contains(" 0: "), options.is_empty(), "{}", died.err);
        std::fs::metadata(program).unwrap().len()
    });
    assert!(sizes[1] + 150_000 < sizes[0], "{sizes:?}");
}

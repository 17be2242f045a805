//! LMDB (writemap) and SQLite (the -shm file), which survive a death at any instruction and not a
//! store that silently goes nowhere. With their files adopted they die of a lost page as they do
//! bare, with one line that says of what, and lose nothing.

use crate::support::{Run, run_command};
use crate::tools::{Scratch, Ward, first_line, folder, need, shared_library, source, text};
use std::path::Path;
use std::process::Command;

const SIGBUS: i32 = libc::SIGBUS;

/// An interpreter that has PyPI's lmdb: that of the folder which `tests/runtimes/setup` fills, or
/// the system's.
fn with_lmdb() -> Option<String> {
    let own = folder().join("venv/bin/python3");
    let asked = ["-c", "import lmdb, sys; print(sys.executable)"];
    need(
        "PyPI's lmdb",
        [text(&own), "python3"].iter().find_map(|python| first_line(python, &asked)),
    )
}

fn python(python: &str, scenario: &str, folder: &Path, ward: Ward) -> Command {
    let mut command = Command::new(python);
    command.arg(source("stores.py")).arg(scenario).arg(folder);
    if ward == Ward::Archive {
        command.arg(shared_library());
    }
    command
}

/// What a store says before it dies of a lost page, in one line where we are.
fn dies(run: &Run, said: &str, ward: Ward, file: &str, cause: &str) {
    assert_eq!(run.died_of(SIGBUS).out, said);
    let words = usize::from(ward == Ward::Archive);
    assert_eq!(
        run.err.lines().filter(|line| line.starts_with("sigward: last words: ")).count(),
        words,
        "{run:#?}"
    );
    assert!(
        words == 0 || run.err.contains(file) && run.err.trim_end().ends_with(cause),
        "{run:#?}"
    );
}

#[test]
fn sqlite_with_a_cut_index_dies_as_bare_and_loses_nothing() {
    let Some(interpreter) = crate::python::python() else { return };
    for ward in [Ward::Bare, Ward::Archive] {
        let scratch = Scratch::new("sqlite-index");
        let run = run_command(python(&interpreter, "sqlite_cut", scratch.path(), ward));
        dies(&run, "first are safe\n", ward, "/db-shm (inode ", "the file was cut to 0 bytes");
        let found = run_command(python(&interpreter, "sqlite_count", scratch.path(), Ward::Bare));
        assert_eq!(found.lived().out, "[('first', 200)] ('ok',)\n");
    }
}

#[test]
fn lmdb_on_a_full_disk_dies_as_bare_and_loses_nothing() {
    let Some(interpreter) = with_lmdb() else { return };
    for ward in [Ward::Bare, Ward::Archive] {
        let scratch = Scratch::new("lmdb-full");
        let steps = r#"
            set -e; mount -t tmpfs -o size=1m none "$1"
            "$2" "$3" lmdb_fill "$1" $4 2>"$1.err" >"$1.out" && status=0 || status=$?
            mount -o remount,size=64m "$1"
            cat "$1.out"; echo "status $status"; "$2" "$3" lmdb_count "$1"; cat "$1.err" >&2"#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", steps, "sh"]);
        command.arg(scratch.path()).arg(&interpreter).arg(source("stores.py"));
        if ward == Ward::Archive {
            command.arg(shared_library());
        }
        let run = run_command(command);
        for file in ["out", "err"] {
            let _ = std::fs::remove_file(format!("{}.{file}", text(scratch.path())));
        }
        if run.err.contains("unshare failed") || run.err.contains("mount failed") {
            need::<()>("a mount namespace", None);
            return;
        }
        // 128 and the signal.
        assert_eq!(run.lived().out, format!("20 are safe\nstatus {}\n20 True\n", 128 + SIGBUS));
        let words = run.err.lines().find(|line| line.starts_with("sigward: last words: "));
        let right = |line: &str| line.contains("/data.mdb (inode ") && line.ends_with("no space");
        assert_eq!(words.map(right), (ward == Ward::Archive).then_some(true), "{run:#?}");
    }
}

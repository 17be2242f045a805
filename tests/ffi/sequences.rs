//! Every function of the C header in sequences made of seeds, with hostile arguments, threads,
//! signals, forks and files that are cut meanwhile. `make fuzz` has other seeds, and sanitizers.

#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use support::{Link, Run, Scratch, prepared, root, run};

/// In memory where there is such a folder: a log that waits for a disk makes few calls.
fn sequences(scenario: &str, link: Link, first: &str, count: &str) -> Run {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let folder = Scratch::in_folder(&parent, scenario);
    run(&prepared("sequences", link), &[scenario, first, count, folder.as_str()])
}

/// What the header declares: `sigward_map_open(`.
fn declared() -> BTreeSet<String> {
    let header = std::fs::read_to_string(root().join("include/sigward.h")).expect("committed");
    let (functions, _macros) = header.split_once("#ifndef SIGWARD_NO_MACROS").expect("macros");
    let code = functions.lines().filter(|line| !line.trim_start().starts_with("//"));
    let words = code.flat_map(|line| line.split([' ', '*']));
    let named = words.filter_map(|word| Some(word.split_once('(')?.0));
    let functions = named.filter(|name| name.starts_with("sigward_") && !name.contains(')'));
    functions.map(str::to_owned).collect()
}

/// Names, how often each was called, and how often it succeeded.
fn called(run: &Run) -> BTreeMap<String, (u64, u64)> {
    let rows = run.lived().out.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let number = |word: &str| word.parse().expect("a number");
    rows.map(|row| (row[0].to_owned(), (number(row[1]), number(row[2])))).collect()
}

#[test]
fn no_sequence_of_calls_leaves_anything_behind() {
    let called = called(&sequences("run", Link::Archive, "1", "25"));
    let declared = declared();
    assert!(declared.len() >= 115, "{declared:?}");
    for name in &declared {
        let (calls, good) = called.get(name).copied().unwrap_or_default();
        // The descriptor of an echo is not certain there, so none is quiet.
        let refused = cfg!(target_arch = "aarch64") && name == "sigward_set_nosigpipe";
        assert!(
            calls > 0 && (good > 0) != refused,
            "{name}: called {calls} times, {good} of them succeeded"
        );
    }
}

#[test]
fn nor_does_it_with_the_checks_of_a_debug_build() {
    called(&sequences("run", Link::DebugArchive, "1000", "10"));
}

#[test]
fn what_is_left_open_is_seen() {
    for kind in ["forgets_map", "forgets_adopted", "forgets_lease", "forgets_log"] {
        let run = sequences(kind, Link::Archive, "1", "1");
        assert_eq!(run.status.code(), Some(99), "{kind}: {run:?}");
        assert!(run.err.contains("sequences.c:"), "{kind}: {}", run.err);
    }
}

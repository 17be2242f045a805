//! Two copies of sigward in one process: neither knows of the other, and the host knows of neither.

use crate::support::{Run, SIGPIPE, run};
use crate::tools::{Made, Ward, build, folder, shared_library, text};
use std::path::PathBuf;
use std::sync::OnceLock;

/// How the two copies come in: the name that the host knows, and the two files.
fn ways() -> &'static [(&'static str, PathBuf, PathBuf)] {
    static WAYS: OnceLock<Vec<(&str, PathBuf, PathBuf)>> = OnceLock::new();
    WAYS.get_or_init(|| {
        let shared = shared_library();
        let part = build("part", Made::Library, Ward::Archive, &[]);
        let copy_of = |file: &PathBuf, name: &str| {
            // dlopen(3) knows a file by its inode.
            let fresh = folder().join(format!("{name}.{}", std::process::id()));
            let copy = folder().join(name);
            std::fs::copy(file, &fresh).expect("target is writable");
            std::fs::rename(&fresh, &copy).expect("target is writable");
            copy
        };
        let second = copy_of(&shared, "second-copy.so");
        let other = copy_of(&part, "second-part.so");
        vec![
            ("local", shared.clone(), second.clone()),
            ("global", shared.clone(), second),
            ("namespace", shared.clone(), shared),
            ("local", part.clone(), other.clone()),
            // The names of both meet: the functions are the first's.
            ("global", part, other),
        ]
    })
}

/// Runs the host in these ways, in all orders of taking and leaving.
fn each(mode: &str, ways: &[(&str, PathBuf, PathBuf)], check: impl Fn(&str, &Run)) {
    let host = build("two", Made::Program, Ward::Bare, &[]);
    for (how, first, second) in ways {
        for (init, leave) in [("AB", "AB"), ("AB", "BA"), ("BA", "AB"), ("BA", "BA")] {
            let run = run(&host, &[mode, how, init, leave, text(first), text(second)]);
            check(&format!("{how} {} init {init} leave {leave}", first.display()), &run);
        }
    }
}

const WHILE_ONE_IS_ACTIVE: &str = "both EPIPE another\none EPIPE another\n";

#[test]
fn a_write_lives_while_one_of_two_copies_is_active_and_dies_after_both_have_left() {
    for mode in ["default", "storm"] {
        // "storm": they climb over each other until there is no entry point left.
        each(mode, &ways()[..4], |what, run| {
            assert_eq!(run.died_of(SIGPIPE).out, WHILE_ONE_IS_ACTIVE, "{mode} {what} {run:#?}");
        });
    }
}

#[test]
fn two_copies_whose_names_meet_are_one() {
    each("default", &ways()[4..], |what, run| {
        assert_eq!(run.died_of(SIGPIPE).out, "both EPIPE another\n", "{what} {run:#?}");
    });
}

#[test]
fn the_hosts_own_handler_beneath_two_copies_keeps_its_signals() {
    each("handler", &ways()[..4], |what, run| {
        // After one has left: an echo, kill(2) and raise(3). After both have: kill(2).
        let expected = format!("{WHILE_ONE_IS_ACTIVE}handled 3\nnone EPIPE ");
        assert!(run.lived().out.starts_with(&expected), "{what} {run:#?}");
        assert!(run.out.ends_with("\nhandled 1\n"), "{what} {run:#?}");
    });
}

//! `sigward run`: what dies bare lives, and where nothing can be preloaded that is said.

mod support;

use support::{Run, command, finish, have, library, sigward, victim};

fn run(options: &[&str], program: &str, arguments: &[&str]) -> Run {
    let mut start = command();
    start.arg("run").args(options).arg("--library").arg(library()).arg("--");
    finish(start.arg(program).args(arguments))
}

#[test]
fn a_broken_peer_is_an_error_and_children_see_nothing_of_it() {
    let victim = victim("victim.c");
    let victim = victim.to_str().unwrap();
    assert_eq!(sigward(&["watch", "--", victim, "pipe"]).code, 141);
    let lived = run(&[], victim, &["pipe"]);
    assert_eq!((lived.code, lived.out.as_str()), (0, "EPIPE\n"), "{lived:?}");
    assert!(lived.err.contains("the program's handler gets it"), "{lived:?}");
    assert_eq!(run(&["--filter"], victim, &["pipe"]).out, "EPIPE\n");
    assert_eq!(run(&["--filter", "--ignore"], victim, &["pipe"]).code, 2);
    let explained = run(&["--explain"], victim, &["pipe"]);
    assert!(explained.err.contains("SIGPIPE swallowed: write on thread"), "{explained:?}");
    // What it starts dies as without us.
    let child = run(&[], "sh", &["-c", "\"$0\" pipe; echo $?", victim]);
    assert_eq!(child.out, "141\n", "{child:?}");
    let shell = run(&[], "sh", &["-c", "env | grep -c -e ^LD_PRELOAD= -e ^SIGWARD=; exit 7"]);
    assert_eq!((shell.code, shell.out.as_str()), (7, "0\n"), "{shell:?}");
}

#[test]
fn where_nothing_can_be_preloaded_it_is_said_and_watched() {
    if have("go") {
        let victim = victim("victim.go");
        let done = run(&[], victim.to_str().unwrap(), &["other"]);
        assert_eq!((done.code, done.out.as_str()), (0, "broken pipe\n"), "{done:?}");
        assert!(done.err.contains("is static, so nothing can be preloaded"), "{done:?}");
    }
    let missing = sigward(&["run", "--library", "/nowhere/lib.so", "--", "true"]);
    assert!(missing.code == 3 && missing.err.contains("/nowhere/lib.so"), "{missing:?}");
    // The command of a build is not installed.
    let alone = sigward(&["run", "--", "true"]);
    assert!(alone.code == 3 && alone.err.contains("make install"), "{alone:?}");
}

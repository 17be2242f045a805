//! `sigward run`: what dies bare lives, and where nothing can be preloaded that is said.

mod support;

use std::process::Command;
use support::{Run, Scratch, command, finish, have, library, sigward, victim};

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
    assert!(!lived.err.contains("goes on as") && !child.err.contains("goes on as"), "{child:?}");
    let instead = run(&[], "sh", &["-c", "exec \"$0\" pipe", victim]);
    assert!(instead.code == 141 && instead.err.contains("goes on as victim-c"), "{instead:?}");
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
    let scratch = Scratch::new("run-obstacles");
    let victim = std::fs::read(victim("victim.c")).unwrap();
    let program = |name: &str, bytes: &[u8]| {
        let path = scratch.file(name, bytes);
        // By another program: a child of another test's may have it open for writing else.
        finish(Command::new("sh").args(["-c", "chmod 755 $0 && cp -p $0 $0.own", &path]));
        path + ".own"
    };
    // For another C library, which would not start with ours in it.
    let loader = b"/ld-linux";
    let mut bytes = victim.clone();
    if let Some(at) = bytes.windows(loader.len()).position(|bytes| bytes == loader) {
        bytes[at + 1..][..3].copy_from_slice(b"on-");
        let other = run(&[], &program("other", &bytes), &["exit", "0"]);
        assert!(other.code == 127 && other.err.contains("is for another loader (on-"), "{other:?}");
    }
    // Who executes a script matters, and the section of the loader's name does not.
    if have("go") {
        let go = support::victim("victim.go");
        let script = program("script", format!("#! {}\n", go.display()).as_bytes());
        let done = run(&[], &script, &["other"]);
        assert!(done.err.contains("script.own is static"), "{done:?}");
    }
    let mut bytes = victim;
    bytes[0x28..0x30].fill(0);
    bytes[0x3c..0x40].fill(0);
    let stripped = run(&[], &program("stripped", &bytes), &["pipe"]);
    assert_eq!((stripped.code, stripped.out.as_str()), (0, "EPIPE\n"), "{stripped:?}");
    let folder = run(&[], &scratch.join(""), &[]);
    assert!(folder.code == 126 && folder.err.contains("a folder: name a program"), "{folder:?}");
    let missing = sigward(&["run", "--library", "/nowhere/lib.so", "--", "true"]);
    assert!(missing.code == 3 && missing.err.contains("/nowhere/lib.so"), "{missing:?}");
    // The command of a build is not installed.
    let alone = sigward(&["run", "--", "true"]);
    assert!(alone.code == 3 && alone.err.contains("make install"), "{alone:?}");
}

/// A MiB of ones.
fn ones(scratch: &Scratch, name: &str) -> String {
    scratch.file(name, &vec![1; 1 << 20])
}

#[test]
fn what_a_guarded_file_has_lost_is_zeros_and_told() {
    let (victim, scratch) = (victim("victim.c"), Scratch::new("run-guard"));
    let victim = victim.to_str().unwrap();
    let other = ones(&scratch, "other: file");
    for private in [&[][..], &["private"]] {
        let data = ones(&scratch, "data");
        let arguments = [&["lost", &data][..], private].concat();
        let bare = run(&["--guard", &other], victim, &arguments);
        assert_eq!(
            (bare.code, bare.err.matches("caught").count()),
            (128 + libc::SIGBUS, 0),
            "{bare:?}"
        );
        for options in [&["--guard", &other, &data][..], &["--guard", &data, "--guard", &other]] {
            ones(&scratch, "data");
            let lived = run(options, victim, &arguments);
            assert_eq!((lived.code, lived.out.as_str()), (0, "1 0 0\n"), "{lived:?}");
            let told: Vec<&str> =
                lived.err.lines().filter(|line| line.contains("SIGBUS caught")).collect();
            let [line] = told[..] else { panic!("once: {lived:?}") };
            assert!(line.contains(&format!("of the map of {data} (inode ")), "{line}");
            assert!(
                line.ends_with("): lost from byte 0 on: the file was cut to 0 bytes"),
                "{line}"
            );
        }
    }
    // One that has closed its stderr: what watches it tells of it all the same.
    let data = ones(&scratch, "data");
    let mut mute = command();
    mute.env("MUTE", "1").args(["run", "--guard", &data, "--library"]).arg(library());
    let mute = finish(mute.args(["--", victim, "lost", &data]));
    assert_eq!(
        (mute.out.as_str(), mute.err.matches("SIGBUS caught").count()),
        ("1 0 0\n", 0),
        "{mute:?}"
    );
    assert!(mute.err.contains("SIGBUS in victim-c") && mute.err.contains(&data), "{mute:?}");
    // Stores would go nowhere.
    let data = ones(&scratch, "data");
    let stores = run(&["--guard", &data], victim, &["cut", &data]);
    assert_eq!(stores.code, 128 + libc::SIGBUS, "{stores:?}");
    assert!(stores.err.contains("sigward: last words: read on thread"), "{stores:?}");
    // What it starts is not guarded, nor told of the file.
    let data = ones(&scratch, "data");
    let child = run(
        &["--guard", &data],
        "sh",
        &["-c", "\"$0\" lost \"$1\"; echo $?; echo $SIGWARD", victim, &data],
    );
    assert_eq!(child.out, "135\n\n", "{child:?}");
}

/// By a relative path and by a link; CPython maps and does not ask.
#[test]
fn python_outlives_the_loss_of_a_guarded_file() {
    const MAPS: &str = "
import mmap, os, sys
with open(sys.argv[1], 'r+b') as file:
    map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    os.truncate(sys.argv[1], 4096)
    print(map[0], map[8192], sum(map[:]))
";
    if !have("python3") {
        return;
    }
    // Itself: what is in PATH may be a script that executes it.
    let found = finish(Command::new("python3").args(["-c", "import sys; print(sys.executable)"]));
    let scratch = Scratch::new("run-python");
    let data = ones(&scratch, "data");
    let bare = finish(Command::new(found.out.trim()).args(["-c", MAPS, &data]));
    assert_eq!(bare.code, 128 + libc::SIGBUS, "{bare:?}");
    std::os::unix::fs::symlink("data", scratch.path().join("link")).unwrap();
    for name in ["data", "./data", "link"] {
        ones(&scratch, "data");
        let mut start = command();
        start.current_dir(scratch.path()).arg("run").arg("--library").arg(library());
        let lived =
            finish(start.args(["--guard", name, "--", found.out.trim(), "-c", MAPS, &data]));
        assert_eq!((lived.code, lived.out.as_str()), (0, "1 0 4096\n"), "{lived:?}");
        assert!(
            lived.err.contains("lost from byte 4096 on: the file was cut to 4096 bytes"),
            "{lived:?}"
        );
    }
}

#[test]
fn what_cannot_be_guarded_is_said() {
    let scratch = Scratch::new("run-unguarded");
    let comma = scratch.file("a,b", b"x");
    for (path, reason) in [
        (comma.as_str(), "a symbolic link"),
        ("/nowhere/data", "look at the name"),
        (scratch.path().to_str().unwrap(), "no regular file"),
    ] {
        let refused = run(&["--guard", path], "true", &[]);
        assert!(refused.code == 3 && refused.err.contains(reason), "{refused:?}");
    }
    if have("go") {
        let victim = victim("victim.go");
        let done =
            run(&["--guard", &scratch.file("data", b"x")], victim.to_str().unwrap(), &["other"]);
        assert!(done.err.contains("it is only watched, and no file is guarded"), "{done:?}");
    }
    // By the library itself, whoever sets SIGWARD.
    let preloaded = |program: &str, arguments: &[&str], words: &str| {
        let mut start = Command::new(program);
        finish(start.args(arguments).env("LD_PRELOAD", library()).env("SIGWARD", words))
    };
    let gone = preloaded("true", &[], "guard=/nowhere/data,guard=/");
    let wanted = "sigward: not guarded (No such file or directory): /nowhere/data\n\
                  sigward: not guarded (Is a directory): /\n";
    assert_eq!((gone.code, gone.err.as_str()), (0, wanted));
    // What it starts knows nothing of it.
    let words = format!("guard={}", scratch.file("data", b"x"));
    let child = preloaded("sh", &["-c", "env | grep -c -e ^LD_PRELOAD= -e ^SIGWARD="], &words);
    assert_eq!((child.out.as_str(), child.err.as_str()), ("0\n", ""));
    if have("java") {
        let java = preloaded("java", &["-version"], &format!("guard={comma}"));
        assert!(
            java.err.contains("not guarded (its runtime takes SIGBUS for itself): "),
            "{java:?}"
        );
    }
}

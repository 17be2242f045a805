//! What loading the library does (nothing), what the environment asks for, what stays in memory,
//! and what becomes of stdout and stderr.

#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{Link, SIGPIPE, Scratch, host, library, prepared, run, run_command};

fn warded(scenario: &str) -> support::Run {
    run(&prepared("arming", Link::Archive), &[scenario])
}

// ---- nothing ----

#[test]
fn linking_and_all_that_needs_no_seat_change_no_disposition() {
    run(&prepared("arming", Link::Bare), &["bare"]).died_of(SIGPIPE);
    for link in [Link::Archive, Link::DebugArchive, Link::Static, Link::Shared] {
        let program = prepared("arming", link);
        assert_eq!(run(&program, &["untouched"]).died_of(SIGPIPE).out, "untouched\n", "{link:?}");
        assert_eq!(run(&program, &["leave"]).died_of(SIGPIPE).out, "left\n", "{link:?}");
        run(&program, &["bare"]).died_of(SIGPIPE);
    }
}

#[test]
fn what_a_constructor_took_is_given_back_to_who_leaves_sigpipe() {
    let program = host("arming", Link::Early);
    assert_eq!(run(&program, &["leave"]).died_of(SIGPIPE).out, "left\n");
    // Not what the program asked for itself.
    run(&program, &["filter_and_leave"]).lived();
}

#[test]
fn constructors_are_in_the_archive_that_go_links_alone() {
    let mut command = Command::new(host("policy", Link::Early));
    command.arg("constructor").env("EARLY", "1");
    assert_eq!(run_command(command).lived().out, "lived\n");
    for link in [Link::Archive, Link::Shared, Link::Bare] {
        let mut command = Command::new(host("policy", link));
        command.arg("constructor").env("EARLY", "1");
        run_command(command).died_of(SIGPIPE);
    }
}

// ---- stdout and stderr ----

#[test]
fn a_broken_stdout_or_stderr_that_is_a_pipe_ends_the_program_as_bare() {
    let bare = run(&prepared("arming", Link::Bare), &["stdio_pipes"]);
    assert_eq!(bare.every_row("signal 13"), 12);
    let warded = warded("stdio_pipes");
    if cfg!(target_arch = "x86_64") {
        assert_eq!(bare.out, warded.lived().out);
    }
    assert_eq!(run(&prepared("arming", Link::Bare), &["stdio_handled"]).every_row("exit 9"), 12);
    assert_eq!(self::warded("stdio_handled").every_row("exit 9"), 12);
}

#[test]
fn a_socket_there_and_a_pipe_elsewhere_are_peers_like_any_other() {
    assert_eq!(run(&prepared("arming", Link::Bare), &["stdio_others"]).every_row("signal 13"), 10);
    assert_eq!(warded("stdio_others").every_row("exit 0"), 10);
}

#[test]
fn on_request_stdout_and_stderr_are_swallowed_until_restored() {
    let run = warded("stdio_swallowed");
    let (again, rows): (Vec<_>, Vec<_>) =
        run.lived().out.lines().partition(|row| row.starts_with("write again"));
    assert_eq!(rows.len(), 22);
    assert!(rows.iter().all(|row| row.ends_with(": exit 0")), "{run:#?}");
    if cfg!(target_arch = "x86_64") {
        assert_eq!(again, ["write again to 1, a pipe: signal 13"]);
    }
}

// ---- LD_PRELOAD ----

/// How `program | head -1` ends, and what else it printed. The library is preloaded into the
/// program alone.
fn piped(program: &[&str], ward: Option<&str>) -> String {
    let mut writer = Command::new(program[0]);
    writer.args(&program[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    writer.env_remove("SIGWARD").env_remove("LD_PRELOAD");
    if let Some(words) = ward {
        writer.env("SIGWARD", words).env("LD_PRELOAD", library("release").join("libsigward.so"));
    }
    let mut writer = writer.spawn().expect("it starts");
    let mut head = Command::new("head");
    head.arg("-1").stdin(writer.stdout.take().expect("a pipe")).stdout(Stdio::piped());
    let line = head.output().expect("head runs").stdout;
    // It holds the pipe's other end as well.
    drop(head);
    // What never ends is killed.
    for _ in 0..12_000 {
        if writer.try_wait().expect("a child of ours").is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let _ = writer.kill();
    let output = writer.wait_with_output().expect("a child of ours");
    let (line, err) = (String::from_utf8_lossy(&line), String::from_utf8_lossy(&output.stderr));
    format!("{line}{}: {err}", output.status)
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_preloaded_program_ends_in_a_pipeline_as_bare() {
    let java = Scratch::new("arming-java");
    let source = java.path().join("Lines.java");
    let text = "class Lines { public static void main(String[] a) { while (!System.out.checkError()) System.out.println(7); } }";
    std::fs::write(&source, text).expect("writable");
    let source = source.to_str().expect("a plain path");
    let tools: &[&[&str]] = &[
        &["yes"],
        &["seq", "1", "100000000"],
        &["find", "/usr", "-name", "*"],
        &["perl", "-e", "print \"a line\\n\" while 1"],
        &["awk", "BEGIN { while (1) print \"a line\" }"],
        &["python3", "-c", "while True: print('a line')"],
        &["bash", "-c", "while :; do echo line; done"],
        &["dash", "-c", "while :; do echo line; done"],
        &["bash", "-c", "yes | cat"],
        &["dash", "-c", "yes | cat"],
        &["java", "-Xshare:auto", source],
        &[
            "node",
            "-e",
            "const go = () => { while (process.stdout.write('a line\\n')); process.stdout.once('drain', go); }; go()",
        ],
    ];
    for tool in tools {
        if Command::new(tool[0])
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_err()
        {
            support::skip(&format!("{} is not installed", tool[0]));
            continue;
        }
        let bare = piped(tool, None);
        // Python's message names a number, Node's a place.
        let end = |said: &str| said.lines().take(2).map(str::to_string).collect::<Vec<_>>();
        assert_eq!(end(&bare), end(&piped(tool, Some("filter"))), "{tool:?}");
    }
    assert!(piped(&["yes"], None).contains("signal: 13"), "bare it must die");
    // And armed it is: the option shows it.
    assert!(
        piped(&["yes"], Some("filter,stdio")).contains("exit status: 1"),
        "yes says EPIPE and ends"
    );
}

/// What a shell's child has in its environment, and whether it is armed.
fn child_of_preloaded(shell: &str, sigward: &str, preload: &str) -> String {
    let mut shell = Command::new(shell);
    shell.args(["-c", "echo \"$SIGWARD-$LD_PRELOAD\"; env | grep -E '^(SIGWARD|LD_PRELOAD)=' || echo none; grep SigCgt /proc/self/status"]);
    shell.env("SIGWARD", sigward).env("LD_PRELOAD", preload);
    run_command(shell).lived().out.clone()
}

#[test]
fn children_inherit_nothing_unless_asked_for() {
    let library = library("release").join("libsigward.so");
    let path = library.to_str().expect("a plain path");
    let caught = |said: &str| {
        let set = said.lines().last().and_then(|line| line.rsplit('\t').next()).expect("a set");
        u64::from_str_radix(set, 16).expect("hexadecimal") >> (SIGPIPE - 1) & 1 == 1
    };
    // bash keeps an environment of its own, made of what its main is given, behind a getenv(3) and
    // an unsetenv(3) of its own.
    for shell in ["dash", "bash"] {
        let alone = child_of_preloaded(shell, "filter", path);
        assert!(alone.starts_with("-\nnone\n") && !caught(&alone), "{shell}: {alone}");
        let libm = "libm.so.6";
        let beside = child_of_preloaded(shell, "filter", &format!("{libm}:{path}"));
        assert!(beside.starts_with(&format!("-{libm}\nLD_PRELOAD={libm}\n")), "{shell}: {beside}");
        let kept = child_of_preloaded(shell, "inherit,filter", path);
        let all = format!("inherit,filter-{path}\n");
        assert!(kept.starts_with(&all) && caught(&kept), "{shell}: {kept}");
        // Words that mean nothing, or none at all: nothing is done, and nothing is hidden.
        let nothing = child_of_preloaded(shell, "no", path);
        assert!(
            nothing.starts_with(&format!("no-{path}\n")) && !caught(&nothing),
            "{shell}: {nothing}"
        );
    }
}

// ---- never unmapped ----

/// `tests/chain/plug.c` with the archive of this profile in it.
fn plug(profile: &str) -> PathBuf {
    let archive = library(profile).join("libsigward.a");
    let plug =
        support::target().join("hosts").join(format!("plug-{profile}-{}.so", std::process::id()));
    std::fs::create_dir_all(plug.parent().expect("a folder")).expect("target is writable");
    let mut cc = support::compiler();
    cc.args(["-shared", "-fPIC"]).arg(support::source("plug.c")).arg(archive);
    cc.arg("-o").arg(&plug).args(["-ldl", "-lm"]);
    assert!(cc.status().expect("a C compiler is installed").success());
    plug
}

#[test]
fn dlclose_does_not_take_the_handlers_away() {
    let unload = prepared("unload", Link::Bare);
    let unloaded = |library: &Path, init: &str, signal: &str| {
        run(&unload, &[library.to_str().expect("a plain path"), init, signal])
    };
    let shared = library("release").join("libsigward.so");
    unloaded(&shared, "sigward_init", "pipe").lived();
    let plugs = ["release", "debug"].map(plug);
    for (plug, another) in [(&plugs[0], &plugs[1]), (&plugs[1], &plugs[0])] {
        unloaded(plug, "plug_init", "pipe").lived();
        let another = another.to_str().expect("a plain path");
        run(&unload, &[plug.to_str().expect("a plain path"), "plug_init", "busy", another]).lived();
        // Two copies, one above the other.
        run(&unload, &[plug.to_str().expect("a plain path"), "plug_init", "flip", another]).lived();
        // Not one of our maps: as bare, by the signal's own name.
        unloaded(plug, "plug_init", "bus").died_of(libc::SIGBUS);
        unloaded(plug, "plug_segv", "segv").died_of(libc::SIGSEGV);
    }
}

/// A plug-in in Rust with the crate inside (`tests/runtimes/plugin`).
#[test]
fn a_rust_plug_in_that_is_unloaded_leaves_its_handlers() {
    let unload = prepared("unload", Link::Bare);
    let folder = support::target().join("plugin");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--target-dir"]).arg(&folder).arg("--manifest-path");
    cargo.arg(support::root().join("tests/runtimes/plugin/Cargo.toml"));
    assert!(cargo.status().expect("cargo runs").success());
    let plug = folder.join("debug/libruntimes_rust_plugin.so");
    let unloaded =
        |init: &str, what: &str| run(&unload, &[plug.to_str().expect("a plain path"), init, what]);
    unloaded("plug_init", "pipe").lived();
    unloaded("plug_init", "bus").died_of(libc::SIGBUS);
    unloaded("plug_adopt", "adopted").lived();
}

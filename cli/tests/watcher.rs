//! What happens to the watcher, and must not happen to the watched: signals, terminals, disks that
//! are full; and processes that the kernel treats in another way because they are traced.

mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use support::{Scratch, attach, command, finish, have, is_traced_by, left_out_unless, ready};
use support::{ready_as, send, status, victim, wait_for};

/// The exit status, as soon as there is one.
fn end_of(child: &mut Child) -> Option<i32> {
    wait_for(|| child.try_wait().unwrap()).code()
}

/// Is killed with the test, if that fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The command, watching a command that it has started, which is ready.
fn started(how: &str) -> Child {
    let mut start = command();
    ready_as(start.args(["watch", "--"]).arg(victim("victim.c")).arg(how))
}

#[test]
fn what_is_sent_to_the_watcher_goes_to_the_command() {
    for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP] {
        let mut watcher = started("sleep");
        send(watcher.id(), signal);
        assert_eq!(end_of(&mut watcher), Some(128 + signal));
    }
}

#[test]
fn what_was_ignored_when_it_was_started_ends_nobody() {
    let mut alive = ready(&victim("victim.c"), &["sleep"]);
    let pid = alive.id();
    let mut start = Command::new("sh");
    start.args(["-c", "trap '' HUP INT; exec \"$0\" watch $1", env!("CARGO_BIN_EXE_sigward")]);
    start.arg(pid.to_string()).stdout(Stdio::piped()).stderr(Stdio::null());
    let watcher = start.spawn().unwrap();
    wait_for(|| is_traced_by(pid, watcher.id()).then_some(()));
    let set = |name| u64::from_str_radix(&status(watcher.id(), name), 16).unwrap();
    let both = 1 << (libc::SIGHUP - 1) | 1 << (libc::SIGINT - 1);
    assert_eq!(set("SigIgn") & both, both);
    // All are blocked for a moment where a thread is started.
    wait_for(|| (set("SigBlk") & both == 0).then_some(()));
    send(watcher.id(), libc::SIGHUP);
    send(watcher.id(), libc::SIGINT);
    send(pid, libc::SIGTERM);
    alive.wait().unwrap();
    let told = String::from_utf8(watcher.wait_with_output().unwrap().stdout).unwrap();
    assert!(told.contains("died of SIGTERM"), "{told}");
}

#[test]
fn it_ends_when_it_is_told_to_and_the_command_has_ended_before_its_children() {
    let script = "\"$0\" sleep & echo $! >&2; exit 5";
    let mut start = command();
    start.args(["watch", "--children", "-o", "/dev/null", "--", "sh", "-c", script]);
    let mut watcher = start
        .arg(victim("victim.c"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(watcher.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    BufReader::new(watcher.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let child = line.lines().nth(1).unwrap().parse().unwrap();
    let own = watcher.id();
    let children =
        || std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
    wait_for(|| children().is_empty().then_some(()));
    send(own, libc::SIGTERM);
    assert_eq!(end_of(&mut watcher), Some(5));
    assert_eq!(status(child, "TracerPid"), "0");
    wait_for(|| status(child, "State").starts_with('S').then_some(()));
    send(child, libc::SIGKILL);
}

#[test]
fn ctrl_z_holds_nobody_who_is_watched() {
    let mut alive = ready(&victim("victim.c"), &["sleep"]);
    let mut watcher = attach(alive.id());
    wait_for(|| is_traced_by(alive.id(), watcher.id()).then_some(()));
    for signal in [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
        send(watcher.id(), signal);
    }
    send(alive.id(), libc::SIGTERM);
    assert_eq!(end_of(&mut alive), None);
    assert_eq!(end_of(&mut watcher), Some(1));
}

#[test]
fn ctrl_z_is_the_commands_and_the_shell_sees_both_stop_and_go_on() {
    if !have("script") || !have("bash") {
        return;
    }
    // With jobs, each of which is a group of its own, as an interactive shell has them.
    let job = format!(
        "set -m; {} watch -- {} suspends; echo stopped; fg; echo status $?",
        env!("CARGO_BIN_EXE_sigward"),
        victim("victim.c").display()
    );
    let mut script = Command::new("script");
    script.args(["-qec", "exec bash -c \"$JOB\"", "/dev/null"]).env("JOB", job);
    let mut terminal = Killed(script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut keys = terminal.0.stdin.take().unwrap();
    let lines = BufReader::new(terminal.0.stdout.take().unwrap()).lines();
    let mut lines = lines.map(|line| line.unwrap().trim().to_owned());
    let mut until = |wanted: &str| {
        let passed: Vec<String> =
            lines.by_ref().take_while(|line| !line.contains(wanted)).collect();
        passed.join("\n")
    };
    until("ready");
    keys.write_all(b"\x1a").unwrap();
    // Its handler has run before the shell goes on.
    let before = until("stopped");
    assert!(before.contains("suspending"), "{before}");
    // The shell gives it the terminal, and then lets it go on.
    until("resumed");
    keys.write_all(b"\x03").unwrap();
    until("status 130");
    assert!(terminal.0.wait().unwrap().success());
}

#[test]
fn what_cannot_be_written_is_said_and_the_watcher_ends() {
    let mut alive = ready(&victim("victim.c"), &["sleep"]);
    let pid = alive.id();
    let mut start = command();
    start.args(["watch", "-o", "/dev/full", &pid.to_string()]).stderr(Stdio::piped());
    let watcher = start.spawn().unwrap();
    wait_for(|| is_traced_by(pid, watcher.id()).then_some(()));
    send(pid, libc::SIGPIPE);
    alive.wait().unwrap();
    let run = watcher.wait_with_output().unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(3), "{said}");
    assert!(said.contains("what is told cannot be written: No space left"), "{said}");
    // A command goes on, and has the last word.
    let mut start = command();
    start.args(["watch", "-o", "/dev/full", "--"]).arg(victim("victim.c")).arg("pipe");
    let run = finish(&mut start);
    assert!(run.code == 141 && run.err.contains("cannot be written"), "{run:?}");
}

#[test]
fn it_does_not_watch_itself() {
    let mut shell = Command::new("sh");
    let run = finish(shell.args(["-c", "exec \"$0\" watch $$", env!("CARGO_BIN_EXE_sigward")]));
    assert!(run.code == 3 && run.err.contains("is this command itself"), "{run:?}");
}

#[test]
fn a_child_that_clone_has_made_is_no_thread() {
    let mut start = command();
    start.args(["watch", "--"]).arg(victim("victim.c")).arg("clone").stdin(Stdio::piped());
    let mut watcher = start.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // It ends with the command, while the child waits for a byte.
    assert_eq!(end_of(&mut watcher), Some(0));
    let mut start = command();
    start.args(["watch", "-f", "--json", "--"]).arg(victim("victim.c")).arg("clone");
    let both = finish(&mut start);
    assert_eq!(both.err.matches("\"event\":\"end\"").count(), 2, "{both:?}");
}

/// The kernel does not let the first process of a namespace end by a fault while it is traced.
#[test]
fn a_fault_ends_the_first_process_of_a_namespace_which_is_watched() {
    let bare = finish(Command::new("unshare").args(["-pf", "true"]));
    if !left_out_unless(bare.code == 0, "leave for namespaces") {
        return;
    }
    let scratch = Scratch::new("watcher-init");
    for signals in ["BUS", "PIPE"] {
        let mut start = Command::new("unshare");
        start.args(["-pf", "--kill-child"]).arg(victim("victim.c"));
        let mut outer = Killed(ready_as(start.args(["maps", &scratch.join(signals), "1"])));
        let own = outer.0.id();
        let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap();
        let pid: u32 = children.trim().parse().unwrap();
        let mut start = command();
        start.args(["watch", "--json", "--signals", signals, &pid.to_string()]);
        let mut watcher = start.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(|| is_traced_by(pid, watcher.id()).then_some(()));
        outer.0.stdin.take().unwrap().write_all(b"x").unwrap();
        let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
        let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
        if signals == "BUS" {
            let signal = next();
            assert_eq!(
                (&signal["signal"], &signal["disposition"]),
                (&"SIGBUS".into(), &"default".into())
            );
        }
        let ended = wait_for(|| outer.0.try_wait().unwrap());
        let end = next();
        assert_eq!((&end["event"], &end["signal"]), (&"end".into(), &"SIGBUS".into()), "{end}");
        assert_eq!(end_of(&mut watcher), Some(1));
        assert!(ended.signal() == Some(libc::SIGBUS) || ended.code() == Some(135), "{ended:?}");
    }
}

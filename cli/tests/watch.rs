//! `sigward watch` on programs that die, that go on, and that must not notice it.

mod support;

use serde_json::Value;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use support::{
    Run, Scratch, SmallDisk, attach, command, finish, have, is_traced_by, ready, send, sigward,
    status, victim, wait_for,
};

/// Watches a program from its start; each line that is told, as JSON.
fn watch(
    options: &[&str],
    program: &Path,
    arguments: &[&str],
    set: &[(&str, &str)],
) -> (Run, Vec<Value>) {
    let mut command = command();
    command.args(["watch", "--json"]).args(options).arg("--").arg(program).args(arguments);
    let run = finish(command.envs(set.iter().copied()));
    let lines = run.err.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    (run, lines)
}

/// The lines about signals.
fn signals(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line["event"] == "signal").collect()
}

#[test]
fn a_broken_pipe_is_told_with_call_descriptor_and_result_and_the_death_with_it() {
    let victim = victim("victim.c");
    let (run, lines) = watch(&[], &victim, &["pipe"], &[]);
    assert_eq!((run.code, lines.len()), (141, 2), "{run:?}");
    let (signal, end) = (&lines[0], &lines[1]);
    assert_eq!((&signal["signal"], &signal["disposition"]), (&"SIGPIPE".into(), &"default".into()));
    let write = &signal["write"];
    assert_eq!(
        (&write["call"], &write["fd"], &write["result"]),
        (&"write".into(), &17.into(), &(-32).into())
    );
    assert!(write["target"].as_str().unwrap().starts_with("pipe:["), "{run:?}");
    assert_ne!(signal["tid"], signal["pid"]);
    assert_eq!((&end["event"], &end["signal"]), (&"end".into(), &"SIGPIPE".into()));
    assert_eq!(end["of"]["write"], *write);

    // Cut short: the count is told.
    let (run, lines) = watch(&[], &victim, &["partial"], &[]);
    assert_eq!((run.code, &lines[0]["write"]["result"]), (141, &65536.into()), "{run:?}");
}

#[test]
fn what_is_no_write_is_no_broken_pipe() {
    let (run, lines) = watch(&[], &victim("victim.c"), &["kill"], &[]);
    assert_eq!((run.code, &lines[0]["write"]), (141, &Value::Null), "{run:?}");
    assert_eq!(lines[0]["sender"][0], lines[0]["pid"]);
    // A write while the signal was blocked looks the same but for the call that it comes at the end
    // of: neither is claimed.
    let told = |how| finish(command().args(["watch", "--"]).arg(victim("victim.c")).arg(how)).err;
    let by_either = "by a write that is not seen here (SIGPIPE was blocked, or the program is a 32-bit \
                     one), or sent by the process itself";
    assert!(told("blocked").contains(&format!("): {by_either};")), "{}", told("blocked"));
    assert!(told("kill").contains("): sent by the process itself;"), "{}", told("kill"));
}

/// The block of the README, but for the numbers.
#[test]
fn the_readme_shows_what_is_told() {
    let readme = include_str!("../../README.md");
    let shown = readme.split_once("$ sigward watch -- ./server\n").unwrap().1;
    let shown = shown.split_once("```").unwrap().0;
    let scratch = Scratch::new("watch-readme");
    // Not by this process: a child of another test's may have it open for writing until it executes
    // its program, and nobody can execute it so long.
    let copy = finish(Command::new("cp").arg(victim("victim.c")).arg(scratch.join("server")));
    assert_eq!(copy.code, 0, "{copy:?}");
    let run = finish(command().args(["watch", "--", "./server"]).current_dir(scratch.path()));
    let without_numbers = |text: &str| {
        let words = text.split(|one: char| one.is_ascii_digit()).filter(|part| !part.is_empty());
        words.collect::<Vec<_>>().join("N")
    };
    assert_eq!(run.code, 141, "{run:?}");
    assert_eq!(without_numbers(&run.err), without_numbers(shown), "{run:?}");
}

/// As a service whose parent ignores it.
#[test]
fn what_was_inherited_is_handed_on() {
    let mut shell = Command::new("sh");
    let script = "trap '' PIPE; exec \"$0\" watch -- \"$1\" pipe";
    let run =
        finish(shell.args(["-c", script, env!("CARGO_BIN_EXE_sigward")]).arg(victim("victim.c")));
    assert_eq!((run.code, run.out.as_str()), (0, "EPIPE\n"), "{run:?}");
    assert!(run.err.contains("ignored, the program goes on"), "{run:?}");
    let signals = |words: &[&str]| {
        let mut env = Command::new("env");
        // Not what this test was started with itself (nohup, a shell's "&").
        env.args([
            "--default-signal",
            "--ignore-signal=PIPE,CHLD,USR1",
            "--block-signal=USR2,TERM",
        ]);
        env.args(words);
        finish(env.args(["grep", "Sig[BI]", "/proc/self/status"]))
    };
    let bare = signals(&[]);
    assert!(bare.code == 0 && bare.out.ends_with("0011200\n"), "{bare:?}");
    assert_eq!(signals(&[env!("CARGO_BIN_EXE_sigward"), "watch", "--"]).out, bare.out);
}

#[test]
fn other_signals_are_told_by_choice() {
    let victim = victim("victim.c");
    let (run, lines) = watch(&["--signals", "xfsz,SIGSEGV"], &victim, &["pipe"], &[]);
    assert_eq!((run.code, signals(&lines).len()), (141, 0), "{run:?}");
    let (run, lines) = watch(&["--signals", "13"], &victim, &["pipe"], &[]);
    assert_eq!((run.code, signals(&lines).len()), (141, 1), "{run:?}");
    for (name, why) in
        [("NOPE", "no signal: try"), ("", "no signal"), ("KILL", "no watcher sees it")]
    {
        let wrong = sigward(&["watch", "--signals", name, "1"]);
        assert!(wrong.code == 2 && wrong.err.contains(why), "{wrong:?}");
    }
}

#[test]
fn a_signal_that_ends_nobody_is_told_so() {
    let victim = victim("victim.c");
    for (name, disposition) in [("IGNORE", "ignored"), ("CATCH", "caught")] {
        let (run, lines) = watch(&[], &victim, &["pipe"], &[(name, "1")]);
        assert_eq!((run.code, run.out.as_str()), (0, "EPIPE\n"), "{run:?}");
        assert_eq!(
            (&lines[0]["disposition"], &lines[0]["write"]["fd"]),
            (&disposition.into(), &17.into())
        );
        assert_eq!((&lines[1]["status"], &lines[1]["of"]), (&0.into(), &Value::Null));
    }
}

#[test]
fn a_cut_file_is_named() {
    let scratch = Scratch::new("watch-cut");
    let data = scratch.join("data");
    let (run, lines) = watch(&[], &victim("victim.c"), &["cut", &data], &[]);
    assert_eq!(run.code, 128 + libc::SIGBUS, "{run:?}");
    let place = &lines[0]["place"];
    assert_eq!((&place["path"], &place["offset"]), (&data.into(), &81_925.into()), "{run:?}");
    assert_eq!(
        (&place["cause"], &place["now"]["length"]),
        (&"truncated".into(), &0.into()),
        "{run:?}"
    );
    assert!(lines[0]["function"].as_str().unwrap().starts_with("cut+"), "{run:?}");
    assert_eq!(lines[1]["of"]["place"], *place);
    assert_eq!(lines[0]["writers"], Value::Array(Vec::new()), "{run:?}");
}

#[test]
fn who_has_a_cut_file_open_for_writing_is_named() {
    let scratch = Scratch::new("watch-writer");
    let data = scratch.file("data", b"");
    let _writer = std::fs::File::options().write(true).open(&data).unwrap();
    let _reader = std::fs::File::open(&data).unwrap();
    let own = std::process::id();
    let name = std::fs::read_to_string("/proc/self/comm").unwrap();
    // The search ends after a while, wherever it is; and a child of another test's has our files
    // until it executes its program.
    let again = || {
        let _ = std::fs::remove_file(format!("{data}.fifo"));
    };
    wait_for(|| {
        again();
        let (_, lines) = watch(&[], &victim("victim.c"), &["cut", &data], &[]);
        let found = lines.first()?["writers"].as_array()?.clone();
        found.contains(&serde_json::json!([own, name.trim()])).then_some(())
    });
    wait_for(|| {
        again();
        let text =
            finish(command().arg("watch").arg("--").arg(victim("victim.c")).args(["cut", &data]));
        text.err.contains(&format!("; open for writing in pid {own} (")).then_some(())
    });
}

#[test]
fn a_full_disk_is_told() {
    let Some(disk) = SmallDisk::mount("watch-full") else { return };
    let (run, lines) = watch(&[], &victim("victim.c"), &["full", &disk.join("data")], &[]);
    let place = &lines[0]["place"];
    assert_eq!(
        (&place["cause"], &place["now"]["free"]),
        (&"no_space".into(), &0.into()),
        "{run:?}"
    );
    assert_eq!(place["now"]["sparse"], true, "{run:?}");
}

#[test]
fn a_file_too_long_is_told() {
    let scratch = Scratch::new("watch-limit");
    let data = scratch.join("data");
    let (run, lines) = watch(&[], &victim("victim.c"), &["xfsz", &data], &[]);
    assert_eq!(
        (run.code, &lines[0]["signal"]),
        (128 + libc::SIGXFSZ, &"SIGXFSZ".into()),
        "{run:?}"
    );
    assert_eq!(lines[0]["write"]["target"], data);
}

#[test]
fn children_are_followed_by_choice_only() {
    let victim = victim("victim.c");
    let (run, lines) = watch(&[], &victim, &["child"], &[]);
    assert_eq!(
        (run.code, run.out.as_str(), signals(&lines).len()),
        (0, "child 13\n", 0),
        "{run:?}"
    );
    let (run, lines) = watch(&["--children"], &victim, &["child"], &[]);
    assert_eq!((run.out.as_str(), signals(&lines).len()), ("child 13\n", 1), "{run:?}");
}

#[test]
fn a_program_that_another_thread_executes_is_followed() {
    let (run, lines) = watch(&[], &victim("victim.c"), &["thread-exec"], &[]);
    assert_eq!((run.code, signals(&lines).len(), lines.len()), (141, 1, 2), "{run:?}");
    assert_eq!(
        (&lines[0]["pid"], &lines[0]["write"]["fd"]),
        (&lines[1]["pid"], &17.into()),
        "{run:?}"
    );
}

#[test]
fn exit_statuses_are_handed_on() {
    let victim = victim("victim.c");
    assert_eq!(watch(&[], &victim, &["exit", "7"], &[]).0.code, 7);
    assert_eq!(watch(&[], &victim, &["exec"], &[]).0.code, 141);
    let (killed, lines) = watch(&[], &victim, &["killed"], &[]);
    assert_eq!((killed.code, &lines[0]["signal"]), (137, &"SIGKILL".into()));
    for (program, code, word) in [
        ("/nowhere/program", 127, "look at the name"),
        ("no such program", 127, "in no folder of PATH"),
        ("/dev/null", 126, "chmod +x"),
    ] {
        let run = sigward(&["watch", "--", program]);
        assert!(run.code == code && run.err.contains(word), "{run:?}");
    }
    assert_eq!(sigward(&["watch", "--", "/etc/passwd"]).code, 126);
    assert_eq!(sigward(&["watch"]).code, 2);
    let none = sigward(&["watch", "999999999"]);
    assert!(none.code == 3 && none.err.contains("there is none"), "{none:?}");
    // A good end is not worth a line.
    let quiet = finish(command().args(["watch", "--"]).arg(&victim).args(["exit", "0"]));
    assert_eq!((quiet.code, quiet.err.as_str()), (0, ""));
}

#[test]
fn go_dies_of_its_stdout_and_of_nothing_else() {
    if !have("go") {
        return;
    }
    let (scratch, victim) = (Scratch::new("watch-go"), victim("victim.go"));
    let (run, lines) = watch(&[], &victim, &["other"], &[]);
    let told = signals(&lines);
    assert_eq!((run.code, run.out.as_str(), told.len()), (0, "broken pipe\n", 1), "{run:?}");
    assert_eq!(told[0]["disposition"], "caught");

    let data = scratch.join("data");
    let (run, lines) = watch(&[], &victim, &["cut", &data], &[]);
    let end = lines.last().unwrap();
    // Go makes an exit of it; the fault is told all the same, which Go's own text does not.
    assert_eq!((run.code, &end["status"]), (2, &2.into()), "{run:?}");
    assert_eq!(
        (&end["of"]["signal"], &end["of"]["place"]["path"]),
        (&"SIGBUS".into(), &data.into())
    );

    let mut shell = Command::new("sh");
    let script = "\"$0\" watch --json -o \"$1\" -- \"$2\" stdout | true";
    let file = scratch.join("lines");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_sigward"), &file]).arg(&victim);
    finish(&mut shell);
    // The writer may outlive the shell's pipe by a moment.
    let text = wait_for(|| {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.contains("\"event\":\"end\"").then_some(text)
    });
    // Go raises it anew to end the program. That does not hide the write.
    let end: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&end["signal"], &end["of"]["write"]["fd"]),
        (&"SIGPIPE".into(), &1.into()),
        "{text}"
    );
}

#[test]
fn it_detaches_at_ctrl_c_also_from_a_stopped_program_which_then_goes_on() {
    let mut victim = ready(&victim("victim.c"), &["sleep"]);
    let pid = victim.id();
    for stopped in [false, true] {
        let mut watcher = attach(pid);
        wait_for(|| is_traced_by(pid, watcher.id()).then_some(()));
        if stopped {
            send(pid, libc::SIGSTOP);
            // Stopped beneath a tracer that lets it be: `t`, and nobody lets it go on.
            wait_for(|| status(pid, "State").starts_with('t').then_some(()));
            send(pid, libc::SIGCONT);
            wait_for(|| status(pid, "State").starts_with('S').then_some(()));
            send(pid, libc::SIGSTOP);
            wait_for(|| status(pid, "State").starts_with('t').then_some(()));
        }
        send(watcher.id(), libc::SIGINT);
        assert_eq!(watcher.wait().unwrap().code(), Some(0));
        let said = std::io::read_to_string(watcher.stderr.take().unwrap()).unwrap();
        assert_eq!(
            said,
            format!("sigward: watching victim-c (pid {pid}, 1 thread); Ctrl-C detaches\n")
        );
        assert_eq!(status(pid, "TracerPid"), "0");
        let state = if stopped { 'T' } else { 'S' };
        wait_for(|| status(pid, "State").starts_with(state).then_some(()));
    }
    // A second watcher is told who is the first.
    send(pid, libc::SIGCONT);
    let mut first = attach(pid);
    wait_for(|| is_traced_by(pid, first.id()).then_some(()));
    let second = sigward(&["watch", &pid.to_string()]);
    assert_eq!(second.code, 3);
    assert!(
        second.err.contains(&format!("is traced by pid {} (sigward)", first.id())),
        "{second:?}"
    );
    send(pid, libc::SIGTERM);
    victim.wait().unwrap();
    let end = first.wait().unwrap();
    let mut text = String::new();
    first.stdout.unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(end.code(), Some(1));
    let own = std::process::id();
    assert!(text.contains(&format!("died of SIGTERM: sent by pid {own}")), "{text}");
}

/// Looked at for its sender alone while the thread is stopped, and told when it was the end.
#[test]
fn of_a_signal_that_may_have_a_handler_the_end_tells_sender_and_thread() {
    let mut storm = ready(&victim("storm.c"), &[]);
    let pid = storm.id() as i32;
    let mut watcher = command();
    watcher
        .args(["watch", "--json", &pid.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let watcher = watcher.spawn().unwrap();
    wait_for(|| is_traced_by(pid as u32, watcher.id()).then_some(()));
    // One that lives on: of SIGUSR1, which has a handler, it has thousands.
    let threads = || std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let tids: Vec<i32> =
        threads().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let other = tids.into_iter().find(|tid| *tid != pid).unwrap();
    // One after the other comes to be watched.
    wait_for(|| is_traced_by(other as u32, watcher.id()).then_some(()));
    // SAFETY: a thread of a process that the test has started and not yet waited for.
    assert_eq!(unsafe { libc::syscall(libc::SYS_tgkill, pid, other, libc::SIGTERM) }, 0);
    storm.wait().unwrap();
    let told = watcher.wait_with_output().unwrap();
    let text = String::from_utf8(told.stdout).unwrap();
    let end: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let of = &end["of"];
    assert_eq!((&end["event"], &end["signal"]), (&"end".into(), &"SIGTERM".into()), "{end}");
    assert_eq!(
        (&of["tid"], &of["thread"], &of["pid"]),
        (&other.into(), &"storm-c".into(), &pid.into())
    );
    assert_eq!((&of["disposition"], &of["code"]), (&"default".into(), &(-6).into()), "{end}");
    let name = std::fs::read_to_string("/proc/self/comm").unwrap();
    assert_eq!(of["sender"], serde_json::json!([std::process::id(), name.trim()]), "{end}");
}

#[test]
fn a_stopped_program_stays_stopped_when_a_watcher_comes_and_is_killed() {
    let mut victim = ready(&victim("victim.c"), &["sleep"]);
    let pid = victim.id();
    send(pid, libc::SIGSTOP);
    wait_for(|| status(pid, "State").starts_with('T').then_some(()));
    let mut watcher = attach(pid);
    // Stopped beneath the watcher.
    wait_for(|| status(pid, "State").starts_with('t').then_some(()));
    send(watcher.id(), libc::SIGKILL);
    watcher.wait().unwrap();
    assert_eq!(status(pid, "TracerPid"), "0");
    wait_for(|| status(pid, "State").starts_with('T').then_some(()));
    // And goes on when it is told to, watched or not.
    let watcher = attach(pid);
    wait_for(|| is_traced_by(pid, watcher.id()).then_some(()));
    send(pid, libc::SIGCONT);
    wait_for(|| status(pid, "State").starts_with('S').then_some(()));
    send(pid, libc::SIGTERM);
    victim.wait().unwrap();
    let told = watcher.wait_with_output().unwrap();
    assert_eq!(told.status.code(), Some(1), "{told:?}");
}

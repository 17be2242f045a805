//! `sigward cut`: each way to change a file, and who does it.

mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use support::{Scratch, command, finish, missing_unless, sigward};

struct Cutting(Child, BufReader<ChildStdout>);

impl Cutting {
    /// Starts the command, and waits until it watches; none where the kernel does not let it.
    fn start(arguments: &[&str]) -> Option<Self> {
        let mut start = command();
        start.args(["cut", "--json"]).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = start.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        let refused = ["CAP_SYS_ADMIN", "fanotify(7)"].iter().any(|word| line.contains(word));
        if !missing_unless(!refused, &line) {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        assert!(line.contains("watching"), "{line}");
        let out = BufReader::new(child.stdout.take().unwrap());
        Some(Self(child, out))
    }

    /// The next line that says this.
    fn wait_for(&mut self, what: &str) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(self.1.read_line(&mut line).unwrap(), 0, "it ended before {what}");
            let found: Value = serde_json::from_str(&line).unwrap();
            if found["what"] == what {
                return found;
            }
        }
    }

    fn end(mut self) -> Option<i32> {
        // SAFETY: a process of ours.
        unsafe { libc::kill(self.0.id() as i32, libc::SIGINT) };
        self.0.wait().unwrap().code()
    }
}

fn shell(script: &str, path: &str) -> String {
    let mut shell = Command::new("sh");
    let run = finish(shell.args(["-c", &format!("echo $$; {script}"), "updater", path]));
    assert_eq!(run.code, 0, "{run:?}");
    run.out.trim().to_owned()
}

#[test]
fn who_cuts_writes_replaces_and_removes_is_named() {
    let scratch = Scratch::new("cut");
    let path = scratch.file("data", &[1; 1000]);
    let Some(mut cutting) = Cutting::start(&[&path]) else { return };
    // The shell itself opens, and has a number that it has told.
    for (script, what, length) in [
        (": > \"$1\"", "cut", Some(0)),
        ("head -c 100 /dev/zero > \"$1\"", "written", None),
        ("exec truncate -s 7 \"$1\"", "cut", Some(7)),
        ("cp \"$1\" \"$1.new\"; exec mv \"$1.new\" \"$1\"", "replaced", Some(7)),
    ] {
        let pid = shell(script, &path);
        let found = cutting.wait_for(what);
        assert_eq!(found["path"], path, "{script}");
        // The first look may come before its bytes.
        assert!(length.is_none_or(|length| found["now"] == length), "{script}: {found}");
        let by: Vec<String> =
            found["by"].as_array().unwrap().iter().map(|who| who["pid"].to_string()).collect();
        assert!(what == "written" || by.contains(&pid), "{script} by {pid}: {found}");
        // The next cut is one only of bytes that have been seen.
        while what == "written" && cutting.wait_for("closed")["now"] != 100 {}
    }
    shell("exec rm \"$1\"", &path);
    assert_eq!(cutting.wait_for("removed")["now"], Value::Null);
    assert_eq!(cutting.end(), Some(1));
}

#[test]
fn once_is_until_the_first_cut() {
    let scratch = Scratch::new("cut-once");
    let path = scratch.file("data", &[1; 1000]);
    let Some(mut cutting) = Cutting::start(&["--once", &path]) else { return };
    shell("exec truncate -s 7 \"$1\"", &path);
    cutting.wait_for("cut");
    // By itself.
    assert_eq!(cutting.0.wait().unwrap().code(), Some(1));
}

#[test]
fn who_only_reads_is_not() {
    let scratch = Scratch::new("cut-read");
    let path = scratch.file("data", &[1; 1000]);
    let Some(cutting) = Cutting::start(&[&path]) else { return };
    shell("cat \"$1\" > \"$1.copy\"; cat \"$1\" > /dev/null", &path);
    assert_eq!(cutting.end(), Some(0));
}

#[test]
fn exactly_is_before_and_with_flags_and_a_command_line_that_is_whole() {
    let scratch = Scratch::new("cut-exact");
    let path = scratch.file("data", &[1; 1000]);
    let Some(mut cutting) = Cutting::start(&["--exact", &path]) else { return };
    let pid = shell("exec cp /dev/null \"$1\"", &path);
    let opened = cutting.wait_for("opened");
    assert_eq!((&opened["now"], &opened["flags"]), (&1000.into(), &"O_WRONLY|O_TRUNC".into()));
    let by = &opened["by"][0];
    assert_eq!(
        (by["pid"].to_string(), &by["command"]),
        (pid, &format!("cp /dev/null {path}").into())
    );
    assert_eq!(cutting.wait_for("cut")["before"], 1000);
    assert_eq!(cutting.end(), Some(1));
}

#[test]
fn what_cannot_be_watched_is_said() {
    let scratch = Scratch::new("cut-none");
    let missing = sigward(&["cut", &scratch.join("none")]);
    assert!(missing.code == 3 && missing.err.contains("look at the name"), "{missing:?}");
    let folder = sigward(&["cut", &scratch.join("")]);
    assert!(folder.code == 3 && folder.err.contains("name a file"), "{folder:?}");
    // Nothing of these is ever told: it does not wait for that.
    for made_up in ["/proc/self/status", "/proc/sys/kernel/hostname", "/sys/kernel/mm/ksm/run"] {
        let run = finish(
            Command::new("timeout").arg("30").arg(command().get_program()).args(["cut", made_up]),
        );
        let why = if std::path::Path::new(made_up).exists() {
            "tells nobody"
        } else {
            "look at the name"
        };
        assert!(run.code == 3 && run.err.contains(why), "{run:?}");
    }
}

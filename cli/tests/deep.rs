//! `sigward audit --deep`: what a process says of itself when it is made to, and that it goes on as
//! if nobody had asked.

mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use support::{attach, have, is_traced_by, ready, send, sigward, status, victim, wait_for};

/// A victim that has told its rows: number, address and flags of each.
fn asked(how: &str) -> (Child, BufReader<ChildStdout>, Vec<[u64; 3]>) {
    let mut start = Command::new(victim("asked.c"));
    start.arg(how).stdin(Stdio::piped()).stdout(Stdio::piped());
    #[expect(clippy::zombie_processes, reason = "`end` waits for it")]
    let mut child = start.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut rows = Vec::new();
    loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "{:?}", child.wait());
        if line == "ready\n" {
            return (child, lines, rows);
        }
        let number = |word: &str| {
            let hexadecimal = word.strip_prefix("0x");
            hexadecimal
                .map_or_else(|| word.parse(), |digits| u64::from_str_radix(digits, 16))
                .unwrap()
        };
        let words: Vec<u64> = line.split_whitespace().map(number).collect();
        rows.push([words[0], words[1], words[2]]);
    }
}

fn end(mut child: Child) {
    child.stdin.take().unwrap().write_all(b"x").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

fn deep(pid: u32) -> support::Run {
    sigward(&["audit", "--deep", "--json", &pid.to_string()])
}

#[test]
fn it_says_what_the_process_itself_is_told_and_disturbs_no_call() {
    for how in ["read", "sleep", "run"] {
        let (child, _lines, rows) = asked(how);
        assert!(rows.len() >= 5, "{rows:?}");
        for _ in 0..20 {
            let account = deep(child.id()).json();
            let found = account["handlers"].as_array().unwrap();
            assert_eq!(found.len(), rows.len(), "{account}");
            for (found, [number, address, flags]) in found.iter().zip(&rows) {
                let handler = &found["handler"];
                let address = match address {
                    1 => "ignored".to_owned(),
                    address => format!("{address:#x}"),
                };
                assert_eq!(handler["address"], Value::from(address), "{number}: {account}");
                let has = |name: &str| handler["flags"].as_array().unwrap().contains(&name.into());
                for (flag, name) in [
                    (libc::SA_RESTART, "SA_RESTART"),
                    (libc::SA_ONSTACK, "SA_ONSTACK"),
                    (libc::SA_SIGINFO, "SA_SIGINFO"),
                    (libc::SA_RESETHAND, "SA_RESETHAND"),
                ] {
                    assert_eq!(has(name), flags & flag as u64 != 0, "{number} {name}: {account}");
                }
            }
            assert_eq!(status(child.id(), "TracerPid"), "0");
            assert_eq!(status(child.id(), "SigBlk"), "0000000000000000");
        }
        end(child);
    }
}

#[test]
fn no_signal_is_lost_or_doubled_and_no_page_is_left() {
    let mut storm = ready(&victim("storm.c"), &[]);
    for _ in 0..40 {
        let run = deep(storm.id());
        assert!(run.json()["handlers"].as_array().unwrap().len() >= 3, "{run:?}");
    }
    storm.stdin.take().unwrap().write_all(b"x").unwrap();
    let mut text = String::new();
    storm.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(storm.wait().unwrap().success() && text.contains("lost 0 twice 0"), "{text}");

    let (child, _lines, _) = asked("read");
    let maps = || std::fs::read_to_string(format!("/proc/{}/maps", child.id())).unwrap();
    let before = maps();
    assert_eq!(deep(child.id()).code, 0);
    assert_eq!(maps(), before);
    end(child);
}

#[test]
fn handlers_without_an_alternate_stack_beside_go_are_found() {
    if !have("go") {
        return;
    }
    for (how, found) in [("with", [].as_slice()), ("without", &["no-onstack"])] {
        let child = ready(&victim("onstack.go"), &[how]);
        let pid = child.id().to_string();
        // Without asking nobody can know.
        for (argument, found) in [("--json", [].as_slice()), ("--deep", found)] {
            let mut arguments = vec!["audit", "--json", argument, &pid];
            arguments.dedup();
            let account = sigward(&arguments).json();
            let findings = account["findings"].as_array().unwrap();
            let ids: Vec<&str> =
                findings.iter().map(|found| found["id"].as_str().unwrap()).collect();
            assert_eq!(ids, found, "{how} {argument}: {account}");
        }
        end(child);
    }
}

#[test]
fn who_cannot_be_asked_is_left_alone_with_a_reason() {
    let refused = |pid: u32, why: &str| {
        let run = deep(pid);
        assert!(run.code > 1 && run.err.contains(why), "{why}: {run:?}");
    };
    let (child, _lines, _) = asked("filtered");
    refused(child.id(), "seccomp filter");
    end(child);

    let (child, _lines, _) = asked("run");
    send(child.id(), libc::SIGSTOP);
    wait_for(|| status(child.id(), "State").starts_with('T').then_some(()));
    refused(child.id(), "stopped");
    assert!(status(child.id(), "State").starts_with('T'));
    send(child.id(), libc::SIGCONT);
    let mut watcher = attach(child.id());
    wait_for(|| is_traced_by(child.id(), watcher.id()).then_some(()));
    refused(child.id(), "traced by pid");
    send(watcher.id(), libc::SIGINT);
    watcher.wait().unwrap();
    end(child);
}

//! Watchers that come, go and are killed while programs work: no signal is lost or comes twice, and
//! no request fails. `make soak-watch` has a thousand of them each (SIGWARD_WATCHERS).

mod support;

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{Scratch, attach, have, is_traced_by, ready, send, status, victim, wait_for};

/// How many watchers come and go.
fn watchers() -> u64 {
    std::env::var("SIGWARD_WATCHERS").map_or(45, |number| number.parse().expect("a number"))
}

/// Some milliseconds of a watcher, and then this signal.
fn visit(pid: u32, turn: u64, signal: i32) {
    let mut watcher = attach(pid);
    wait_for(|| is_traced_by(pid, watcher.id()).then_some(()));
    // Among its signals, at no particular moment.
    std::thread::sleep(Duration::from_micros(20_000 + 377 * (turn % 100)));
    send(watcher.id(), signal);
    // What it tells is much; nobody reads it.
    drop((watcher.stdout.take(), watcher.stderr.take()));
    let end = watcher.wait().unwrap();
    assert_eq!(end.code(), (signal == libc::SIGINT).then_some(0), "{end:?}");
    assert_eq!(status(pid, "TracerPid"), "0");
}

#[test]
fn no_signal_is_lost_or_doubled_when_watchers_come_go_and_are_killed() {
    let mut storm = ready(&victim("storm.c"), &[]);
    for turn in 0..watchers() {
        visit(storm.id(), turn, if turn % 3 == 0 { libc::SIGINT } else { libc::SIGKILL });
    }
    storm.stdin.take().unwrap().write_all(b"x").unwrap();
    let mut text = String::new();
    storm.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(storm.wait().unwrap().success(), "{text}");
    println!("{} watchers, two of three killed: {text}", watchers());
    let words: Vec<&str> = text.split_whitespace().collect();
    let ["signals", signals, "numbered", numbered, "lost", "0", "twice", "0"] = words[..] else {
        panic!("{text}")
    };
    let [signals, numbered] = [signals, numbered].map(|word| word.parse::<u64>().unwrap());
    assert!(numbered > watchers() && signals > watchers(), "{text}");
    assert!(watchers() < 1000 || signals > 1_000_000, "{text}");
}

#[test]
fn no_request_to_a_go_service_fails_when_watchers_come_and_go() {
    if !have("go") {
        return;
    }
    let (service, scratch) = (victim("service.go"), Scratch::new("watch-service"));
    let socket = scratch.join("socket");
    let mut server = ready(&service, &["serve", &socket]);
    let load = || {
        let mut start = Command::new(&service);
        start
            .args(["load", &socket])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        start.spawn().unwrap()
    };
    let said = |child: std::process::Child| {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let numbers: Vec<u64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
        (numbers[0], numbers[1], String::from_utf8(output.stderr).unwrap())
    };
    let clients = load();
    for turn in 0..watchers() {
        visit(server.id(), turn, libc::SIGINT);
    }
    let (requests, failed, errors) = said(clients);
    println!("{} watchers: {requests} requests, {failed} failed", watchers());
    assert!(failed == 0 && requests > watchers(), "{requests} {failed} {errors}");
    // One that fails is counted.
    let mut clients = load();
    wait_for(|| {
        let socket = std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap();
        // Three, its poller's, the listener, and eight connections.
        (socket.count() > 10).then_some(())
    });
    server.kill().unwrap();
    server.wait().unwrap();
    // They say so before they are told to end.
    clients.stderr.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    assert_ne!(said(clients).1, 0);
}

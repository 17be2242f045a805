//! What `--json` prints is what `sigward schema` says, with nothing missing and nothing more.

mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use support::schema::{check, complain};
use support::{Run, Scratch, command, finish, ready, sigward, victim};

fn json(arguments: &[&OsStr]) -> Run {
    finish(command().arg("--json").args(arguments))
}

#[test]
fn every_command_prints_what_the_schema_says() {
    let root = sigward(&["schema"]).json();
    // A name that is no UTF-8 is told as well as can be.
    let scratch = Scratch::new("schema");
    let join = |name: &[u8]| scratch.path().join(OsStr::from_bytes(name));
    let (data, weird) = (join(b"data"), join(b"\xff"));
    let [data, weird] = [data.as_os_str(), weird.as_os_str()];
    let victim = victim("victim.c");
    let victim = victim.as_os_str();
    let words =
        |list: &[&'static str]| list.iter().map(|word| OsStr::new(*word)).collect::<Vec<_>>();

    let run = json(&[&words(&["watch", "--"])[..], &[victim, OsStr::new("ship")]].concat());
    check(&root, &run.err, &["signal", "end"]);
    for path in [data, weird] {
        let run =
            json(&[&words(&["watch", "--"])[..], &[victim, OsStr::new("cut"), path]].concat());
        check(&root, &run.err, &["signal", "end"]);
        let mut name = path.to_owned();
        name.push(".fifo");
        std::fs::remove_file(name).unwrap();
    }

    let mut audited = ready(victim.as_ref(), &["audited", &scratch.join("audited")]);
    let pid = audited.id().to_string();
    let mut zombie = Command::new(victim).arg("killed").spawn().unwrap();
    let ended = zombie.id().to_string();
    let has_ended =
        || std::fs::read_to_string(format!("/proc/{ended}/stat")).unwrap().contains(") Z ");
    let start = std::time::Instant::now();
    while !has_ended() {
        assert!(start.elapsed().as_secs() < 30, "it is still there");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    for (what, kind) in [(&pid, "process_audit"), (&scratch.file("\u{e4}", b""), "error")] {
        let run = json(&["audit".as_ref(), what.as_ref()]);
        check(&root, &(run.out + &run.err), &[kind]);
    }
    let deep = json(&["audit".as_ref(), "--deep".as_ref(), pid.as_ref()]);
    check(&root, &deep.out, &["process_audit"]);
    check(&root, &json(&["audit".as_ref(), victim]).out, &["binary_audit"]);
    for pid in [&pid, &ended] {
        check(&root, &json(&["explain".as_ref(), pid.as_ref()]).out, &["process_explanation"]);
    }
    audited.kill().unwrap();
    audited.wait().unwrap();
    zombie.wait().unwrap();

    std::fs::write(data, b"new").unwrap();
    check(&root, &json(&["replace".as_ref(), data, weird]).out, &["replaced"]);
    check(&root, &json(&["reserve".as_ref(), weird, "4096".as_ref()]).out, &["reserved"]);
    for what in [weird, OsStr::new("999999999")] {
        check(&root, &json(&["explain".as_ref(), what]).err, &["error"]);
    }
    let missing = json(&["watch".as_ref(), "--".as_ref(), "/nowhere/program".as_ref()]);
    assert_eq!(missing.code, 127, "{missing:?}");
    check(&root, &missing.err, &["error"]);
    let log = scratch.join("log");
    sigward::log::Log::open(&log).unwrap().close().unwrap();
    check(&root, &json(&["log".as_ref(), "check".as_ref(), log.as_ref()]).out, &["log"]);
    check(
        &root,
        &json(&["log".as_ref(), "salvage".as_ref(), log.as_ref(), join(b"\xfe").as_ref()]).out,
        &["log"],
    );
}

/// So that it is known that something is compared at all.
#[test]
fn what_is_missing_wrong_or_unknown_is_complained_of() {
    let root = sigward(&["schema"]).json();
    let good = serde_json::json!({ "path": "a", "with": "b" });
    assert_eq!(complain(&root, &root, &good), Ok(()));
    for bad in [
        serde_json::json!({ "path": "a" }),
        serde_json::json!({ "path": "a", "with": 1 }),
        serde_json::json!({ "path": "a", "with": "b", "more": 1 }),
        serde_json::json!([]),
    ] {
        assert!(complain(&root, &root, &bad).is_err(), "{bad}");
    }
}

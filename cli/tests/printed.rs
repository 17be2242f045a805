//! What is printed, wherever it goes: names that somebody has chosen with care, disks that are
//! full, readers that are gone.

mod support;

use std::fs::File;
use std::process::{Command, Stdio};
use support::{Scratch, command, finish, have, ready, sigward, status, victim, wait_for};

#[test]
fn no_name_begins_a_line_or_commands_a_terminal() {
    let scratch = Scratch::new("printed");
    let data = scratch.join("a\nsigward: b\u{1b}[31m");
    let shown = scratch.join("a\\nsigward: b\\u{1b}[31m");
    let mut alive = ready(&victim("victim.c"), &["leaderless", &data]);
    let pid = alive.id().to_string();
    wait_for(|| status(alive.id(), "State").starts_with('Z').then_some(()));
    let mut said = vec![sigward(&["audit", &pid]), sigward(&["explain", &pid])];
    alive.kill().unwrap();
    alive.wait().unwrap();
    said.extend([sigward(&["audit", &data]), sigward(&["reserve", &data, "1"])]);
    let mut cut = command();
    let watch =
        ["watch", "--", victim("victim.c").to_str().unwrap(), "cut", &data].map(str::to_owned);
    said.push(finish(cut.args(watch)));
    for run in said {
        let all = run.out.clone() + &run.err;
        assert!(all.contains(&shown), "{run:?}");
        assert!(!all.contains('\u{1b}') && !all.contains(&data), "{run:?}");
    }
}

#[test]
fn a_terminal_gets_lines_of_its_width_and_warnings_in_red() {
    if !have("script") {
        return;
    }
    let scratch = Scratch::new("printed-terminal");
    let mut alive = ready(&victim("victim.c"), &["audited", &scratch.join("data")]);
    let on_terminal = |arguments: &str, no_colour: &str| {
        let line =
            format!("stty cols 70; exec {} audit {arguments}", env!("CARGO_BIN_EXE_sigward"));
        let mut script = Command::new("script");
        finish(
            script
                .args(["-qec", &line, "/dev/null"])
                .envs([("NO_COLOR", no_colour), ("TERM", "xterm")])
                .stdin(Stdio::null()),
        )
    };
    let pid = alive.id().to_string();
    let [red, plain] = ["", "1"].map(|no_colour| on_terminal(&pid, no_colour).out);
    assert!(red.contains("  \u{1b}[1;31mWARNING\u{1b}[0m "), "{red}");
    assert!(plain.contains("  WARNING ") && !plain.contains('\u{1b}'), "{plain}");
    let dumb = finish(
        Command::new("script")
            .args(["-qec", &format!("{} audit {pid}", env!("CARGO_BIN_EXE_sigward")), "/dev/null"])
            .envs([("NO_COLOR", ""), ("TERM", "dumb")])
            .stdin(Stdio::null()),
    );
    assert!(dumb.out.contains("  WARNING ") && !dumb.out.contains('\u{1b}'), "{dumb:?}");
    let table = on_terminal("--all", "1").out;
    let mut lines = table.lines().skip_while(|line| !line.starts_with(&format!("{pid} ")));
    let found = lines.next().unwrap().split_whitespace().next_back().unwrap();
    let next = lines.next().unwrap();
    assert!(next.starts_with("    ") && next.trim().contains('-'), "{found}: {next}");
    alive.kill().unwrap();
    alive.wait().unwrap();
}

#[test]
fn what_cannot_be_written_is_an_error_and_a_reader_that_is_gone_is_none() {
    let own = std::process::id().to_string();
    for arguments in
        [&["audit", &own][..], &["schema"], &["--help"], &["help", "watch"], &["--version"]]
    {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let run = finish(Command::new(env!("CARGO_BIN_EXE_sigward")).args(arguments).stdout(full));
        assert!(run.code == 3 && run.err.contains("No space left"), "{arguments:?}: {run:?}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let gone =
            Command::new(env!("CARGO_BIN_EXE_sigward")).args(arguments).stdout(writer).output();
        let gone = gone.unwrap();
        assert_eq!(
            (gone.status.code(), gone.stderr.len()),
            (Some(141), 0),
            "{arguments:?}: {gone:?}"
        );
    }
    // An error that nobody hears is one.
    for (arguments, code) in [
        (&["audit", "nothing"][..], 3),
        (&["watch", "999999999"], 3),
        (&["watch", "--", "./no"], 127),
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(command().args(arguments).stderr(full).status().unwrap().code(), Some(code));
    }
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut audit = command();
    let run =
        audit.args(["audit", "--json", &own]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    let error: serde_json::Value = serde_json::from_slice(&run.stderr).unwrap();
    assert_eq!(error["error"]["errno"], libc::ENOSPC, "{run:?}");
}

//! `sigward explain PID`: what a process would die of, and what one has died of that nobody has
//! waited for.

mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{Scratch, ready, sigward, victim};

struct Alive(Child);

impl Drop for Alive {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn threats(found: &Value) -> Vec<(&str, &str, &str)> {
    let all = found["threats"].as_array().expect("a list").iter();
    let text = |threat: &'_ Value, name: &str| -> String {
        threat[name].as_str().expect("a text").to_owned()
    };
    all.map(|threat| {
        let [signal, what, disposition] =
            ["signal", "what", "disposition"].map(|name| text(threat, name));
        (signal.leak() as &str, what.leak() as &str, disposition.leak() as &str)
    })
    .collect()
}

#[test]
fn what_would_end_a_process_is_told_and_what_would_not_is_not() {
    let (scratch, victim) = (Scratch::new("prospect"), victim("victim.c"));
    for ignore in [false, true] {
        let mut start = Command::new(&victim);
        start.args(["doomed", &scratch.join("data")]).stdin(Stdio::piped()).stdout(Stdio::piped());
        if ignore {
            start.env("IGNORE", "1");
        }
        let mut doomed = Alive(start.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(doomed.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let (pipe, socket) = line.trim().split_once(' ').expect("two descriptors");

        let pid = doomed.0.id().to_string();
        let run = sigward(&["explain", "--json", &pid]);
        let found = run.json();
        let found = threats(&found);
        let disposition = if ignore { "ignored" } else { "default" };
        let [first, second, third, fourth] = found[..] else { panic!("{found:#?}") };
        assert_eq!((run.code, first.0, first.2), (1, "SIGPIPE", disposition), "{found:#?}");
        assert!(first.1.starts_with(&format!("a write to fd {pipe} (pipe:[")), "{found:#?}");
        assert!(second.1.starts_with(&format!("a write to fd {socket} (socket:[")), "{found:#?}");
        assert_eq!(
            (second.0, second.2, third.0, third.2),
            ("SIGPIPE", disposition, "SIGBUS", "default")
        );
        assert!(third.1.contains(&format!("4 096 of {}", scratch.join("data"))), "{found:#?}");
        assert_eq!((fourth.0, fourth.2), ("SIGTERM", "default"));
        assert!(fourth.1.ends_with("in 1 of 1 threads"), "{found:#?}");

        let text = sigward(&["explain", &pid]);
        assert!(text.out.contains("SIGTERM  waits until it is unblocked"), "{text:?}");
        assert_eq!(text.out.contains("; ignored, the program goes on"), ignore, "{text:?}");
    }
}

#[test]
fn a_sound_process_has_nothing_to_fear() {
    let sleeper = Alive(ready(&victim("victim.c"), &["sleep"]));
    let run = sigward(&["explain", &sleeper.0.id().to_string()]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        run.out.ends_with(" runs, and nothing is seen that would end it by a signal\n"),
        "{run:?}"
    );
}

#[test]
fn the_end_of_one_that_was_not_waited_for_is_told() {
    let scratch = Scratch::new("prospect-ended");
    for (arguments, code, end) in [
        (&["kill"][..], 1, "has died of SIGPIPE, and its parent, pid "),
        (&["exit", "7"], 0, "has ended with status 7, and its parent, pid "),
    ] {
        let mut start = Command::new(victim("victim.c"));
        let child = Alive(start.args(arguments).current_dir(scratch.path()).spawn().unwrap());
        let pid = child.0.id().to_string();
        let start = Instant::now();
        // Until it is a zombie.
        let run = loop {
            let run = sigward(&["explain", &pid]);
            if !run.out.contains(" runs") || start.elapsed() > Duration::from_secs(30) {
                break run;
            }
        };
        assert_eq!(run.code, code, "{run:?}");
        assert!(run.out.contains(end), "{run:?}");
    }
}

#[test]
fn a_number_of_nobody_is_an_error_and_a_file_of_that_name_is_a_file() {
    let scratch = Scratch::new("prospect-none");
    // Beyond what any kernel gives.
    let run = sigward(&["explain", "99999999"]);
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.err.contains("process 99999999: there is none with this number"), "{run:?}");
    scratch.file("1", b"no core");
    let run =
        support::finish(support::command().args(["explain", "1"]).current_dir(scratch.path()));
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.err.starts_with("sigward: 1: "), "{run:?}");
}

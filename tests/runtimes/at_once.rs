//! One file that is cut and filled again all the time, under maps of C, Rust, Go and CPython at
//! once. Bare each of them dies. With us each byte before the first lost one is the file's; readers
//! that do not ask what is lost find zeros, which shows that there were some to be found.
//!
//! `SIGWARD_CUTS` (3000) is how often it is cut; `make soak` has 100,000. Each reader has met a
//! hundredth as many losses before the end.

use crate::python::python;
use crate::rust;
use crate::support::{PAGE, Run, root};
use crate::tools::{Made, Scratch, Ward, build, folder, need, shared_library, source, text};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const LENGTH: usize = 16 * PAGE;
/// Without any progress of a reader: it may have a small part of a processor.
const PATIENCE: Duration = Duration::from_secs(300);
/// Two such runs beside each other would only take longer.
static ALONE: Mutex<()> = Mutex::new(());

fn cuts() -> u64 {
    std::env::var("SIGWARD_CUTS").map_or(3000, |number| number.parse().expect("a number"))
}

fn go(ward: Ward) -> Option<PathBuf> {
    let here = root().join("tests/go");
    let mut go = Command::new("go");
    go.arg("version").current_dir(&here);
    need("go", go.output().ok().filter(|said| said.status.success()))?;
    let program = folder().join(format!("reader-go-{ward:?}-{}", std::process::id()));
    let tags = if ward == Ward::Bare { "" } else { "warded" };
    let mut go = Command::new("go");
    go.args(["build", "-tags", tags, "-o", text(&program), "./cmd/reader"]).current_dir(&here);
    let output = go.output().expect("Go runs");
    assert!(output.status.success(), "make archive? {}", String::from_utf8_lossy(&output.stderr));
    Some(program)
}

/// The readers that this machine can have, each with what comes after FILE, STOP and LEAST.
fn readers(ward: Ward) -> Vec<(&'static str, Command, Option<PathBuf>)> {
    let c = build("reader", Made::Program, ward, &[]);
    let mut all = vec![
        ("C", Command::new(c), None),
        ("Rust", Command::new(rust::host(ward, "reader")), None),
    ];
    if let Some(program) = go(ward) {
        all.push(("Go", Command::new(program), None));
    }
    if let Some(python) = python() {
        let mut command = Command::new(python);
        command.arg(source("reader.py"));
        let library = if ward == Ward::Bare { "bare".into() } else { shared_library() };
        all.push(("CPython", command, Some(library)));
    }
    all
}

/// Its end, and what it said after "ready" and "enough".
fn follow(mut child: Child, ready: &AtomicUsize, done: &AtomicUsize) -> Run {
    let mut out = String::new();
    let mut enough = false;
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        match line.expect("text").as_str() {
            "ready" => drop(ready.fetch_add(1, Ordering::SeqCst)),
            "enough" => {
                enough = true;
                done.fetch_add(1, Ordering::SeqCst);
            }
            other => out = other.into(),
        }
    }
    let mut err = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut err).expect("text");
    done.fetch_add(usize::from(!enough), Ordering::SeqCst); // it does not wait for more
    Run { status: child.wait().expect("a child"), out, err }
}

fn wait_for(count: &AtomicUsize, all: usize) -> bool {
    let end = Instant::now() + PATIENCE;
    while count.load(Ordering::SeqCst) < all && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    count.load(Ordering::SeqCst) == all
}

/// Cuts and fills, `least` times and until all readers have enough.
fn cut(file: &File, content: &[u8], least: u64, is_enough: impl Fn() -> bool) -> u64 {
    let (mut count, mut chance) = (0, 0x9E37_79B9_u32);
    let end = Instant::now() + PATIENCE.max(Duration::from_millis(least * 20));
    while (count < least || !is_enough()) && Instant::now() < end {
        chance ^= chance << 13;
        chance ^= chance >> 17;
        chance ^= chance << 5;
        // Whole pages: what is left of the last one would read as zeros without any signal.
        let left = (1 + chance as usize % 15) * PAGE;
        file.set_len(left as u64).expect("cut");
        std::thread::sleep(Duration::from_micros(u64::from(chance >> 16) % 60));
        file.write_all_at(&content[left..], left as u64).expect("filled");
        count += 1;
    }
    count
}

/// All readers at one file; each with its end.
fn read(ward: Ward, blind: bool, least: u64) -> Vec<(&'static str, Run)> {
    let _alone = ALONE.lock();
    // In memory, where every lost page has its signal.
    let scratch = Scratch::in_folder("/dev/shm".as_ref(), "at-once");
    let (path, stop) = (scratch.path().join("file"), scratch.path().join("stop"));
    let content: Vec<u8> = (0..LENGTH).map(|at| (at % 251 + 1) as u8).collect();
    std::fs::write(&path, &content).expect("room");
    let file = File::options().write(true).open(&path).expect("there");
    let wanted = (least / 100).max(1).to_string();
    let all = readers(ward);
    let (count, ready, done) = (all.len(), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|threads| {
        let mut ends = Vec::new();
        for (name, mut command, library) in all {
            command.args([text(&path), text(&stop), &wanted]).args(library);
            command.args(blind.then_some("blind"));
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let child = command.spawn().expect("the reader starts");
            let (pid, ready, done) = (child.id(), &ready, &done);
            ends.push((name, pid, threads.spawn(move || follow(child, ready, done))));
        }
        let started = wait_for(&ready, count);
        let cuts = cut(&file, &content, least, || !started || done.load(Ordering::SeqCst) == count);
        File::create(&stop).expect("room");
        let end = Instant::now() + PATIENCE;
        while ends.iter().any(|(.., end)| !end.is_finished()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        for (_, pid, _) in ends.iter().filter(|(.., end)| !end.is_finished()) {
            // SAFETY: a child that nobody has waited for: its output has no end yet.
            unsafe { libc::kill(*pid as i32, libc::SIGKILL) };
        }
        let ends = ends.into_iter().map(|(name, _, end)| (name, end.join().expect("followed")));
        let ends: Vec<_> = ends.collect();
        let met = ends.iter().map(|(_, end)| losses(end)).sum::<u64>();
        println!("{{\"at_once_cuts\": {cuts}, \"at_once_losses\": {met}}}");
        for (name, end) in &ends {
            println!("{name}: {} {}", end.status, end.out);
        }
        assert!(started && cuts >= least, "{ends:#?}");
        ends
    })
}

/// Of "reads N losses N".
fn losses(run: &Run) -> u64 {
    run.out.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[test]
fn four_runtimes_read_a_file_that_is_cut_all_the_time() {
    let least = cuts();
    for (name, end) in read(Ward::Archive, false, least) {
        assert!(losses(end.lived()) >= least / 100, "{name}: {end:#?}");
    }
}

#[test]
fn who_does_not_ask_what_is_lost_reads_zeros() {
    for (name, end) in read(Ward::Archive, true, 1000) {
        assert!(end.status.code() == Some(1) && end.err.contains("zero at"), "{name}: {end:#?}");
    }
}

#[test]
fn bare_each_of_the_four_dies() {
    for (name, end) in read(Ward::Bare, false, 1000) {
        match name {
            // Go's own words for it.
            "Go" => assert!(
                end.status.code() == Some(2) && end.err.contains("unexpected fault address"),
                "{end:#?}"
            ),
            _ => drop(end.died_of(libc::SIGBUS)),
        }
    }
}

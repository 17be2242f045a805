//! A Rust `main` as a host: std has set SIGPIPE to SIG_IGN, and its handler of stack overflows is
//! there.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

#[cfg(feature = "warded")]
fn ward() {
    sigward::init().expect("init");
}

#[cfg(feature = "warded")]
fn mend() {
    sigward::ensure_on_top().expect("ensure_on_top");
}

#[cfg(feature = "warded")]
fn tell() -> String {
    let status = sigward::sigpipe::status().expect("status");
    format!("{:?} {:?}", status.outcome, status.seat)
}

#[cfg(feature = "warded")]
fn replace() {
    sigward::sigpipe::filter_instead_of_ignore().expect("filter");
}

#[cfg(not(feature = "warded"))]
fn ward() {}

#[cfg(not(feature = "warded"))]
fn replace() {}

#[cfg(not(feature = "warded"))]
fn mend() {}

#[cfg(not(feature = "warded"))]
fn tell() -> String {
    "bare".to_string()
}

fn main() {
    let scenario = std::env::args().nth(1).unwrap_or_default();
    let (disposition, what) = scenario.split_once('_').expect("DISPOSITION_SCENARIO");
    match disposition {
        "ignored" => ward(),
        // In the place of std's SIG_IGN.
        "replaced" => replace(),
        // As command line tools do; before us and after us.
        "default" => {
            set_default();
            ward();
        }
        "late" => {
            ward();
            set_default();
        }
        "mended" => {
            ward();
            set_default();
            mend();
        }
        _ => panic!("{disposition}"),
    }
    match what {
        "write" => write(),
        "kill" => send(libc::SIGPIPE),
        "bus" => send(libc::SIGBUS),
        "overflow" => println!("{}", overflow(1)),
        "children" => children(),
        _ => panic!("{what}"),
    }
}

fn set_default() {
    // SAFETY: a valid signal and SIG_DFL.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

fn send(signal: libc::c_int) {
    // SAFETY: our own process.
    unsafe { libc::kill(libc::getpid(), signal) };
    println!("lived");
}

/// A bare write(2) to a pipe that nobody reads, on a thread of its own.
fn write() {
    let writer = std::thread::spawn(|| {
        let mut ends = [0; 2];
        // SAFETY: room for two descriptors.
        unsafe { libc::pipe(ends.as_mut_ptr()) };
        // SAFETY: ours.
        unsafe { libc::close(ends[0]) };
        // SAFETY: one byte of a live buffer.
        let written = unsafe { libc::write(ends[1], b"x".as_ptr().cast(), 1) };
        (written, std::io::Error::last_os_error().kind())
    });
    println!("{:?}", writer.join().expect("the writer lives"));
    println!("{}", tell());
}

fn overflow(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 512]);
    if depth == u64::MAX { 0 } else { overflow(depth + 1) + room[(depth % 512) as usize] }
}

/// What children see, of each way to start one.
fn children() {
    show("Command", Command::new("cat").arg("/proc/self/status"));
    let mut forked = Command::new("cat");
    // SAFETY: does nothing in the child.
    unsafe { forked.pre_exec(|| Ok(())) };
    show("fork", forked.arg("/proc/self/status"));
    // SAFETY: a C string.
    unsafe { libc::system(c"echo system; grep -E 'SigBlk|SigIgn' /proc/self/status".as_ptr()) };
}

fn show(name: &str, command: &mut Command) {
    let output = command.output().expect("cat runs");
    println!("{name}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter(|line| line.starts_with("SigBlk") || line.starts_with("SigIgn"))
        .for_each(|line| println!("{line}"));
}

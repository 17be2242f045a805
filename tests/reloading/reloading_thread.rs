//! The thread that watches: what it does to the process, and what it leaves; bad input.

#![cfg(target_os = "linux")]

#[path = "ways.rs"]
mod common;
#[path = "../support/mod.rs"]
mod support;

use common::{
    HOUR, PATIENCE, becomes, generation, hourly, number_of, problem, text, until, update, whole,
};
use sigward::reloading::{Options, Reason, Reloading, Version};
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::lives;

fn task(field: &str) -> Option<String> {
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
        if status.starts_with("Name:\tsigward-reload\n") {
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            return Some(line.trim_start_matches(':').trim().to_string());
        }
    }
    None
}

#[test]
fn the_thread_sleeps_has_no_signals_and_ends() {
    lives("the_thread_sleeps_has_no_signals_and_ends", |folder| {
        let path = folder.join("file");
        fs::write(&path, "1").unwrap();
        let file = hourly().open(&path, text).unwrap();
        until("the thread", || task("State").is_some_and(|state| state.starts_with('S')));
        let blocked = u64::from_str_radix(&task("SigBlk").unwrap(), 16).unwrap();
        let bit = |signal: i32| blocked >> (signal - 1) & 1;
        for signal in
            [libc::SIGIO, libc::SIGURG, libc::SIGTERM, libc::SIGPIPE, libc::SIGPROF, libc::SIGUSR1]
        {
            assert_eq!(bit(signal), 1, "{signal}");
        }
        assert_eq!((bit(libc::SIGBUS), bit(libc::SIGSEGV)), (0, 0));
        // Nothing happens to the file, so the thread does nothing at all, once it has begun to.
        until("sleep", || {
            let before = task("voluntary_ctxt_switches");
            std::thread::sleep(Duration::from_millis(300));
            task("voluntary_ctxt_switches") == before
        });
        drop(file);
        // One that has been joined is listed a moment longer.
        until("the end", || task("State").is_none());
    });
}

#[test]
fn a_lease_that_is_tried_kills_and_hinders_nobody() {
    lives("a_lease_that_is_tried_kills_and_hinders_nobody", |folder| {
        let path = folder.join("file");
        fs::write(&path, "1").unwrap();
        let file = hourly().open(&path, text).unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    drop(File::options().write(true).open(&path).unwrap());
                }
            });
            for _ in 0..500 {
                let _ = file.refresh_now();
            }
            over.store(true, Ordering::Relaxed);
        });
        assert_eq!(file.refresh_now().unwrap().number, 1);
    });
}

fn count(folder: &str) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn nothing_is_left_behind() {
    lives("nothing_is_left_behind", |folder| {
        let path = folder.join("file");
        let round = |number: u64| {
            fs::write(&path, generation(number)).unwrap();
            let file = hourly().open(&path, whole).unwrap();
            let held = file.get();
            fs::write(&path, "broken").unwrap();
            problem(&file, |reason| matches!(reason, Reason::Refused(_)));
            update(&path, number + 1, &generation(number + 1));
            until("the next", || number_of(&file.get().value) == Some(number + 1));
            assert_eq!(number_of(&held.value), Some(number));
            drop(file);
            assert_eq!(number_of(&held.value), Some(number));
            assert!(
                Reloading::open(folder, text).is_err()
                    && Reloading::open(folder.join("none"), text).is_err()
            );
            fs::write(&path, "broken").unwrap();
            assert!(Reloading::open(&path, whole).is_err());
        };
        let measure = || {
            let maps = fs::read_to_string("/proc/self/maps").unwrap();
            let ours = maps
                .lines()
                .filter(|line| line.contains("memfd") || line.contains("(deleted)"))
                .count();
            (count("/proc/self/fd"), count("/proc/self/task"), ours)
        };
        round(1);
        until("the end", || task("State").is_none());
        let before = measure();
        for number in 2..12 {
            round(number * 2);
        }
        until("nothing left", || measure() == before);
    });
}

#[test]
fn a_forked_child_keeps_its_version() {
    lives("a_forked_child_keeps_its_version", |folder| {
        let path = folder.join("file");
        fs::write(&path, "1").unwrap();
        let file = hourly().open(&path, text).unwrap();
        for round in 0..20 {
            // SAFETY: the child calls functions of this crate and _exit.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let good = !file.get().value.is_empty()
                    && file.with(|version: &Version<String>| version.number) > 0
                    && file.wait_newer(1 << 20, HOUR).is_none()
                    && file
                        .refresh_now()
                        .is_err_and(|error| matches!(error.reason, Reason::Forked))
                    && file.status().version > 0;
                drop(file);
                // SAFETY: a number.
                unsafe { libc::_exit(i32::from(!good)) };
            }
            let mut status = 0;
            // SAFETY: room for a number.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0);
            // The parent's goes on.
            let text = format!("round {round}");
            fs::write(&path, &text).unwrap();
            becomes(&file, &text);
        }
    });
}

#[test]
fn the_callback_may_do_the_wrong_thing() {
    lives("the_callback_may_do_the_wrong_thing", |folder| {
        let path = folder.join("file");
        fs::write(&path, "1").unwrap();
        let slot: Arc<Mutex<Option<Reloading<String>>>> = Arc::default();
        let within = slot.clone();
        let (send, answer) = std::sync::mpsc::channel();
        let send = Mutex::new(send);
        let file = hourly().on_event(move |_| {
            let own = within.lock().unwrap().take().unwrap();
            let refused =
                own.refresh_now().is_err_and(|error| matches!(error.reason, Reason::Within));
            drop(own); // ends the thread that this runs on
            send.lock().unwrap().send(refused).unwrap();
        });
        *slot.lock().unwrap() = Some(file.open(&path, text).unwrap());
        fs::write(&path, "2").unwrap();
        assert!(answer.recv_timeout(PATIENCE).unwrap());
        until("the end", || task("State").is_none());
    });
}

// ---- bad input ----

#[test]
fn bad_input_is_a_plain_error() {
    lives("bad_input_is_a_plain_error", |folder| {
        let errno = |path: PathBuf| Reloading::open(path, text).unwrap_err().reason.errno();
        assert_eq!(errno(folder.join("missing")), libc::ENOENT);
        assert_eq!(errno(folder.to_path_buf()), libc::EISDIR);
        assert_eq!(errno(PathBuf::from("/dev/null")), libc::ENODEV);
        assert_eq!(errno(PathBuf::from("with\0nul")), libc::EINVAL);
        assert_eq!(errno(PathBuf::new()), libc::EINVAL);
        let file = folder.join("file");
        File::create(&file).unwrap();
        assert_eq!(errno(file.clone()), libc::ENODATA);
        assert_eq!(Options::new().accept_empty(true).open(&file, text).unwrap().get().value, "");
        assert_eq!(errno(file.join("below")), libc::ENOTDIR);
        let socket = folder.join("socket");
        let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(errno(socket), libc::ENODEV);
        let error =
            std::io::Error::from(Reloading::open(folder.join("missing"), text).unwrap_err());
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        // No descriptor left: for the bell, the events, the file or its copy.
        fs::write(&file, "text").unwrap();
        let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: room for one struct.
        assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut before) }, 0);
        let limited = |limit: libc::rlimit| {
            // SAFETY: a struct that is read.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
        };
        for spare in 0..4 {
            let first = File::open(&file).unwrap();
            let used = std::os::fd::AsRawFd::as_raw_fd(&first) as u64;
            drop(first);
            limited(libc::rlimit { rlim_cur: used + spare, ..before });
            let opened = Reloading::open(&file, text);
            limited(before);
            assert_eq!(opened.unwrap_err().reason.errno(), libc::EMFILE, "{spare} spare");
        }
        assert_eq!(Reloading::open(&file, text).unwrap().get().value, "text");
    });
}

/// A daemon closes what it does not know, and opens files of its own under the same numbers: they
/// are not read from, written to or closed, and no thread runs hot on them.
#[test]
fn descriptors_that_the_host_has_closed_are_left_alone() {
    lives("descriptors_that_the_host_has_closed_are_left_alone", |folder| {
        const OWN: i32 = 8;
        let path = folder.join("file");
        fs::write(&path, "1").unwrap();
        let file = Options::new().tick(Duration::from_millis(20)).open(&path, text).unwrap();
        // SAFETY: nobody else here has descriptors above 2 that are used or closed again.
        assert_eq!(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) }, 0);
        let own: Vec<File> = (3..3 + OWN)
            .map(|number| {
                let own = folder.join(format!("own-{number}"));
                fs::write(&own, "these are no events").unwrap();
                let own = File::options().read(true).write(true).open(own).unwrap();
                assert_eq!(own.as_raw_fd(), number);
                own
            })
            .collect();
        fs::write(folder.join("next"), "2").unwrap();
        fs::rename(folder.join("next"), &path).unwrap();
        becomes(&file, "2");
        let turns = || {
            task("voluntary_ctxt_switches")
                .zip(task("nonvoluntary_ctxt_switches"))
                .map(|(slept, ran)| slept.parse::<u64>().unwrap() + ran.parse::<u64>().unwrap())
        };
        let before = turns().unwrap();
        std::thread::sleep(Duration::from_millis(500));
        assert!(turns().unwrap() - before < 500, "it does not sleep");
        drop(file);
        until("the end", || task("State").is_none());
        for mut own in own {
            assert_eq!(own.stream_position().unwrap(), 0);
            let mut bytes = String::new();
            own.read_to_string(&mut bytes).unwrap();
            assert_eq!(bytes, "these are no events");
        }
    });
}

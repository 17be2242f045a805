//! Writers who do not come to an end, files that are too large, a thousand files at once, forks,
//! and kernels that refuse. Each case is a process of its own.

#![cfg(target_os = "linux")]

#[path = "ways.rs"]
mod common;
#[path = "../support/mod.rs"]
mod support;

use common::{
    HOUR, PATIENCE, Served, anything, generation, in_halves_when, number_of, shell, text, until,
};
use sigward::mapping::Error;
use sigward::reloading::{Contents, Event, Options, Problem, Reason, Reloading};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::lives;

// ---- writers who do not come to an end ----

#[test]
fn a_writer_who_never_closes_is_passed_over_when_the_user_says_so() {
    lives("a_writer_who_never_closes_is_passed_over_when_the_user_says_so", |folder| {
        let path = folder.join("file");
        fs::write(&path, "one").unwrap();
        let patient = Options::new().tick(HOUR).open(&path, text).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let into = told.clone();
        let hurried = Options::new().tick(HOUR).wait_for_writer(Duration::from_millis(200));
        let hurried = hurried.on_event(move |event: Event<'_, String>| {
            into.lock().unwrap().push(match event {
                Event::Loaded(version) => format!("loaded {} {}", version.value, version.settled),
                Event::Settled(version) => format!("settled {}", version.value),
                _ => String::new(),
            });
        });
        let hurried = hurried.open(&path, text).unwrap();
        assert!(hurried.get().settled && hurried.status().settled);

        let began = Instant::now();
        let mut writer = File::options().write(true).truncate(true).open(&path).unwrap();
        writer.write_all(b"half").unwrap();
        let half = hurried.wait_newer(1, PATIENCE).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
        assert_eq!((half.value.as_str(), half.settled, half.number), ("half", false, 2));
        assert!(!hurried.status().settled && hurried.last_error().is_none());
        // Whoever has not said so waits.
        assert_eq!(patient.get().value, "one");
        until("patience", || {
            patient.last_error().is_some_and(|problem| matches!(problem.reason, Reason::Writing))
        });
        // More of it, and again a while without an end.
        writer.write_all(b" of it").unwrap();
        let more = hurried.wait_newer(2, PATIENCE).unwrap();
        assert_eq!((more.value.as_str(), more.settled), ("half of it", false));
        // The end, with these very bytes.
        drop(writer);
        until("settled", || hurried.status().settled);
        assert_eq!((hurried.get().number, hurried.get().settled), (3, false));
        assert_eq!(patient.wait_newer(1, PATIENCE).unwrap().value, "half of it");
        // And one who comes to an end: by another name first, as nobody knows how long that takes.
        fs::write(folder.join("next"), "two").unwrap();
        fs::rename(folder.join("next"), &path).unwrap();
        let two = hurried.wait_newer(3, PATIENCE).unwrap();
        assert_eq!(
            (two.value.as_str(), two.settled, hurried.status().settled),
            ("two", true, true)
        );
        let want = [
            "loaded half false",
            "loaded half of it false",
            "settled half of it",
            "loaded two true",
        ];
        until("told", || {
            told.lock().unwrap().iter().filter(|line| !line.is_empty()).eq(want.iter())
        });
        // A first version as well.
        let writer = File::options().append(true).open(&path).unwrap();
        let opened =
            Options::new().tick(HOUR).wait_for_writer(Duration::from_millis(50)).open(&path, text);
        let opened = opened.unwrap();
        assert!(!opened.get().settled && !opened.status().settled);
        drop(writer);
        until("settled", || opened.status().settled);
    });
}

/// It is copied at a moment at which it holds still.
#[test]
fn a_file_that_is_appended_to_for_ever_has_versions() {
    lives("a_file_that_is_appended_to_for_ever_has_versions", |folder| {
        let path = folder.join("file");
        fs::write(&path, "x").unwrap();
        let options = Options::new().tick(Duration::from_millis(50));
        let options = options.wait_for_writer(Duration::from_millis(50));
        let file = options.open(&path, |contents: Contents| {
            if contents.iter().all(|byte| *byte == b'x') { Ok(contents.len()) } else { Err("no x") }
        });
        let file = file.unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut writer = File::options().append(true).open(&path).unwrap();
                while !over.load(Ordering::Relaxed) {
                    writer.write_all(b"xx").unwrap();
                    std::thread::sleep(Duration::from_millis(30));
                }
            });
            let mut last = 1;
            for _ in 0..3 {
                let next = file.wait_newer(last, PATIENCE);
                over.store(next.is_none(), Ordering::Relaxed);
                let next = next.unwrap();
                assert!(!next.settled);
                last = next.number;
            }
            over.store(true, Ordering::Relaxed);
        });
        until("the end", || file.status().settled);
        assert_eq!(file.get().value as u64, fs::metadata(&path).unwrap().len());
    });
}

/// No lease tells of the writer of another user's file. Events do.
#[test]
fn a_slow_writer_of_another_users_file_is_waited_for() {
    const NAME: &str = "a_slow_writer_of_another_users_file_is_waited_for";
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } != 0 {
        return support::skip("another user's file: needs root");
    }
    lives(NAME, |folder| {
        let path = folder.join("file");
        fs::write(&path, generation(1)).unwrap();
        // SAFETY: numbers only.
        unsafe { libc::seteuid(65534) };
        let options = || Options::new().tick(HOUR).settle(Duration::from_millis(20));
        let served = Served::open(options(), &path);
        let hurried =
            options().wait_for_writer(Duration::from_millis(20)).open(&path, anything).unwrap();
        let as_root = |work: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::spawn(move || {
                // SAFETY: fsuid of this thread alone.
                unsafe { libc::setfsuid(0) };
                work();
            });
            thread.join().unwrap();
        };
        let hurried = Arc::new(hurried);
        for number in 2..5 {
            let (path, other) = (path.clone(), hurried.clone());
            as_root(Box::new(move || {
                // The one in a hurry has a half, and is told so.
                let half = || number_of(&other.get().value).is_none() && !other.get().settled;
                in_halves_when(&path, &generation(number), || until("half", half));
            }));
            served.becomes(number, "in halves");
            assert!(served.file.get().settled);
            until("the whole", || number_of(&hurried.get().value) == Some(number));
        }
        // A cut by its path: there is no close.
        let version = hurried.get().number;
        let cut = path.clone();
        as_root(Box::new(move || {
            let cut = std::ffi::CString::new(cut.to_str().unwrap()).unwrap();
            // SAFETY: a path and a number.
            assert_eq!(unsafe { libc::truncate(cut.as_ptr(), 8000) }, 0);
        }));
        let cut = hurried.wait_newer(version, PATIENCE).unwrap();
        assert_eq!((cut.length, cut.settled), (8000, false));
    });
}

// ---- limits ----

#[test]
fn what_is_too_large_is_not_taken() {
    lives("what_is_too_large_is_not_taken", |folder| {
        let path = folder.join("file");
        fs::write(&path, "small").unwrap();
        let limited = Options::new().tick(HOUR).limit(100).open(&path, text).unwrap();
        let file = Options::new().tick(HOUR).open(&path, text).unwrap();
        fs::write(&path, "x".repeat(101)).unwrap();
        // While it is being written that is the reason.
        let mut problem = None;
        until("too large", || {
            problem = limited.last_error();
            problem.as_ref().is_some_and(|problem| matches!(problem.reason, Reason::Copy(_)))
        });
        let problem = problem.unwrap();
        assert_eq!((problem.length, problem.reason.errno()), (Some(101), libc::EFBIG), "{problem}");
        assert_eq!(limited.get().value, "small");
        until("taken", || file.get().length == 101);
        fs::write(&path, "x".repeat(100)).unwrap();
        until("taken", || limited.get().length == 100 && limited.last_error().is_none());
        // Nothing but a hole, larger than the memory. Should it be copied, it is not to the end of
        // the machine.
        let limit = libc::rlimit { rlim_cur: 1 << 30, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: a struct that is read.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) }, 0);
        let grow = |bytes: u64| {
            let bytes = bytes.to_string();
            shell(r#"ulimit -f unlimited; truncate -s "$2" "$1""#, &[&path, Path::new(&bytes)]);
        };
        let before = resident();
        let is_too_large = |problem: &Problem| match &problem.reason {
            Reason::Copy(error) => {
                matches!(**error, Error::File(sigward::file::Error::TooLarge { .. }))
            }
            _ => false,
        };
        grow(1 << 42);
        until("too large", || file.last_error().is_some_and(|problem| is_too_large(&problem)));
        assert!(resident() < before + (4 << 20), "memory");
        let error = Reloading::open(&path, text).unwrap_err();
        assert!(is_too_large(&error), "{error}");
        fs::write(&path, "small again").unwrap();
        until("the next", || file.get().value == "small again");
        // Half of what is left, not all of it.
        let left = fs::read_to_string("/proc/meminfo").unwrap();
        let left = ["MemAvailable:", "SwapFree:"].map(|name| {
            let line = left.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
        });
        grow(left.iter().sum::<u64>() / 8 * 7);
        until("too large", || file.last_error().is_some_and(|problem| is_too_large(&problem)));
    });
}

// ---- one thread, one queue ----

/// Of the watching threads, and open descriptors. A thread that has been joined is listed a moment
/// longer, and a turn has a file open after its version is out.
#[track_caller]
fn come_to(threads: usize, descriptors: usize) {
    until("as many threads and descriptors", || {
        (self::threads(), self::descriptors()) == (threads, descriptors)
    });
}

fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name == "sigward-reload\n").count()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Watches of the one queue.
fn watches() -> usize {
    let infos = fs::read_dir("/proc/self/fdinfo").unwrap();
    let infos = infos.filter_map(|info| fs::read_to_string(info.unwrap().path()).ok());
    infos.map(|info| info.lines().filter(|line| line.starts_with("inotify wd:")).count()).sum()
}

/// `SIGWARD_RELOADS`: how many times each of the thousand is reloaded, for a long run.
#[test]
fn a_thousand_files_have_one_thread_and_leave_nothing() {
    lives("a_thousand_files_have_one_thread_and_leave_nothing", |folder| {
        const FILES: usize = 1000;
        let rounds = std::env::var("SIGWARD_RELOADS").map_or(2, |rounds| rounds.parse().unwrap());
        let before = (threads(), descriptors());
        let path = |number: usize| folder.join(format!("{number:03}"));
        for number in 0..FILES {
            fs::write(path(number), "round 0").unwrap();
        }
        let open = || -> Vec<Reloading<Vec<u8>>> {
            // Keeps no descriptor.
            let parse = |contents: Contents| Ok::<_, String>(contents.to_vec());
            (0..FILES)
                .map(|number| Options::new().tick(HOUR).open(path(number), parse).unwrap())
                .collect()
        };
        let files = open();
        come_to(before.0 + 1, before.1 + 2);
        until("watched", || files.iter().all(|file| file.status().watching));
        let watched = watches();
        let mut memory = 0;
        for round in 1..=rounds {
            let text = format!("round {round}");
            for number in 0..FILES {
                // By turns written over and replaced.
                if (number + round) % 2 == 0 {
                    fs::write(path(number), &text).unwrap();
                } else {
                    fs::write(folder.join("next"), &text).unwrap();
                    fs::rename(folder.join("next"), path(number)).unwrap();
                }
            }
            for file in &files {
                until(&text, || file.get().value == text.as_bytes());
            }
            come_to(before.0 + 1, before.1 + 2);
            until("as many watches", || watches() == watched);
            memory = if round == 1 { resident() } else { memory };
        }
        assert!(resident() < memory + (8 << 20), "{} bytes more", resident() - memory);
        drop(files);
        come_to(before.0, before.1);
        // And it comes back; who goes takes what only they needed with them.
        let mut files = open();
        come_to(before.0 + 1, before.1 + 2);
        until("as many watches", || watches() == watched);
        files.truncate(1);
        come_to(before.0 + 1, before.1 + 2);
        until("as many watches", || watches() == watched - FILES + 1);
        drop(files);
        come_to(before.0, before.1);
    });
}

/// A file that goes in the midst of its turn takes its watches with it.
#[test]
fn no_watch_stays_of_a_file_that_goes_in_its_turn() {
    lives("no_watch_stays_of_a_file_that_goes_in_its_turn", |folder| {
        // With it the thread and the queue stay.
        let other = folder.join("other");
        fs::write(&other, "1").unwrap();
        let _other = Options::new().tick(HOUR).open(&other, text).unwrap();
        let before = watches();
        for round in 0..150 {
            let path = folder.join(round.to_string());
            fs::write(&path, "old").unwrap();
            let file = Options::new().tick(Duration::from_millis(10)).open(&path, text).unwrap();
            // A turn comes 10 ms after what it is told of, and walks anew.
            fs::write(folder.join("next"), "new").unwrap();
            fs::rename(folder.join("next"), &path).unwrap();
            std::thread::sleep(Duration::from_micros(10_000 + round % 60 * 10));
            drop(file);
        }
        until("as many watches", || watches() == before);
    });
}

#[test]
fn files_come_and_go_on_many_threads() {
    lives("files_come_and_go_on_many_threads", |folder| {
        let before = (threads(), descriptors());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    let path = folder.join(thread.to_string());
                    for round in 0..100 {
                        let text = format!("{thread} {round}");
                        fs::write(&path, "old").unwrap();
                        let file = Options::new().tick(HOUR).open(&path, self::text).unwrap();
                        fs::write(&path, &text).unwrap();
                        if round % 4 == 0 {
                            until(&text, || file.get().value == text);
                        }
                        assert!(Reloading::open(folder.join("none"), self::text).is_err());
                    }
                });
            }
        });
        come_to(before.0, before.1);
    });
}

/// The callback of one file opens, asks and drops others.
#[test]
fn a_callback_may_do_with_other_files_what_it_likes() {
    lives("a_callback_may_do_with_other_files_what_it_likes", |folder| {
        let at = |name: &str| folder.join(name);
        for name in ["one", "two", "three"] {
            fs::write(at(name), "1").unwrap();
        }
        let two = Arc::new(Options::new().tick(HOUR).open(at("two"), text).unwrap());
        let (asked, dropped) =
            (two.clone(), Mutex::new(Some(Reloading::open(at("two"), text).unwrap())));
        let three = at("three");
        let (send, answer) = std::sync::mpsc::channel();
        let one = Options::new().tick(HOUR).on_event(move |_: Event<'_, String>| {
            let refused =
                asked.refresh_now().is_err_and(|error| matches!(error.reason, Reason::Within));
            let none = asked.wait_newer(9, HOUR).is_none();
            drop(dropped.lock().unwrap().take());
            // It is being written just now, so events have to be heard here.
            let mut writer = File::options().write(true).open(&three).unwrap();
            let writer = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(30));
                writer.write_all(b"3").unwrap();
            });
            let opened = Options::new().tick(HOUR).open(&three, text);
            writer.join().unwrap();
            send.send((refused, none, opened.map(|file| file.get().value.clone()).ok())).unwrap();
        });
        let _one = one.open(at("one"), text).unwrap();
        fs::write(at("one"), "2").unwrap();
        assert_eq!(answer.recv_timeout(PATIENCE).unwrap(), (true, true, Some("3".into())));
        fs::write(at("two"), "2").unwrap();
        until("two", || two.get().value == "2");
    });
}

/// More happens than the kernel keeps, while a callback takes its time: among what is lost is that
/// the file was removed. The next one often has its inode number.
#[test]
fn events_that_were_lost_are_made_up_for() {
    lives("events_that_were_lost_are_made_up_for", |folder| {
        let most = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let most = most.trim().parse::<usize>().unwrap();
        let at = |name: &str| folder.join(name);
        for name in ["file", "slow", "first", "second"] {
            fs::write(at(name), "1").unwrap();
        }
        let open = |name: &str| Options::new().tick(HOUR).open(at(name), text).unwrap();
        let file = open("file");
        let _others = [open("first"), open("second")];
        let (entered, leave) = (std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
        let held = Mutex::new(leave.1);
        let slow = Options::new().tick(HOUR).on_event(move |_: Event<'_, String>| {
            entered.0.send(()).unwrap();
            let _ = held.lock().unwrap().recv();
        });
        let slow = slow.open(at("slow"), text).unwrap();
        fs::write(at("slow"), "2").unwrap();
        entered.1.recv_timeout(PATIENCE).unwrap();
        // By turns: events that follow each other and are the same are one.
        let touched = [at("first"), at("second")].map(|path| File::open(path).unwrap());
        for _ in 0..=most / 2 {
            for file in &touched {
                file.set_times(fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH)).unwrap();
            }
        }
        fs::remove_file(at("file")).unwrap();
        fs::write(at("file"), "2").unwrap();
        leave.0.send(()).unwrap();
        drop(leave.0);
        until("two", || file.get().value == "2");
        for step in ["3", "4"] {
            fs::write(at("file"), step).unwrap();
            until(step, || file.get().value == step);
        }
        until("watched", || file.status().watching);
        drop(slow);
    });
}

struct Asking(Arc<Mutex<Option<Arc<Reloading<Asking>>>>>);

impl Drop for Asking {
    fn drop(&mut self) {
        let file = self.0.lock().unwrap().clone();
        drop(file.map(|file| file.status()));
    }
}

/// An old version is dropped on the thread.
#[test]
fn a_version_that_is_dropped_may_ask_for_the_status() {
    lives("a_version_that_is_dropped_may_ask_for_the_status", |folder| {
        let path = folder.join("file");
        fs::write(&path, "1").unwrap();
        let slot = Arc::<Mutex<Option<_>>>::default();
        let parsed = slot.clone();
        let parse = move |_: Contents| Ok::<_, String>(Asking(parsed.clone()));
        let file = Arc::new(Options::new().tick(HOUR).open(&path, parse).unwrap());
        *slot.lock().unwrap() = Some(file.clone());
        fs::write(&path, "2").unwrap();
        let (send, answer) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            send.send(file.wait_newer(1, HOUR).is_some() && file.refresh_now().is_ok()).unwrap();
        });
        assert!(answer.recv_timeout(PATIENCE).unwrap());
        let file = slot.lock().unwrap().take();
        drop(file);
    });
}

/// Whatever the parent's threads hold at the fork, the child has its own.
#[test]
fn a_child_has_a_thread_of_its_own() {
    lives("a_child_has_a_thread_of_its_own", |folder| {
        fn fork(work: impl FnOnce()) {
            // SAFETY: as the C library allows it, the child goes on with what it needs.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_ok();
                // SAFETY: a number.
                unsafe { libc::_exit(i32::from(!good)) };
            }
            let mut status = 0;
            // SAFETY: room for a number.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0);
        }
        fn follow(path: &Path, inherited: &Reloading<String>) {
            let file = Options::new().tick(HOUR).open(path, text).unwrap();
            for step in ["a", "b"] {
                fs::write(path, step).unwrap();
                until(step, || file.get().value == step);
            }
            assert!(
                inherited.refresh_now().is_err_and(|error| matches!(error.reason, Reason::Forked))
            );
            assert_eq!(threads(), 1);
            drop(file);
            until("no thread", || threads() == 0);
        }
        let (path, childs) = (folder.join("file"), folder.join("child"));
        fs::write(&path, "0").unwrap();
        fs::write(&childs, "0").unwrap();
        let file = Options::new().tick(HOUR).open(&path, text).unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // So that the thread is at work at the fork.
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    fs::write(&path, "busy").unwrap();
                    fs::write(&path, "busier").unwrap();
                }
            });
            for round in 0..10 {
                fork(|| {
                    follow(&childs, &file);
                    if round == 0 {
                        fork(|| follow(&childs, &file));
                    }
                });
            }
            over.store(true, Ordering::Relaxed);
        });
        fs::write(&path, "end").unwrap();
        until("the parent's goes on", || file.get().value == "end");
    });
}

// ---- where the kernel refuses ----

#[test]
fn without_a_queue_or_watches_the_tick_looks_and_the_status_says_why() {
    lives("without_a_queue_or_watches_the_tick_looks_and_the_status_says_why", |folder| {
        let path = folder.join("file");
        fs::write(&path, "0").unwrap();
        let check = |errno: i32, name: &str| {
            let file = Options::new().tick(Duration::from_millis(20)).open(&path, text).unwrap();
            until("a look", || file.status().watch_error.is_some());
            let status = file.status();
            assert_eq!((status.watch_error, status.watching), (Some(errno), false), "{name}");
            for step in ["1", "2"] {
                let text = format!("{name} {step}");
                fs::write(folder.join("next"), &text).unwrap();
                fs::rename(folder.join("next"), &path).unwrap();
                until(&text, || file.get().value == text);
            }
        };
        // A filter of system calls: inotify_init1(2) and inotify_add_watch(2) answer EPERM.
        refuse(libc::SYS_inotify_add_watch as u32, libc::ENOSPC);
        check(libc::ENOSPC, "no watches");
        refuse(libc::SYS_inotify_init1 as u32, libc::EPERM);
        check(libc::EPERM, "no queue");
    });
}

/// From here on this thread and those that it starts get `errno` for this call.
fn refuse(call: u32, errno: i32) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        step(LOAD, 0, 0, 0),
        step(EQUAL, 0, 1, call),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: numbers.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: a filter of as many steps as it says.
    let done =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    assert_eq!(done, 0);
}

//! The newest good version of a file that others replace, write over, remove and spoil. Each case
//! is a process of its own, and nearly all of them have a tick of an hour: what they see, an event
//! has told.

#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

use sigward::reloading::{Contents, Event, Options, Problem, Reason, Reloading, Version};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{APART, FOLDER, Scratch, apart, if_apart, lives, own};

const HOUR: Duration = Duration::from_secs(3600);
/// For what comes at once, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

// ---- files ----

/// A generation is its number, again and again: a mixture of two is seen at once. No two that
/// follow each other are of one length, but for those of the same half.
fn generation(number: u64) -> Vec<u8> {
    let words = 100_000 + (number / 2 % 3) as usize * 20_000;
    number.to_le_bytes().repeat(words)
}

/// Which one it is, if it is whole.
fn number_of(bytes: &[u8]) -> Option<u64> {
    let number = u64::from_le_bytes(bytes.first_chunk::<8>().copied()?);
    (bytes == generation(number)).then_some(number)
}

fn whole(contents: Contents) -> Result<Contents, String> {
    match number_of(&contents) {
        Some(_) => Ok(contents),
        None => Err(format!("{} bytes of no generation", contents.len())),
    }
}

#[allow(clippy::unnecessary_wraps, reason = "a parser")]
fn anything(contents: Contents) -> Result<Contents, String> {
    Ok(contents)
}

#[allow(clippy::needless_pass_by_value, reason = "a parser")]
fn text(contents: Contents) -> Result<String, std::str::Utf8Error> {
    std::str::from_utf8(&contents).map(String::from)
}

fn hourly<T: Send + Sync + 'static>() -> Options<T> {
    Options::new().tick(HOUR)
}

/// Waits until it is so; the tests have no other clock.
#[track_caller]
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[track_caller]
fn becomes(file: &Reloading<String>, want: &str) {
    until(want, || file.get().value == want);
    assert!(file.last_error().is_none(), "{:?}", file.last_error());
}

#[track_caller]
fn problem<T>(file: &Reloading<T>, so: impl Fn(&Reason) -> bool) -> Arc<Problem> {
    let mut found = None;
    until("a problem", || {
        found = file.last_error().filter(|problem| so(&problem.reason));
        found.is_some()
    });
    found.unwrap()
}

// ---- updaters ----

/// Writes over the file in place, piece by piece.
fn write_over(path: &Path, bytes: &[u8], piece: usize, pause: Duration) {
    let mut file = File::options().write(true).truncate(true).open(path).unwrap();
    for piece in bytes.chunks(piece) {
        file.write_all(piece).unwrap();
        std::thread::sleep(pause);
    }
}

/// The ways in which a file gets its next generation, by turns.
fn update(live: &Path, number: u64) {
    let bytes = generation(number);
    let beside = live.with_extension("next");
    match number % 6 {
        0 => {
            fs::write(&beside, &bytes).unwrap();
            assert!(Command::new("cp").arg(&beside).arg(live).status().unwrap().success());
        }
        1 => {
            fs::write(&beside, &bytes).unwrap();
            fs::rename(&beside, live).unwrap();
        }
        2 => write_over(live, &bytes, 64 << 10, Duration::from_millis(1)),
        // Stays at the half for a while.
        3 => write_over(live, &bytes, bytes.len() / 2 + 1, Duration::from_millis(60)),
        // No cut: over the old bytes, and then to its length.
        4 => {
            let mut file = File::options().write(true).open(live).unwrap();
            for piece in bytes.chunks(128 << 10) {
                file.write_all(piece).unwrap();
                std::thread::yield_now();
            }
            file.set_len(bytes.len() as u64).unwrap();
        }
        _ => {
            let mut new = sigward::file::Replacement::create(live).unwrap();
            new.write_all(&bytes).unwrap();
            new.commit().unwrap();
        }
    }
}

const UPDATES: u64 = 18;

/// Four readers at full speed compare every byte of what they get.
fn load(folder: &Path) {
    let live = folder.join("live");
    fs::write(&live, generation(1)).unwrap();
    let file = hourly().open(&live, anything).unwrap();
    let over = AtomicBool::new(false);
    let looks = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut last = 0;
                while !over.load(Ordering::Relaxed) {
                    let version = file.get();
                    let number = number_of(&version.value).expect("a mixture");
                    assert!(
                        number >= last && version.length == version.value.len() as u64,
                        "{number} after {last}"
                    );
                    last = number;
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 2..2 + UPDATES {
            update(&live, number);
            let began = Instant::now();
            while number_of(&file.get().value) != Some(number) {
                let stuck = began.elapsed() > PATIENCE;
                over.fetch_or(stuck, Ordering::Relaxed);
                assert!(!stuck, "update {number} never came: {:?}", file.status());
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        // On a busy machine the readers may not have had a turn.
        let began = Instant::now();
        while looks.load(Ordering::Relaxed) <= UPDATES && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(looks.load(Ordering::Relaxed) > UPDATES);
    until("watched", || file.status().watching);
    let status = file.status();
    assert!(status.version > UPDATES && status.problem.is_none() && status.refused == 0, "{status:?}");
}

#[test]
fn readers_get_whole_versions_only() {
    lives("readers_get_whole_versions_only", load);
}

#[test]
fn on_every_file_system_readers_get_whole_versions_only() {
    const NAME: &str = "on_every_file_system_readers_get_whole_versions_only";
    if_apart(NAME, load);
    let mut tested = 0;
    for system in support::file_systems::ALL.iter().filter(|system| system.is_here()) {
        let script = format!(r#"{APART}={NAME} {FOLDER}="$M" exec "$1" {NAME} --exact --nocapture"#);
        let run = system.shell(&script, &std::env::current_exe().unwrap());
        assert_eq!(run.status.code(), Some(0), "{}: {run:#?}", system.name);
        tested += 1;
    }
    println!("{tested} file systems");
}

/// The same updates, under a map as every program has one.
#[test]
fn without_us_the_process_dies() {
    let status = apart("without_us_the_process_dies", |folder| {
        let live = folder.join("live");
        fs::write(&live, generation(1)).unwrap();
        let file = File::open(&live).unwrap();
        let length = generation(1).len();
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&file);
        // SAFETY: a new mapping.
        let data = unsafe {
            libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, descriptor, 0)
        };
        assert_ne!(data, libc::MAP_FAILED);
        let data = data.cast::<u8>().addr();
        std::thread::spawn(move || {
            loop {
                // With step_by a release build of rustc 1.95 has read the page after the last one.
                let mut at = 0;
                while at < length {
                    let byte = std::ptr::with_exposed_provenance::<u8>(data + at);
                    // SAFETY: within the mapping. That the file may end before it is what this
                    // shows.
                    unsafe { byte.read_volatile() };
                    at += 4096;
                }
            }
        });
        for number in (2..).filter(|number| number % 6 == 2 || number % 6 == 0).take(200) {
            update(&live, number);
        }
    });
    assert_eq!(status.signal(), Some(libc::SIGBUS), "{status}");
}

// ---- names, links, folders ----

#[test]
fn a_config_map_is_followed() {
    lives("a_config_map_is_followed", |folder| {
        // As kubelet does it: one link for each key, one link for all keys, a folder for each
        // generation.
        let write = |name: &str, text: &str| {
            fs::create_dir(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("key"), text).unwrap();
        };
        write("..first", "one");
        symlink("..first", folder.join("..data")).unwrap();
        symlink("..data/key", folder.join("key")).unwrap();
        let file = hourly().open(folder.join("key"), text).unwrap();
        assert!(file.get().value == "one");
        let mut before = String::from("..first");
        for (name, text) in [("..second", "two"), ("..third", "three"), ("..fourth", "four")] {
            write(name, text);
            symlink(name, folder.join("..data_tmp")).unwrap();
            fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
            // While the old folder is still there, so that nothing has happened to the old file.
            becomes(&file, text);
            fs::remove_dir_all(folder.join(&before)).unwrap();
            before = name.into();
        }
        until("watched", || file.status().watching);
    });
}

#[test]
fn whatever_leads_to_the_file_may_change() {
    lives("whatever_leads_to_the_file_may_change", |folder| {
        let at = |name: &str| folder.join(name);
        for name in ["a", "a/b", "c", "d", "d/b"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("a/b/file"), "1").unwrap();
        symlink("../a/b/file", at("c/relative")).unwrap();
        symlink(at("c/relative"), at("absolute")).unwrap();
        let file = hourly().open(at("absolute"), text).unwrap();
        becomes(&file, "1");
        // Its folder's folder in the place of another.
        fs::write(at("d/b/file"), "2").unwrap();
        fs::rename(at("a"), at("old")).unwrap();
        problem(&file, |reason| matches!(reason, Reason::Open { errno: libc::ENOENT }));
        fs::rename(at("d"), at("a")).unwrap();
        becomes(&file, "2");
        // Written in the folder that the path now leads through.
        fs::write(at("a/b/file"), "3").unwrap();
        becomes(&file, "3");
        // A link in the midst.
        fs::write(at("other"), "4").unwrap();
        symlink("../other", at("c/next")).unwrap();
        fs::rename(at("c/next"), at("c/relative")).unwrap();
        becomes(&file, "4");
        // A link that leads nowhere, until it does.
        fs::remove_file(at("absolute")).unwrap();
        symlink("nowhere/file", at("absolute")).unwrap();
        problem(&file, |reason| matches!(reason, Reason::Open { errno: libc::ENOENT }));
        fs::create_dir(at("nowhere")).unwrap();
        fs::write(at("nowhere/file"), "5").unwrap();
        becomes(&file, "5");
        // A circle.
        symlink("circle", at("circle")).unwrap();
        fs::rename(at("circle"), at("absolute")).unwrap();
        problem(&file, |reason| matches!(reason, Reason::Open { errno: libc::ENOENT | libc::ELOOP }));
        fs::remove_file(at("absolute")).unwrap();
        fs::write(at("absolute"), "6").unwrap();
        becomes(&file, "6");
        until("watched", || file.status().watching);
    });
}

#[test]
fn the_first_version_can_be_waited_for() {
    lives("the_first_version_can_be_waited_for", |folder| {
        let path = folder.join("later/file");
        let missing = Reloading::open(&path, text).unwrap_err();
        assert!(matches!(missing.reason, Reason::Open { errno: libc::ENOENT }), "{missing}");
        let other = path.clone();
        let writer = std::thread::spawn(move || {
            fs::create_dir(other.parent().unwrap()).unwrap();
            fs::write(&other, b"\xff").unwrap(); // refused
            fs::write(&other, "good").unwrap();
        });
        let file = hourly().wait_for_first(PATIENCE).open(&path, text).unwrap();
        assert_eq!((file.get().value.as_str(), file.get().number), ("good", 1));
        writer.join().unwrap();
        // And one that is being written is waited for in any case.
        let path = folder.join("slow");
        fs::write(&path, generation(2)).unwrap();
        let mut writer = File::options().write(true).open(&path).unwrap();
        let opened = std::thread::spawn(move || hourly().open(&path, anything).unwrap());
        writer.write_all(&generation(3)).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        drop(writer);
        assert_eq!(number_of(&opened.join().unwrap().get().value), Some(3));
    });
}

// ---- what is not taken ----

#[test]
fn the_old_version_stays_and_the_reason_is_told() {
    lives("the_old_version_stays_and_the_reason_is_told", |folder| {
        let path = folder.join("file");
        fs::write(&path, generation(1)).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = told.clone();
        let file = hourly()
            .on_event(move |event: Event<'_, Contents>| {
                telling.lock().unwrap().push(match event {
                    Event::Loaded(version) => format!("version {}", version.number),
                    Event::Kept(problem) => problem.to_string(),
                    _ => String::new(),
                });
                panic!("of the callback"); // its own affair
            })
            .open(&path, whole)
            .unwrap();
        let kept = |version: u64| assert_eq!(number_of(&file.get().value), Some(version));

        fs::remove_file(&path).unwrap();
        let gone = problem(&file, |reason| matches!(reason, Reason::Open { errno: libc::ENOENT }));
        assert_eq!((gone.kept, gone.length, gone.path.as_path()), (1, None, path.as_path()));
        kept(1);
        File::create(&path).unwrap();
        let empty = problem(&file, |reason| matches!(reason, Reason::Empty));
        assert_eq!((empty.length, empty.count), (Some(0), 1));
        kept(1);
        fs::write(&path, "broken").unwrap();
        let broken = problem(&file, |reason| matches!(reason, Reason::Refused(_)));
        assert!(broken.to_string().ends_with("bytes of no generation; version 1 stays"), "{broken}");
        assert_eq!((broken.length, broken.reason.errno()), (Some(6), libc::EBADMSG));
        kept(1);
        assert!(file.refresh_now().is_err_and(|error| matches!(error.reason, Reason::Refused(_))));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        problem(&file, |reason| matches!(reason, Reason::NotAFile { errno: libc::EISDIR }));
        fs::remove_dir(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        problem(&file, |reason| matches!(reason, Reason::NotAFile { errno: libc::ENODEV }));
        kept(1);
        fs::remove_file(&path).unwrap();

        fs::write(&path, generation(2)).unwrap();
        let second = file.wait_newer(1, PATIENCE).unwrap();
        assert_eq!((second.number, number_of(&second.value)), (2, Some(2)));
        assert!(file.last_error().is_none() && file.wait_newer(2, Duration::from_millis(1)).is_none());

        // A writer who never gets to the end, and one who dies there.
        let mut writer = Command::new("sh");
        writer.args(["-c", r#"head -c 9999 /dev/zero > "$0"; exec sleep 60 >> "$0""#]).arg(&path);
        let mut writer = writer.spawn().unwrap();
        until("a writer", || fs::metadata(&path).unwrap().len() == 9999);
        until("sleep", || fs::read_to_string(format!("/proc/{}/comm", writer.id())).unwrap() == "sleep\n");
        let error = file.refresh_now().unwrap_err();
        assert!(matches!(error.reason, Reason::Writing) && error.length == Some(9999), "{error}");
        kept(2);
        writer.kill().unwrap();
        writer.wait().unwrap();
        problem(&file, |reason| matches!(reason, Reason::Refused(_)));
        kept(2);
        fs::write(&path, generation(3)).unwrap();
        let third = file.wait_newer(2, PATIENCE);
        assert_eq!(third.map(|version| version.number), Some(3), "{:#?}", file.status());

        // Opened for writing, and nothing was written.
        let writer = File::options().write(true).open(&path).unwrap();
        assert!(file.refresh_now().is_err_and(|error| matches!(error.reason, Reason::Writing)));
        drop(writer);
        until("no trouble", || file.last_error().is_none());
        // Written again, the same: no new version.
        let before = file.status();
        fs::write(&path, generation(3)).unwrap();
        until("a look", || file.status().unchanged > before.unchanged);
        File::open(&path).unwrap().set_permissions(fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(file.refresh_now().unwrap().number, 3);

        let told = told.lock().unwrap();
        for words in ["No such file", "empty", "no generation", "directory", "version 2", "version 3"] {
            assert!(told.iter().any(|line| line.contains(words)), "{words}: {told:#?}");
        }
    });
}

#[test]
fn a_parser_may_panic() {
    lives("a_parser_may_panic", |folder| {
        let path = folder.join("file");
        fs::write(&path, "1").unwrap();
        let parse = |contents: Contents| {
            assert!(contents[0] != b'2', "a two");
            Ok::<_, String>(contents[0])
        };
        let file = hourly().open(&path, parse).unwrap();
        fs::write(&path, "2").unwrap();
        let refused = problem(&file, |reason| matches!(reason, Reason::Refused(_)));
        assert!(refused.to_string().contains("panicked: a two"), "{refused}");
        assert_eq!(file.with(|version| version.value), b'1');
        fs::write(&path, "3").unwrap();
        assert_eq!(file.wait_newer(1, PATIENCE).unwrap().value, b'3');
        fs::write(&path, "2").unwrap();
        assert!(Reloading::open(&path, parse).is_err_and(|error| matches!(error.reason, Reason::Refused(_))));
    });
}

#[test]
fn a_file_that_may_not_be_read_is_kept() {
    lives("a_file_that_may_not_be_read_is_kept", |folder| {
        let path = folder.join("file");
        fs::write(&path, "1").unwrap();
        for path in [folder, path.as_path()] {
            // Without root the files are ours as they are.
            std::os::unix::fs::chown(path, Some(65534), None).ok();
        }
        // SAFETY: numbers only.
        unsafe { libc::seteuid(65534) };
        let file = hourly().open(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
        problem(&file, |reason| matches!(reason, Reason::Open { errno: libc::EACCES }));
        assert_eq!(file.get().value, "1");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        until("the same again", || file.last_error().is_none());
        // A folder that may be passed through but not read has no events: there the tick looks.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o300)).unwrap();
        let ticking = Options::new().tick(Duration::from_millis(20)).open(&path, text).unwrap();
        until("a look", || !ticking.status().watching);
        fs::write(folder.join("next"), "2").unwrap();
        fs::rename(folder.join("next"), &path).unwrap();
        becomes(&ticking, "2");
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    });
}

/// The files of others: no lease tells whether they are being written.
#[test]
fn another_users_file_has_to_settle() {
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } != 0 {
        return support::skip("another user's file: needs root");
    }
    lives("another_users_file_has_to_settle", |folder| {
        let path = folder.join("file");
        fs::write(&path, generation(1)).unwrap();
        // SAFETY: numbers only.
        unsafe { libc::seteuid(65534) };
        let settling = Options::new().tick(HOUR).settle(Duration::from_millis(100));
        let file = settling.open(&path, whole).unwrap();
        // SAFETY: as above; fsuid of this thread alone, as the updater.
        std::thread::spawn(move || {
            // SAFETY: as above.
            unsafe { libc::setfsuid(0) };
            for number in 2..5 {
                write_over(&path, &generation(number), 64 << 10, Duration::from_millis(1));
            }
        })
        .join()
        .unwrap();
        until("the last", || number_of(&file.get().value) == Some(4));
        assert!(file.last_error().is_none() && file.status().not_yet > 0, "{:?}", file.status());
    });
}

// ---- without events ----

#[test]
fn the_tick_does_without_events() {
    const NAME: &str = "the_tick_does_without_events";
    fn case(folder: &Path) {
        let path = folder.join("file");
        fs::write(&path, "1").unwrap();
        let file = Options::new().tick(Duration::from_millis(20)).open(&path, text).unwrap();
        let status = file.status();
        assert_eq!((status.watching, status.watch_error), (false, Some(libc::EMFILE)));
        for step in ["2", "3", "4"] {
            fs::write(folder.join("next"), step).unwrap();
            fs::rename(folder.join("next"), &path).unwrap();
            becomes(&file, step);
            fs::write(&path, step.repeat(2)).unwrap();
            becomes(&file, &step.repeat(2));
        }
        fs::remove_file(&path).unwrap();
        problem(&file, |reason| matches!(reason, Reason::Open { .. }));
        assert!(!file.status().watching);
        // As soon as there may be a queue, there is one.
        fs::write("/proc/sys/user/max_inotify_instances", "10").unwrap();
        until("events", || file.status().watching);
        assert_eq!(file.status().watch_error, None);
    }
    if_apart(NAME, case);
    let scratch = Scratch::new(NAME);
    let own = own(NAME, scratch.path());
    // A user namespace has limits of its own.
    let mut shell = Command::new("unshare");
    shell.args(["--user", "--map-root-user", "sh", "-c"]);
    shell.args([r#"echo 0 > /proc/sys/user/max_inotify_instances || exit 77; exec "$@""#, "sh"]);
    shell.arg(own.get_program()).args(own.get_args());
    shell.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdout(Stdio::null());
    let status = shell.status().unwrap();
    if matches!(status.code(), Some(1 | 77)) {
        return support::skip("no inotify: needs user namespaces");
    }
    assert_eq!(status.code(), Some(0), "{status}");
}

// ---- the thread ----

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
        for signal in [libc::SIGIO, libc::SIGURG, libc::SIGTERM, libc::SIGPIPE, libc::SIGPROF, libc::SIGUSR1]
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
            update(&path, number + 1);
            until("the next", || number_of(&file.get().value) == Some(number + 1));
            assert_eq!(number_of(&held.value), Some(number));
            drop(file);
            assert_eq!(number_of(&held.value), Some(number));
            assert!(
                Reloading::open(folder, text).is_err() && Reloading::open(folder.join("none"), text).is_err()
            );
            fs::write(&path, "broken").unwrap();
            assert!(Reloading::open(&path, whole).is_err());
        };
        let measure = || {
            let maps = fs::read_to_string("/proc/self/maps").unwrap();
            let ours =
                maps.lines().filter(|line| line.contains("memfd") || line.contains("(deleted)")).count();
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
                    && file.refresh_now().is_err_and(|error| matches!(error.reason, Reason::Forked))
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
            let refused = own.refresh_now().is_err_and(|error| matches!(error.reason, Reason::Within));
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
        let error = std::io::Error::from(Reloading::open(folder.join("missing"), text).unwrap_err());
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

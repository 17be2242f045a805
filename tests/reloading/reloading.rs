//! The newest good version of a file that others replace, write over, remove and spoil. Each case
//! is a process of its own, and nearly all of them have a tick of an hour: what they see, an event
//! has told.

#![cfg(target_os = "linux")]

#[path = "ways.rs"]
mod common;
#[path = "../support/mod.rs"]
mod support;

use common::{HOUR, PATIENCE, anything, becomes, hourly, problem, text, until, update, write_over};
use sigward::reloading::{Contents, Event, Options, Reason, Reloading};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{APART, FOLDER, Scratch, apart, if_apart, lives, own};

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
            update(&live, number, &generation(number));
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
    assert!(
        status.version > UPDATES && status.problem.is_none() && status.refused == 0,
        "{status:?}"
    );
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
        let script =
            format!(r#"{APART}={NAME} {FOLDER}="$M" exec "$1" {NAME} --exact --nocapture"#);
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
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ,
                libc::MAP_SHARED,
                descriptor,
                0,
            )
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
            update(&live, number, &generation(number));
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
        problem(&file, |reason| {
            matches!(reason, Reason::Open { errno: libc::ENOENT | libc::ELOOP })
        });
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
        assert!(
            broken.to_string().ends_with("bytes of no generation; version 1 stays"),
            "{broken}"
        );
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
        assert!(
            file.last_error().is_none() && file.wait_newer(2, Duration::from_millis(1)).is_none()
        );

        // A writer who never gets to the end, and one who dies there.
        let mut writer = Command::new("sh");
        writer.args(["-c", r#"head -c 9999 /dev/zero > "$0"; exec sleep 60 >> "$0""#]).arg(&path);
        let mut writer = writer.spawn().unwrap();
        until("a writer", || fs::metadata(&path).unwrap().len() == 9999);
        until("sleep", || {
            fs::read_to_string(format!("/proc/{}/comm", writer.id())).unwrap() == "sleep\n"
        });
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
        for words in
            ["No such file", "empty", "no generation", "directory", "version 2", "version 3"]
        {
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
        assert!(
            Reloading::open(&path, parse)
                .is_err_and(|error| matches!(error.reason, Reason::Refused(_)))
        );
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
    shell
        .envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdout(Stdio::null());
    let status = shell.status().unwrap();
    if matches!(status.code(), Some(1 | 77)) {
        return support::skip("no inotify: needs user namespaces");
    }
    assert_eq!(status.code(), Some(0), "{status}");
}

//! Guarded maps, reservations and replacements on file systems in user space (FUSE).
//!
//! There a full disk kills nobody: a store into a map asks for no room, and the loss comes out of
//! msync(2), once, and not again. What kills is a page that cannot be read: cut, refused by the
//! daemon, or the daemon dead.

#[path = "../support/mod.rs"]
mod support;

use libc::{SIGBUS, SIGXFSZ};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::file_systems::{BINDFS, FUSE2FS, FileSystem, IN_USER_SPACE};
use support::{Link, Scratch, prepared};

fn each(test: impl Fn(&FileSystem)) {
    IN_USER_SPACE
        .iter()
        .filter(|file_system| file_system.is_here())
        .for_each(|file_system| test(file_system));
}

#[track_caller]
fn says(file_system: &FileSystem, host: &'static str, scenario: &str, link: Link) -> String {
    let run = file_system.host(host, scenario, link);
    assert_eq!(run.status.code(), Some(0), "{} {scenario} {link:?}: {run:#?}", file_system.name);
    run.out
}

/// With what only this file system has as a second argument.
#[track_caller]
fn dies_bare_lives_warded(file_system: &FileSystem, scenario: &str, argument: &str) {
    if file_system.is_here() {
        let script = format!(r#"exec "$1" {scenario} "$M" {argument}"#);
        file_system.shell(&script, &prepared("fuse", Link::Bare)).died_of(SIGBUS);
        file_system.shell(&script, &prepared("fuse", Link::Archive)).lived();
    }
}

#[test]
fn a_full_disk_is_told_by_flush_and_told_again() {
    each(|file_system| {
        assert_eq!(
            says(file_system, "fuse", "store", Link::Bare),
            "forgotten\n",
            "{}",
            file_system.name
        );
        assert_eq!(
            says(file_system, "fuse", "store", Link::Archive),
            "told\n",
            "{}",
            file_system.name
        );
    });
}

#[test]
fn what_a_daemon_promises_is_unproven() {
    each(|file_system| {
        let ours = if file_system.name == FUSE2FS.name {
            "promise 2, not kept\n" // it looks for free blocks before any write
        } else {
            "promise 2 of zeros, kept\n"
        };
        assert_eq!(says(file_system, "fuse", "reserved", Link::Bare), "promise 0, not kept\n");
        assert_eq!(
            says(file_system, "fuse", "reserved", Link::Archive),
            ours,
            "{}",
            file_system.name
        );
        says(file_system, "fuse", "refused", Link::Bare);
        says(file_system, "fuse", "refused", Link::Archive);
    });
}

#[test]
fn a_dead_daemon_is_an_io_error() {
    for file_system in IN_USER_SPACE {
        dies_bare_lives_warded(file_system, "killed", "$DAEMON");
    }
}

#[test]
fn what_a_daemon_cannot_read_is_an_io_error() {
    dies_bare_lives_warded(&FUSE2FS, "image_cut", r#""$S/img""#);
}

#[test]
fn a_file_that_is_cut_behind_the_kernels_back() {
    dies_bare_lives_warded(&BINDFS, "cut_below", r#""$S/below""#);
}

#[test]
fn a_file_that_is_written_behind_the_kernels_back() {
    if BINDFS.is_here() {
        for link in [Link::Bare, Link::Archive] {
            BINDFS
                .shell(r#"exec "$1" written_below "$M" "$S/below""#, &prepared("fuse", link))
                .lived();
        }
    }
}

#[test]
fn maps_of_others_are_known_by_their_names() {
    each(|file_system| {
        let rows = file_system.host("map_adopt", "adopted", Link::Bare).every_row("signal 7");
        assert_eq!(
            file_system.host("map_adopt", "adopted", Link::Archive).every_row("exit 0"),
            rows
        );
    });
}

#[test]
fn reservations() {
    each(|file_system| {
        for scenario in ["bad", "shared"] {
            says(file_system, "file_reserve", scenario, Link::Archive);
        }
    });
    // Without a list of holes only a file without any can be written to.
    if FUSE2FS.is_here() {
        for scenario in ["appending", "size_limit"] {
            says(&FUSE2FS, "file_reserve", scenario, Link::Archive);
        }
    }
}

#[test]
fn replacements() {
    each(|file_system| {
        file_system.host("file_replace", "mapped", Link::Bare).died_of(SIGBUS);
        assert_eq!(
            file_system.host("file_replace", "no_space", Link::Bare).status.code(),
            Some(99)
        );
        for scenario in ["mapped", "no_space", "attributes", "links", "writer"] {
            says(file_system, "file_replace", scenario, Link::Archive);
        }
    });
    // fuse2fs makes a file of a name that is too long.
    if BINDFS.is_here() {
        says(&BINDFS, "file_replace", "bad", Link::Archive);
    }
}

#[test]
fn growing() {
    each(|file_system| {
        file_system.host("map_grow", "size_limit", Link::Bare).died_of(SIGXFSZ);
        for scenario in ["readers", "size_limit", "others", "bad", "leaks"] {
            says(file_system, "map_grow", scenario, Link::Archive);
        }
    });
    // Growth was promised, and the daemon looks for free blocks all the same when the pages come:
    // not lost in silence.
    if FUSE2FS.is_here() {
        let run = FUSE2FS.host("map_grow", "full", Link::Archive);
        assert!(run.err.contains("sigward_map_flush(map) == 0 (errno No space left"), "{run:#?}");
    }
}

#[test]
fn logs() {
    each(|file_system| {
        file_system.host("log", "cut", Link::Bare).died_of(SIGBUS);
        assert_eq!(
            says(file_system, "log", "full", Link::Bare),
            "Success\n",
            "the naive log says nothing"
        );
    });
    // Without a map, and with one.
    for way in ["", "SIGWARD_TEST_LOG_MAPPED=1"] {
        let run = |file_system: &FileSystem, scenario: &str| {
            let script = format!(r#"exec env {way} "$1" {scenario} "$M""#);
            file_system.shell(&script, &prepared("log", Link::Archive))
        };
        each(|file_system| assert_eq!(run(file_system, "cut").lived().out, "told\n"));
        if BINDFS.is_here() {
            // With zeros, slowly.
            assert_eq!(run(&BINDFS, "full").lived().out, "No space left on device\n");
        }
        if FUSE2FS.is_here() {
            let run = run(&FUSE2FS, "full");
            assert!(
                run.err.contains("sigward_log_flush(log, NULL) == 0 (errno No space left"),
                "{run:#?}"
            );
        }
    }
}

#[test]
fn leases() {
    each(|file_system| {
        for cutter in 0..3 {
            let script = format!(r#"exec "$1" in_time "$M" {cutter}"#);
            file_system.shell(&script, &prepared("lease", Link::Bare)).died_of(SIGBUS);
            file_system.shell(&script, &prepared("lease", Link::Archive)).lived();
        }
    });
}

#[test]
fn snapshots() {
    each(|file_system| {
        file_system.host("snapshot", "kept", Link::Bare).died_of(SIGBUS);
        // The times of fuse2fs are whole seconds: one change too many in the same second would not
        // be seen.
        for scenario in ["kept", "limits", "changes", "full", "bad"] {
            says(file_system, "snapshot", scenario, Link::Archive);
        }
    });
    if BINDFS.is_here() {
        says(&BINDFS, "snapshot", "generations", Link::Archive);
    }
}

/// The kernel has pages and times in memory that are others on the far side of the daemon, as of
/// any file on a server: it is asked past that, and twice.
#[test]
fn snapshots_of_a_file_that_is_written_behind_the_kernels_back() {
    if BINDFS.is_here() {
        let script = r#"exec "$1" generations "$M" "$S/below""#;
        assert_eq!(BINDFS.shell(script, &prepared("snapshot", Link::Bare)).lived().out, "torn\n");
        let run = BINDFS.shell(script, &prepared("snapshot", Link::Archive));
        let run = run.lived();
        let counts: Vec<u32> = run.out.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [clones, copies, changed, unproven] = counts[..] else { panic!("{run:#?}") };
        assert_eq!((clones, copies + changed, copies), (0, 25, unproven), "{run:#?}");
    }
}

/// Where the process that is to be killed says who its daemon and its host are.
const HELD: &str = "SIGWARD_TEST_HELD";

/// What is killed by the test below: a test whose host waits.
#[test]
fn held() {
    if std::env::var_os(HELD).is_some() {
        FUSE2FS.shell(
            &format!(r#"echo "$DAEMON $$ $S" >"${HELD}"; exec sleep 50"#),
            Path::new("true"),
        );
    }
}

/// Nobody takes the folder away then, which would end the mount and so the daemon.
#[test]
fn a_killed_test_leaves_no_daemon_behind() {
    if !FUSE2FS.is_here() {
        return;
    }
    let folder = Scratch::new("held");
    let note = folder.path().join("note");
    let mut test = Command::new(std::env::current_exe().expect("a test has a path"));
    let mut test = test.args(["--exact", "held"]).env(HELD, &note).spawn().expect("it starts");
    let said = || std::fs::read_to_string(&note).unwrap_or_default();
    until("the host is there", || said().ends_with('\n'));
    test.kill().expect("a child of ours");
    test.wait().expect("a child of ours");
    let said = said();
    let [daemon, host, scratch] = said.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{said}")
    };
    for process in [host, daemon] {
        // Whoever inherits it takes its time to notice: until then it is a name without memory or
        // mounts.
        let stat = format!("/proc/{process}/stat");
        until("it is gone", || {
            std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
        });
    }
    std::fs::remove_dir_all(scratch).expect("a folder of ours");
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

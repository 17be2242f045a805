//! Told before a file is cut, on real file systems: bare dies of SIGBUS, the holder of a lease
//! reads to the end first.

#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

use libc::SIGBUS;
use sigward::file::{Error, Lease, Notice};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use support::file_systems::{ALL, OVERLAY};
use support::{Link, Run, Scratch, Setting, Settings, lives, prepared, run};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

fn warded(scenario: &str) -> Run {
    let _as_they_are = Settings::as_they_are();
    let scratch = Scratch::new(&format!("lease-{scenario}"));
    run(&prepared("lease", Link::Archive), &[scenario, scratch.as_str()])
}

#[test]
fn a_reader_finishes_before_the_file_is_cut() {
    let _as_they_are = Settings::as_they_are();
    for file_system in ALL.iter().filter(|file_system| file_system.is_here()) {
        // truncate(2), open with O_TRUNC, cp(1).
        for cutter in 0..3 {
            let script = format!(r#"exec "$1" in_time "$M" {cutter}"#);
            let bare = file_system.shell(&script, &prepared("lease", Link::Bare));
            assert_eq!(bare.signal(), Some(SIGBUS), "{} {cutter}: {bare:#?}", file_system.name);
            let warded = file_system.shell(&script, &prepared("lease", Link::Archive));
            assert_eq!(warded.status.code(), Some(0), "{} {cutter}: {warded:#?}", file_system.name);
        }
    }
}

/// Of the lower layer, where the writer's copy is another file: it waits all the same.
#[test]
fn an_overlay_s_lower_file() {
    let _as_they_are = Settings::as_they_are();
    if OVERLAY.is_here() {
        // Its lower layer has the file before it is mounted once more.
        let script = r#"umount "$M"; "$1" make "${M%/merged}/lower"; cd "${M%/merged}"
                        mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none "$M"
                        "$1" lower "$M"; test -s lower/lower_file; exec test -e upper/lower_file"#;
        OVERLAY.shell(script, &prepared("lease", Link::Archive)).lived();
    }
}

#[test]
fn each_take_is_armed_anew() {
    warded("again").lived();
}

#[test]
fn a_full_queue_of_signals_is_no_loss() {
    warded("again_full_queue").lived();
    warded("many_full_queue").lived();
}

#[test]
fn a_lost_notice_is_found() {
    warded("lost_notice").lived();
}

#[test]
fn many_leases_are_wanted_at_once() {
    warded("many").lived();
}

#[test]
fn a_file_with_a_writer_has_no_lease() {
    warded("writers").lived();
}

#[test]
fn an_open_descriptor_is_left_as_it_was() {
    warded("of_descriptor").lived();
}

#[test]
fn somebody_else_s_file_has_no_lease() {
    warded("not_owner").lived();
}

#[test]
fn nobody_s_signals_are_touched() {
    let scratch = Scratch::new("lease-untouched-bare");
    let bare = {
        let _as_they_are = Settings::as_they_are();
        run(&prepared("lease", Link::Bare), &["untouched", scratch.as_str()])
    };
    assert_eq!(bare.lived().out, "4 handled\n", "the kernel's own lease tells by SIGIO");
    assert_eq!(warded("untouched").lived().out, "0 handled\n");
}

#[test]
fn signals_that_wait_for_the_host_stay_its_own() {
    warded("waiting_signals").lived();
}

#[test]
fn one_thread_that_ends_with_the_last_lease() {
    warded("one_thread").lived();
}

#[test]
fn a_child_takes_nothing_from_its_parent() {
    warded("forked").lived();
    warded("forked_in_between").lived();
}

#[test]
fn the_holder_s_own_writer_would_block() {
    warded("by_itself").lived();
}

#[test]
fn nothing_leaks() {
    warded("leaks").lived();
}

#[test]
fn what_is_no_file_is_refused() {
    warded("bad").lived();
}

fn with_patience(seconds: &str, scenario: &str) {
    let Some(_patience) = Setting::change("fs/lease-break-time", |_| seconds.into()) else {
        return;
    };
    let scratch = Scratch::new(&format!("lease-{scenario}"));
    run(&prepared("lease", Link::Archive), &[scenario, scratch.as_str()]).lived();
}

#[test]
fn the_kernel_s_patience_ends_and_the_holder_knows() {
    with_patience("1", "by_force");
}

#[test]
fn patience_without_end_has_no_deadline() {
    with_patience("0", "for_ever");
}

#[test]
fn leases_may_be_switched_off() {
    warded("switched_off").lived();
}

fn cutter(path: &Path) -> Child {
    // Not by truncate(1), which opens with O_NONBLOCK, and gives up where there is a lease.
    Command::new("cp").arg("/dev/null").arg(path).spawn().expect("coreutils are installed")
}

/// In a process of its own.
fn in_rust(test: &str, case: fn(&Path)) {
    let _as_they_are = Settings::as_they_are();
    lives(test, case);
}

fn file_in(folder: &Path, contents: &[u8]) -> PathBuf {
    let path = folder.join("file");
    std::fs::write(&path, contents).expect("our own folder is writable");
    path
}

#[test]
fn it_is_told_waits_and_lets_go() {
    in_rust("it_is_told_waits_and_lets_go", |folder| {
        let path = file_in(folder, &vec![7; 100_000]);
        let lease = Lease::take(&path).expect("nobody writes");
        assert_eq!(lease.wait(Some(Duration::ZERO)), Ok(None));
        assert!(!lease.is_wanted() && lease.is_held() && lease.deadline().is_none(), "{lease:?}");
        let mut child = cutter(&path);
        assert_eq!(lease.wait(None), Ok(Some(Notice::Wanted)));
        assert_eq!(lease.wait(Some(Duration::MAX)), Ok(Some(Notice::Wanted)));
        assert!(lease.is_wanted() && lease.is_held());
        assert!(lease.deadline().is_some_and(|deadline| deadline > Instant::now()));
        assert!(lease.time_left().is_some_and(|left| left <= Duration::from_secs(45)));
        let mut bytes = Vec::new();
        let file = lease.file().try_clone_to_owned().expect("a descriptor is left");
        std::fs::File::from(file).read_to_end(&mut bytes).expect("an open file");
        assert!(bytes == vec![7; 100_000]);
        assert_eq!(child.try_wait().expect("a child of ours"), None);
        assert_eq!(lease.release(), Ok(()));
        assert!(child.wait().expect("a child of ours").success());
        assert_eq!(std::fs::metadata(&path).map(|file| file.len()).ok(), Some(0));
    });
}

#[test]
fn it_stays_wanted_when_who_wanted_the_file_has_gone() {
    in_rust("it_stays_wanted_when_who_wanted_the_file_has_gone", |folder| {
        let lease = Lease::take(file_in(folder, b"short")).expect("nobody writes");
        let mut child = cutter(&folder.join("file"));
        assert_eq!(lease.wait(None), Ok(Some(Notice::Wanted)));
        child.kill().expect("a child of ours");
        child.wait().expect("a child of ours");
        assert_eq!(lease.wait(Some(Duration::ZERO)), Ok(Some(Notice::Wanted)));
        assert!(lease.is_wanted() && lease.is_held());
        assert_eq!(lease.release(), Ok(()));
    });
}

#[test]
fn a_dropped_lease_is_released() {
    in_rust("a_dropped_lease_is_released", |folder| {
        let path = file_in(folder, b"short");
        drop(Lease::take(&path).expect("nobody writes"));
        drop(Lease::of(std::fs::File::open(&path).expect("ours")).expect("nobody writes"));
        let writer = std::fs::File::options().write(true).open(&path).expect("nobody holds it");
        assert_eq!(Lease::take(&path).err(), Some(Error::HasWriter));
        assert_eq!(Lease::of(&writer).err(), Some(Error::HasWriter));
        assert_eq!(Lease::take(folder).err(), Some(Error::NotAFile { errno: libc::EISDIR }));
        assert_eq!(Lease::take("/dev/null").err(), Some(Error::NotAFile { errno: libc::ENODEV }));
        assert!(matches!(Lease::take("a\0b"), Err(Error::Invalid(_))));
        let missing = Lease::take(folder.join("none")).expect_err("there is none");
        assert_eq!(missing.errno(), libc::ENOENT);
    });
}

#[test]
fn tokio_waits_for_it() {
    in_rust("tokio_waits_for_it", |folder| {
        let path = file_in(folder, b"short");
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let lease = Lease::take(&path).expect("nobody writes");
            // SAFETY: a lease answers with the same open descriptor until it is dropped.
            let lease = unsafe { AsyncFd::register_with_interest(lease, Interest::READABLE) };
            let lease = lease.map_err(|_| "no runtime").expect("there is one");
            let mut child = cutter(&path);
            drop(lease.readable().await.expect("an event"));
            assert!(lease.get_ref().is_wanted());
            assert_eq!(lease.into_inner().release(), Ok(()));
            assert!(child.wait().expect("a child of ours").success());
        });
    });
}

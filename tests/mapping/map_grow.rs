//! Maps that grow, on real file systems filled to the last block: bare dies, warded is told before
//! and goes on later. And readers who notice nothing.

#[path = "../support/mod.rs"]
mod support;

use libc::{SIGBUS, SIGSEGV, SIGXFSZ};
use sigward::mapping::{Error, MapMut, MapOptions};
use support::file_systems::{ALL, FileSystem};
use support::{Link, Run, Scratch, prepared, run};

fn warded(file_system: &FileSystem, scenario: &str) {
    let run = file_system.host("map_grow", scenario, Link::Archive);
    assert_eq!(run.status.code(), Some(0), "{} {scenario}: {run:#?}", file_system.name);
}

/// Bare dies of this signal, warded lives.
fn dies_bare(file_system: &FileSystem, scenario: &str, signal: i32) {
    let bare = file_system.host("map_grow", scenario, Link::Bare);
    assert_eq!(bare.signal(), Some(signal), "{} {scenario}: {bare:#?}", file_system.name);
    warded(file_system, scenario);
}

fn each(test: impl Fn(&FileSystem)) {
    ALL.iter()
        .filter(|file_system| file_system.is_here())
        .for_each(|file_system| test(file_system));
}

fn each_that_keeps_blocks(scenario: &str) {
    each(|file_system| {
        if file_system.keeps_blocks() {
            dies_bare(file_system, scenario, SIGBUS);
        }
    });
}

/// On the file system of temporary files.
fn here(scenario: &str, link: Link) -> Run {
    let scratch = Scratch::new(&format!("grow-{scenario}-{link:?}"));
    run(&prepared("map_grow", link), &[scenario, scratch.as_str()])
}

#[test]
fn a_full_disk_is_an_error_of_growing_and_nothing_is_lost() {
    each_that_keeps_blocks("full");
}

#[test]
fn every_step_is_safe_on_a_disk_that_is_full_after_it() {
    each_that_keeps_blocks("steps");
}

#[test]
fn readers_in_threads_and_processes_go_on_while_a_map_grows() {
    each(|file_system| warded(file_system, "readers"));
}

#[test]
fn pointers_from_before_a_move_stay_good() {
    here("moving", Link::Bare).died_of(SIGSEGV);
    here("moving", Link::Archive).lived();
    here("moving", Link::DebugArchive).lived();
}

#[test]
fn the_limit_for_sizes_is_an_error_and_no_signal() {
    each(|file_system| dies_bare(file_system, "size_limit", SIGXFSZ));
}

#[test]
fn limits_of_the_address_space_are_told() {
    here("addresses", Link::Archive).lived();
}

#[test]
fn locking_all_memory_locks_what_the_file_has() {
    if support::may("locking all memory", &[support::CAP_IPC_LOCK, support::CAP_SETUID]) {
        here("locked", Link::Archive).lived();
    }
}

#[test]
fn a_file_that_somebody_cuts_is_an_error_that_refresh_heals() {
    each(|file_system| warded(file_system, "cut"));
    here("behind", Link::Archive).lived();
}

#[test]
fn a_file_that_is_cut_and_made_as_long_again_or_has_lost_its_name_is_told() {
    each(|file_system| warded(file_system, "same_length"));
}

#[test]
fn a_file_that_others_make_longer_is_never_made_shorter() {
    each(|file_system| warded(file_system, "others"));
}

#[test]
fn growers_wait_for_each_other_and_forked_children_for_nobody() {
    here("growers", Link::Archive).lived();
}

#[test]
fn what_cannot_grow_is_refused() {
    each(|file_system| warded(file_system, "bad"));
}

#[test]
fn nothing_is_left_behind() {
    each(|file_system| warded(file_system, "leaks"));
}

#[test]
fn growing_from_rust() {
    let scratch = Scratch::new("grow-rust");
    let path = scratch.path().join("log");
    std::fs::write(&path, b"").unwrap();
    assert_eq!(MapMut::open(&path).unwrap_err(), Error::Empty);
    let options = MapOptions::new().capacity(10_000).reserve_slowly(true);
    let mut map = options.open_mut(&path).unwrap();
    assert!(map.is_empty() && map.capacity() == 10_000 && map.read_at(0, &mut [0]).unwrap() == 0);
    map.flush().unwrap();
    let reader = MapOptions::new().capacity(1 << 20).open(&path).unwrap();
    map.grow_in_place(10_000).unwrap();
    assert_eq!(map.grow_in_place(10_001), Err(Error::Capacity { capacity: 10_000 }));
    assert_eq!(map.grow_in_place(9_999), Err(Error::Invalid("a map cannot be made shorter")));
    assert_eq!(Error::Capacity { capacity: 1 }.errno(), libc::ENOMEM);
    let before = map.as_ptr();
    map.write_at(9_990, b"the end of").unwrap();
    map.grow(70 << 20).unwrap();
    assert!(map.as_ptr() != before && map.len() == 70 << 20 && map.capacity() >= 140 << 20);
    map.write_at(10_000, b" the beginning").unwrap();
    map.flush().unwrap();
    let mut text = [0; 24];
    // As far as its capacity.
    assert_eq!((reader.len(), reader.follow().unwrap()), (0, 1 << 20));
    reader.read_exact_at(9_990, &mut text).unwrap();
    assert_eq!(&text, b"the end of the beginning");
    reader.verify().unwrap();
    // What a map that has grown has room for, it has after a refresh, too.
    std::fs::write(&path, b"short").unwrap();
    assert!(matches!(map.grow(71 << 20), Err(Error::Lost(_))));
    assert!(matches!(reader.follow(), Err(Error::Lost(_))));
    map.refresh().unwrap();
    assert!(map.len() == 5 && map.capacity() >= 140 << 20);
    map.grow_in_place(100).unwrap();
    assert_eq!(std::fs::read(&path).unwrap().len(), 100);
}

//! Guarded maps from Rust. Each test runs itself again as a process of its own, because handlers
//! and counters belong to the whole process; there Rust's own handler for SIGBUS stands beneath
//! ours.

#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

use libc::{SIGBUS, off_t};
use sigward::mapping::{self, Cause, Error, Map, MapMut, MapOptions, adopt_file, adopt_range};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::{PAGE, apart, lives};

const LENGTH: usize = 16 * PAGE + 123;

// ---- files ----

/// Never zero, and no two pages alike.
fn content(offset: usize) -> u8 {
    (1 + (offset * 31 + offset / PAGE * 7) % 251) as u8
}

fn bytes(range: std::ops::Range<usize>) -> Vec<u8> {
    range.map(content).collect()
}

fn file(folder: &Path, name: &str, length: usize) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes(0..length)).unwrap();
    path
}

fn cut(path: &Path, length: usize) {
    File::options().write(true).open(path).unwrap().set_len(length as u64).unwrap();
}

fn lost<T: std::fmt::Debug>(result: Result<T, Error>) -> mapping::Fault {
    match result {
        Err(Error::Lost(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

/// A mapping that is none of ours.
fn plain(path: &Path, length: usize, rights: i32) -> *mut u8 {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&file);
    // SAFETY: a new mapping.
    let data = unsafe {
        libc::mmap(std::ptr::null_mut(), length, rights, libc::MAP_SHARED, descriptor, 0 as off_t)
    };
    assert_ne!(data, libc::MAP_FAILED);
    data.cast()
}

fn load(data: *const u8, offset: usize) -> u8 {
    // SAFETY: a byte of a mapping that the caller has.
    unsafe { data.wrapping_add(offset).read_volatile() }
}

// ---- reading ----

#[test]
fn without_us_the_process_dies() {
    let status = apart("without_us_the_process_dies", |folder| {
        let path = file(folder, "bare", LENGTH);
        let data = plain(&path, LENGTH, libc::PROT_READ);
        cut(&path, 0);
        load(data, 9 * PAGE);
    });
    assert_eq!(status.signal(), Some(SIGBUS), "{status}");
}

#[test]
fn a_cut_file_is_an_error_to_the_byte() {
    lives("a_cut_file_is_an_error_to_the_byte", |folder| {
        let path = file(folder, "cut", LENGTH);
        let mut map = Map::open(&path).unwrap();
        let mut buffer = [0; 100];
        assert_eq!(
            (map.len(), map.is_empty(), map.status(), map.verify()),
            (LENGTH, false, None, Ok(()))
        );
        cut(&path, 8 * PAGE + 50);
        let fault = lost(map.read_at(9 * PAGE as u64, &mut buffer));
        let len_now = (8 * PAGE + 50) as u64;
        assert_eq!(
            (fault.offset, fault.cause(), fault.error),
            (len_now, Cause::Truncated { len_now }, libc::EFAULT)
        );
        // SAFETY: no arguments.
        assert_eq!((fault.tid, fault.write), (unsafe { libc::gettid() }, 0));
        assert_eq!(fault.address, map.as_ptr().addr() as u64 + 9 * PAGE as u64);
        let now = format!("it has {len_now} bytes now");
        assert!(!fault.thread_name().is_empty() && fault.to_string().contains(&now), "{fault}");
        assert_eq!(map.status(), Some(fault));
        assert_eq!(map.read_at(len_now - 30, &mut buffer), Ok(30));
        assert_eq!(buffer[..30], bytes(8 * PAGE + 20..8 * PAGE + 50));
        assert_eq!(lost(map.read_exact_at(len_now - 30, &mut buffer)), fault);
        assert_eq!(map.read_exact_at(len_now - 100, &mut buffer), Ok(()));
        assert_eq!(map.read_at(LENGTH as u64, &mut buffer), Ok(0));
        assert_eq!((map.check(0..len_now as usize), map.check(LENGTH..LENGTH)), (Ok(()), Ok(())));
        assert_eq!(lost(map.check(0..len_now as usize + 1)), fault);
        assert_eq!(lost(map.populate(0..LENGTH)), fault);
        assert_eq!(lost(map.verify()), fault);
        // As std::io would say it.
        let io = std::io::Error::from(map.read_at(len_now, &mut buffer).unwrap_err());
        assert!(io.to_string().contains("refresh"), "{io}");
        // Healed.
        fs::write(&path, bytes(0..LENGTH)).unwrap();
        assert_eq!(map.refresh(), Ok(()));
        assert_eq!(
            (map.status(), map.verify(), map.read_at(len_now, &mut buffer)),
            (None, Ok(()), Ok(100))
        );
        assert_eq!(buffer[..], bytes(len_now as usize..len_now as usize + 100));
    });
}

#[test]
fn what_a_view_saw_counts_only_if_nothing_was_lost() {
    lives("what_a_view_saw_counts_only_if_nothing_was_lost", |folder| {
        let path = file(folder, "view", LENGTH);
        let map = Map::open(&path).unwrap();
        let sum = |map: &Map, range: std::ops::Range<usize>| {
            map.with(range, |view| {
                (0..view.len()).filter_map(|at| view.get(at)).map(u64::from).sum::<u64>()
            })
        };
        let whole: u64 = (0..LENGTH).map(|at| u64::from(content(at))).sum();
        assert_eq!(sum(&map, 0..LENGTH), Ok(whole));
        map.with(3..20, |view| {
            assert_eq!(
                (view.len(), view.is_empty(), view.get(17), view.u32_le(14)),
                (17, false, None, None)
            );
            assert_eq!(view.u32_le(1), Some(u32::from_le_bytes(bytes(4..8).try_into().unwrap())));
            assert_eq!(view.u64_be(2), Some(u64::from_be_bytes(bytes(5..13).try_into().unwrap())));
            let mut buffer = [0; 30];
            assert_eq!(
                (
                    view.copy_to(10, &mut buffer),
                    view.copy_to(17, &mut buffer),
                    view.copy_to(99, &mut buffer)
                ),
                (7, 0, 0)
            );
            assert_eq!(buffer[..7], bytes(13..20));
        })
        .unwrap();
        // Lost while the closure runs.
        let fault = lost(map.with(0..LENGTH, |view| {
            cut(&path, 4 * PAGE);
            assert_eq!(view.get(5 * PAGE), Some(0));
            view.get(0)
        }));
        assert_eq!(fault.offset, 4 * PAGE as u64);
        assert_eq!(
            sum(&map, 0..4 * PAGE),
            Ok((0..4 * PAGE).map(|at| u64::from(content(at))).sum())
        );
        lost(sum(&map, 4 * PAGE..4 * PAGE + 1));
        assert!(matches!(map.with(0..LENGTH + 1, |_| ()), Err(Error::Invalid(_))));
        #[allow(clippy::reversed_empty_ranges, reason = "that is what is tested")]
        let reversed = 5..3;
        assert!(matches!(map.with(reversed, |_| ()), Err(Error::Invalid(_))));
        // A panic in a closure is the caller's affair and harms no map.
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = map.with(0..10, |_| panic!("on purpose"));
        }));
        assert!(panicked.is_err());
        assert_eq!(sum(&map, 0..1), Ok(u64::from(content(0))));
        // SAFETY: nobody else changes the file while the slice is used.
        assert_eq!(unsafe { map.as_slice() }[..100], bytes(0..100));
    });
}

#[test]
fn options_say_which_part_is_mapped_and_how() {
    lives("options_say_which_part_is_mapped_and_how", |folder| {
        let path = file(folder, "part", LENGTH);
        let mut buffer = [0; 8];
        let (start, len) = (PAGE as u64 + 904, 2 * PAGE as u64 + 808);
        let map = MapOptions::new().offset(start).len(len).populate(true).open(&path).unwrap();
        let (end, last) = ((start + len) as usize, map.read_at(len - 4, &mut buffer));
        assert_eq!((map.len() as u64, last, &buffer[..4]), (len, Ok(4), &bytes(end - 4..end)[..]));
        let other = Map::of(File::open(&path).unwrap()).unwrap();
        let blind = MapOptions::new().no_descriptor(true).open(&path).unwrap();
        let mut private = MapOptions::new().copy_on_write(true).open_mut(&path).unwrap();
        assert_eq!(private.write_at(10, b"mine"), Ok(4));
        assert_eq!(fs::read(&path).unwrap()[10..14], bytes(10..14));
        cut(&path, start as usize + 1000);
        assert_eq!(lost(map.read_at(2 * PAGE as u64 - 192, &mut buffer)).offset, 1000);
        assert_eq!(lost(other.read_at(len, &mut buffer)).offset, start + 1000);
        assert_eq!(lost(blind.read_at(3 * PAGE as u64 + 5, &mut buffer)).cause(), Cause::Unknown);
        assert_eq!(private.read_at(10, &mut buffer), Ok(8));
        assert_eq!(buffer[..4], *b"mine");
    });
}

// ---- writing ----

#[test]
fn what_could_not_be_written_is_told() {
    lives("what_could_not_be_written_is_told", |folder| {
        let path = file(folder, "written", LENGTH);
        let mut map = MapMut::open(&path).unwrap();
        assert_eq!(map.write_at(LENGTH as u64 - 2, b"four"), Ok(2));
        assert_eq!(map.with_cells(0..4, |cells| cells[0].store(1, Ordering::Relaxed)), Ok(()));
        assert_eq!(
            map.atomic_u64(8).unwrap().swap(7, Ordering::Relaxed),
            u64::from_ne_bytes(bytes(8..16).try_into().unwrap())
        );
        assert!(
            map.atomic_u32(2).is_none()
                && map.atomic_u64(LENGTH - 3).is_none()
                && map.atomic_u32(usize::MAX).is_none()
        );
        assert_eq!(map.flush(), Ok(()));
        let back = fs::read(&path).unwrap();
        assert_eq!(
            (back[0], back[8..16].to_vec(), &back[LENGTH - 2..]),
            (1, 7_u64.to_ne_bytes().to_vec(), &b"fo"[..])
        );

        cut(&path, 2 * PAGE);
        assert_eq!(map.write_at(2 * PAGE as u64 - 3, b"seventy"), Ok(3));
        let fault = lost(map.write_at(3 * PAGE as u64, b"x"));
        assert_eq!((fault.offset, fault.write), (2 * PAGE as u64, 1));
        let counter = map.atomic_u32(5 * PAGE).unwrap();
        assert_eq!(
            (counter.fetch_add(2, Ordering::Relaxed), counter.load(Ordering::Relaxed)),
            (0, 2)
        );
        assert_eq!(lost(map.check(5 * PAGE..5 * PAGE + 4)), fault);
        lost(map.with_cells(3 * PAGE..3 * PAGE + 1, |cells| cells[0].store(1, Ordering::Relaxed)));
        assert_eq!(lost(map.flush()), fault);
        assert_eq!(fs::metadata(&path).unwrap().len(), 2 * PAGE as u64);
        fs::write(&path, bytes(0..LENGTH)).unwrap();
        assert_eq!(
            (map.refresh(), map.flush(), map.write_at(3 * PAGE as u64, b"x")),
            (Ok(()), Ok(()), Ok(1))
        );
        assert_eq!(fs::read(&path).unwrap()[3 * PAGE], b'x');
    });
}

// ---- adopting ----

#[test]
fn a_mapping_of_somebody_else_is_guarded() {
    lives("a_mapping_of_somebody_else_is_guarded", |folder| {
        let path = file(folder, "theirs", LENGTH);
        let data = plain(&path, LENGTH, libc::PROT_READ);
        let opened = File::open(&path).unwrap();
        let map = adopt_range(data, LENGTH, Some(opened.as_fd()), 0).unwrap();
        let again = adopt_range(data, LENGTH, Some(opened.as_fd()), 0);
        assert_eq!(again.unwrap_err(), Error::Overlap);
        drop(opened);
        cut(&path, PAGE);
        assert_eq!((load(data, 3 * PAGE), load(data, 5)), (0, content(5)));
        assert_eq!(map.status().unwrap().offset, PAGE as u64);
        drop(map);
        assert!(!mapping::is_guarded(data) && load(data, 3 * PAGE) == 0);
        // All of a file's.
        fs::write(&path, bytes(0..LENGTH)).unwrap();
        let more = plain(&path, LENGTH, libc::PROT_READ);
        let adopted = adopt_file(&path).unwrap();
        assert!(mapping::is_guarded(more) && adopted.status().is_none());
        let before = adopted.count();
        let late = plain(&path, LENGTH, libc::PROT_READ);
        assert_eq!(adopted.count(), before + 1);
        cut(&path, 3 * PAGE);
        assert_eq!((load(late, 9 * PAGE), load(more, 8 * PAGE)), (0, 0));
        assert_eq!(adopted.status().unwrap().offset, 3 * PAGE as u64);
        fs::write(&path, bytes(0..LENGTH)).unwrap();
        assert_eq!(adopted.take().unwrap().offset, 3 * PAGE as u64);
        assert_eq!(adopted.status(), None);
        // SAFETY: nobody reads meanwhile.
        assert_eq!((unsafe { adopted.heal() }, adopted.verify()), (Ok(()), Ok(())));
        assert_eq!(load(late, 9 * PAGE), content(9 * PAGE));
    });
}

// ---- bad input ----

#[test]
fn bad_input_is_a_plain_error() {
    lives("bad_input_is_a_plain_error", |folder| {
        let path = file(folder, "file", LENGTH);
        let empty = file(folder, "empty", 0);
        let errno = |result: Result<Map, Error>| result.unwrap_err().errno();
        assert_eq!(Map::open(&empty).unwrap_err(), Error::Empty);
        assert_eq!(errno(Map::open(folder)), libc::EISDIR);
        assert_eq!(errno(Map::open(folder.join("missing"))), libc::ENOENT);
        assert_eq!(errno(Map::open("with\0nul")), libc::EINVAL);
        assert_eq!(errno(Map::open("/dev/null")), libc::ENODEV);
        assert_eq!(errno(Map::of(std::io::stdin())), libc::ENODEV);
        let past = Error::PastEnd { length: LENGTH as u64 };
        assert_eq!(MapOptions::new().offset(LENGTH as u64).open(&path).unwrap_err(), past);
        assert_eq!(MapOptions::new().offset(1).len(LENGTH as u64).open(&path).unwrap_err(), past);
        assert_eq!(
            MapOptions::new().offset(1).len(u64::MAX).open(&path).unwrap_err(),
            Error::Overflow
        );
        assert_eq!(
            errno(MapOptions::new().map_mut(File::open(&path).unwrap()).map(|_| panic!())),
            libc::EACCES
        );
        let data = plain(&path, LENGTH, libc::PROT_READ);
        let other = File::open(file(folder, "other", LENGTH)).unwrap();
        let adopt = |at: usize, length, offset| {
            adopt_range(data.wrapping_add(at), length, Some(other.as_fd()), offset)
        };
        assert!(matches!(adopt(1, PAGE, 1), Err(Error::Invalid(_))));
        assert!(matches!(adopt(0, 0, 0), Err(Error::Invalid(_))));
        assert!(matches!(adopt(0, PAGE, 0), Err(Error::Invalid(_))), "another file");
        assert_eq!(adopt(0, usize::MAX, 0).unwrap_err(), Error::Overflow);
        let code = plain(&path, LENGTH, libc::PROT_READ | libc::PROT_EXEC);
        assert_eq!(adopt_range(code, LENGTH, None, 0).unwrap_err(), Error::Executable);
        for error in [
            Error::Empty,
            past,
            Error::Overflow,
            Error::Overlap,
            Error::Executable,
            Error::Busy,
            Error::ReadOnly,
        ] {
            assert!(error.to_string().len() > 10 && error.errno() > 0, "{error:?}");
        }
    });
}

// ---- the seat ----

#[test]
fn the_seat_is_taken_by_the_first_map_and_left_after_the_last() {
    lives("the_seat_is_taken_by_the_first_map_and_left_after_the_last", |folder| {
        let path = file(folder, "seat", LENGTH);
        let found = mapping::thread_check().unwrap_err();
        assert_eq!((found.unguarded, found.covered, found.blocked), (true, false, false));
        let map = Map::open(&path).unwrap();
        let data = map.as_ptr();
        assert_eq!((mapping::thread_check(), mapping::restore()), (Ok(()), Err(Error::Busy)));
        assert!(mapping::is_guarded(data) && mapping::is_guarded(data.wrapping_add(LENGTH - 1)));
        drop(map);
        assert_eq!((mapping::is_guarded(data), mapping::restore()), (false, Ok(())));
        assert!(mapping::thread_check().unwrap_err().unguarded);
        assert_eq!(
            (mapping::guard(), mapping::guard(), mapping::thread_check()),
            (Ok(()), Ok(()), Ok(()))
        );
    });
}

/// Rust's own handler gives SIGBUS its default back and returns, for what it does not know.
#[test]
fn rusts_own_handler_costs_us_no_seat() {
    lives("rusts_own_handler_costs_us_no_seat", |folder| {
        // SAFETY: room for one struct.
        let mut before: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: asks only.
        unsafe { libc::sigaction(SIGBUS, std::ptr::null(), &raw mut before) };
        assert_ne!(before.sa_sigaction, libc::SIG_DFL, "the test is about Rust's handler");
        let path = file(folder, "std", LENGTH);
        let map = Map::open(&path).unwrap();
        // To this thread: what is sent to the process may come to another one, and later.
        // SAFETY: no pointers.
        unsafe { libc::raise(SIGBUS) };
        assert_eq!(mapping::thread_check(), Ok(()));
        cut(&path, PAGE);
        assert_eq!(lost(map.read_at(2 * PAGE as u64, &mut [0; 4])).offset, PAGE as u64);
    });
}

#[test]
fn a_fault_of_somebody_else_still_ends_the_process() {
    let status = apart("a_fault_of_somebody_else_still_ends_the_process", |folder| {
        let path = file(folder, "ours", LENGTH);
        let map = Map::open(&path).unwrap();
        let theirs = file(folder, "theirs", LENGTH);
        let data = plain(&theirs, LENGTH, libc::PROT_READ);
        cut(&path, PAGE);
        lost(map.read_at(2 * PAGE as u64, &mut [0; 4]));
        cut(&theirs, PAGE);
        load(data, 2 * PAGE);
    });
    assert_eq!(status.signal(), Some(SIGBUS), "{status}");
}

// ---- threads ----

/// Nobody gets `Ok` from bytes that a patch replaced: files are cut between pages, shorter and
/// shorter, while others read.
#[test]
fn what_is_returned_as_good_is_the_files() {
    lives("what_is_returned_as_good_is_the_files", |folder| {
        let (good, bad) = (AtomicU64::new(0), AtomicU64::new(0));
        for round in 0..60 {
            let path = file(folder, "shared", LENGTH);
            let map = Map::open(&path).unwrap();
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                for seed in 1..4_usize {
                    let (map, stop, good, bad) = (&map, &stop, &good, &bad);
                    scope.spawn(move || {
                        let (mut buffer, mut at, mut turns) = (vec![0; 3 * PAGE], seed, 0);
                        while !stop.load(Ordering::Relaxed) || turns < 200 {
                            turns += 1;
                            at = (at * 1_103_515_245 + 12345) % LENGTH;
                            match map.read_at(at as u64, &mut buffer) {
                                Ok(count) => {
                                    assert_eq!(buffer[..count], bytes(at..at + count));
                                    good.fetch_add(1, Ordering::Relaxed);
                                }
                                Err(Error::Lost(fault)) => {
                                    assert!(fault.offset <= at as u64);
                                    bad.fetch_add(1, Ordering::Relaxed);
                                }
                                Err(other) => panic!("{other}"),
                            }
                        }
                    });
                }
                for pages in [14, 11 - round % 4, 5, 2, round % 2] {
                    cut(&path, pages * PAGE);
                    std::thread::yield_now();
                }
                stop.store(true, Ordering::Relaxed);
            });
            let end = (round % 2) * PAGE;
            assert_eq!(lost(map.read_at(end as u64, &mut [0])).offset, end as u64);
            fs::remove_file(&path).unwrap();
        }
        assert!(good.into_inner() > 100 && bad.into_inner() > 100);
    });
}

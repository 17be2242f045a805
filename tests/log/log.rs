//! The append log: full disks, kill -9, torn tails, damage, several writers and readers. C hosts,
//! and the crate beside them. All of it without a map; `log_mapped.rs` has the same with one.

#[path = "../support/mod.rs"]
mod support;

use libc::SIGBUS;
use sigward::log::{self, Error, Log, LogOptions, Reader};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use support::file_systems::{ALL, BTRFS, EXT2, EXT4, FileSystem, TMPFS, XFS};
use support::{Link, Scratch, prepared, run, run_command};

fn each(test: impl Fn(&FileSystem)) {
    ALL.iter().filter(|file_system| file_system.is_here()).for_each(|file_system| test(file_system));
}

#[track_caller]
fn warded(file_system: &FileSystem, scenario: &str) -> String {
    let run = file_system.host("log", scenario, Link::Archive);
    assert_eq!(run.status.code(), Some(0), "{} {scenario}: {run:#?}", file_system.name);
    run.out
}

/// Whether SIGBUS is guarded here and in the hosts.
fn is_guarded() -> bool {
    std::env::var_os("SIGWARD_TEST_LOG_MAPPED").is_some()
}

#[track_caller]
fn dies_bare(file_system: &FileSystem, scenario: &str) -> String {
    if is_guarded() {
        return warded(file_system, scenario); // its twin has died already
    }
    let bare = file_system.host("log", scenario, Link::Bare);
    assert_eq!(bare.signal(), Some(SIGBUS), "{} {scenario}: {bare:#?}", file_system.name);
    warded(file_system, scenario)
}

/// In memory, so that fdatasync costs nothing.
fn scratch(name: &str) -> Scratch {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { Scratch::in_folder(memory, name) } else { Scratch::new(name) }
}

// ---- disks --------------------------------------------------------------------------------------

#[test]
fn a_full_disk_is_an_error_of_one_append() {
    each(|file_system| assert_eq!(dies_bare(file_system, "full"), "No space left on device\n"));
}

#[test]
fn the_last_blocks_are_used() {
    assert!(TMPFS.is_here());
    assert_eq!(warded(&TMPFS, "last_blocks"), "0 left\n");
}

#[test]
fn closing_gives_back_what_was_reserved_and_cuts_nothing() {
    each(|file_system| {
        let said = warded(file_system, "gives_back");
        // The old driver for ext2 cannot; ext4's can.
        let may_stay = file_system.name == EXT2.name && said == "kept\n";
        assert!(may_stay || said == "given back\n", "{}: {said}", file_system.name);
    });
}

#[test]
fn a_log_that_is_copied_on_write_is_told_at_the_second_write_of_a_page() {
    each(|file_system| assert_eq!(dies_bare(file_system, "copied"), "No space left on device\n"));
}

#[test]
fn a_new_log_is_not_copied_on_write() {
    if BTRFS.is_here() {
        let script = r#""$1" open "$M" new; lsattr "$M/new""#;
        let run = BTRFS.shell(script, &prepared("log", Link::Archive));
        assert!(run.lived().out.contains("C--"), "{run:?}");
    }
}

#[test]
fn a_cut_is_told_to_writer_and_reader() {
    each(|file_system| assert_eq!(dies_bare(file_system, "cut"), "told\n", "{}", file_system.name));
}

#[test]
fn a_cut_while_something_is_appended_is_told() {
    for file_system in [&TMPFS, &EXT4] {
        if file_system.is_here() {
            assert_eq!(dies_bare(file_system, "cut_meanwhile"), "told\n", "{}", file_system.name);
        }
    }
}

// ---- dispositions ----

#[test]
fn no_call_changes_a_disposition() {
    let folder = scratch("log-untouched");
    let said = run(&prepared("log", Link::Archive), &["untouched", folder.as_str()]).lived().out.clone();
    assert_eq!(said, if is_guarded() { "mapped\n" } else { "plain\n" });
}

/// Handler, flags and mask of every signal.
fn rows() -> Vec<Option<(usize, i32, Vec<bool>)>> {
    let row = |signal| {
        let mut row = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: room for a row; nothing is changed.
        let status = unsafe { libc::sigaction(signal, std::ptr::null(), row.as_mut_ptr()) };
        // SAFETY: zeroed, and filled if the call succeeded.
        let row = unsafe { row.assume_init() };
        // SAFETY: an initialised set and valid numbers.
        let mask = (1..=64).map(|other| unsafe { libc::sigismember(&raw const row.sa_mask, other) == 1 });
        (status == 0).then(|| (row.sa_sigaction, row.sa_flags, mask.collect()))
    };
    (1..=64).map(row).collect()
}

#[test]
fn no_call_of_the_crate_changes_a_disposition() {
    if is_guarded() {
        return; // nobody guards in the other run
    }
    support::lives("no_call_of_the_crate_changes_a_disposition", |folder| {
        let before = rows();
        let (path, saved) = (folder.join("log"), folder.join("saved"));
        let log = Log::open(&path).expect("opens");
        assert_eq!(rows(), before);
        log.append(b"a record").expect("there is room");
        log.flush().expect("durable");
        let mut reader = log.reader().expect("opens");
        assert!(reader.next(&mut Vec::new()).expect("whole").is_some());
        assert!(Reader::open(&path).is_ok());
        assert_eq!(rows(), before);
        log.close().expect("durable");
        log::salvage(&path, &saved).expect("readable");
        assert_eq!(rows(), before);
    });
}

#[test]
fn who_guards_has_a_map_and_who_does_not_has_none() {
    let folder = scratch("log-way");
    assert_eq!(Log::open(folder.path().join("log")).expect("opens").is_mapped(), is_guarded());
}

// ---- processes ----------------------------------------------------------------------------------

fn host(scenario: &str, folder: &Scratch, more: &str) -> Command {
    let mut command = Command::new(prepared("log", Link::Archive));
    command.args([scenario, folder.as_str(), more]);
    command
}

/// As the host makes them.
fn record(number: u64) -> Vec<u8> {
    let length = 8 + number * 37 % 300;
    let rest = (8..length).map(|at| (number.wrapping_mul(31).wrapping_add(at * 7)) as u8);
    number.to_le_bytes().into_iter().chain(rest).collect()
}

/// How many records there are, each as it must be.
fn count(path: &Path) -> u64 {
    let mut reader = Reader::open(path).expect("a log");
    let (mut bytes, mut number) = (Vec::new(), 0);
    while reader.next(&mut bytes).expect("nothing is damaged").is_some() {
        assert_eq!(bytes, record(number), "{number}");
        number += 1;
    }
    number
}

#[test]
fn killed_again_and_again_no_acknowledged_record_is_lost() {
    let folder = scratch("log-kill");
    let path = folder.path().join("victim");
    let shared = folder.path().join("acknowledged");
    std::fs::write(&shared, [0; 4096]).expect("writable");
    // Not by a map of ours, which would guard SIGBUS for all tests here.
    let file = std::fs::File::options().read(true).write(true).open(&shared).expect("there");
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping of a page, which stays to the end of this process.
    let page =
        unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    assert_ne!(page, libc::MAP_FAILED);
    // SAFETY: aligned numbers within the page, which all sides have as atomics.
    let word = |at: usize| unsafe { &*page.cast::<AtomicU64>().wrapping_add(at / 8) };
    let mut torn = 0;
    for round in 0_u64..40 {
        if round % 4 == 0 {
            // Small again, so that looking at all of it is quick.
            let _ = std::fs::remove_file(&path);
            word(0).store(0, Ordering::SeqCst);
        }
        word(8).store(0, Ordering::SeqCst);
        let before = word(0).load(Ordering::SeqCst);
        let mut victim = host("victim", &folder, "").stdin(Stdio::null()).spawn().expect("the host starts");
        // It has got somewhere, a different way each time.
        while word(8).load(Ordering::SeqCst) == 0
            || word(0).load(Ordering::SeqCst) < before + round * 97 % 5000
        {
            assert!(victim.try_wait().expect("a child").is_none(), "the host ended by itself");
            std::hint::spin_loop();
        }
        victim.kill().expect("a child");
        victim.wait().expect("a child");
        let acknowledged = word(0).load(Ordering::SeqCst);
        let found = count(&path);
        assert!(found == acknowledged || found == acknowledged + 1, "{found} {acknowledged}");
        let recovery = Log::open(&path).expect("recovers").recovery();
        assert_eq!(recovery.records, found);
        torn += u64::from(recovery.torn.is_some());
        assert_eq!(count(&path), found);
        word(0).store(found, Ordering::SeqCst);
    }
    println!("{torn} of 40 tails were torn");
}

#[test]
fn several_threads_append_and_another_process_reads_along() {
    const EACH: u64 = 20_000;
    let folder = scratch("log-threads");
    let reader = host("follow", &folder, &(4 * EACH).to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the host starts");
    let log = LogOptions::new().step(1 << 16).open(folder.path().join("shared")).expect("opens");
    std::thread::scope(|threads| {
        for thread in 0..4_u64 {
            let log = &log;
            threads.spawn(move || {
                for number in 0..EACH {
                    log.append(&record(thread << 32 | number)).expect("there is room");
                    if number % 1000 == 0 {
                        assert!(log.flush().expect("durable") <= log.end());
                    }
                }
            });
        }
    });
    let read = reader.wait_with_output().expect("a child");
    assert_eq!(String::from_utf8_lossy(&read.stdout), format!("{}\n", 4 * EACH));
    drop(log);
    let recovery = Log::open(folder.path().join("shared")).expect("opens").recovery();
    assert_eq!((recovery.records, recovery.torn), (4 * EACH, None));
}

#[test]
fn there_is_one_writer() {
    let folder = scratch("log-writer");
    let path = folder.path().join("log");
    let log = Log::open(&path).expect("opens");
    assert_eq!(Log::open(&path).expect_err("the second"), Error::Busy);
    let other = || run_command(host("open", &folder, "log")).lived().out.clone();
    assert_eq!(other(), format!("{}\n", libc::EBUSY));
    log.append(b"still ours").expect("there is room");
    log.close().expect("durable");
    assert_eq!(other(), "0\n");
}

#[test]
fn a_forked_child_leaves_the_log_alone() {
    let folder = scratch("log-fork");
    run(&prepared("log", Link::Archive), &["forked", folder.as_str()]).lived();
}

#[test]
fn a_child_of_another_pid_namespace_leaves_the_log_alone() {
    let folder = scratch("log-namespace");
    run(&prepared("log", Link::Archive), &["namespaced", folder.as_str()]).lived();
}

#[test]
fn the_sum_is_that_of_the_bytes_in_the_log() {
    let folder = scratch("log-changing");
    run(&prepared("log", Link::Archive), &["changing", folder.as_str()]).lived();
}

#[test]
fn a_file_that_was_cut_and_made_as_long_again_replaced_or_unlinked_is_told() {
    each(|file_system| {
        warded(file_system, "other_file");
    });
}

#[test]
fn opening_takes_no_file_away() {
    each(|file_system| {
        warded(file_system, "begun");
    });
}

#[test]
fn limits_are_errors_and_no_signals() {
    let folder = scratch("log-limits");
    run(&prepared("log", Link::Archive), &["limits", folder.as_str()]).lived();
}

#[test]
fn a_limit_below_what_is_reserved_is_an_error_of_one_append() {
    let folder = scratch("log-lower");
    run(&prepared("log", Link::Archive), &["lower_limit", folder.as_str()]).lived();
}

#[test]
fn bad_input_is_refused_and_nothing_leaks() {
    let folder = scratch("log-bad");
    run(&prepared("log", Link::Archive), &["bad", folder.as_str()]).lived();
    let folder = scratch("log-bad-debug");
    run(&prepared("log", Link::DebugArchive), &["bad", folder.as_str()]).lived();
}

#[test]
fn go_reads_and_writes_the_same_log() {
    let folder = scratch("log-go");
    let path = folder.path().join("log");
    let log = Log::open(&path).expect("opens");
    for number in 0..300 {
        log.append(&record(number)).expect("there is room");
    }
    log.flush().expect("durable");
    drop(log);
    let mut go = Command::new("go");
    go.args(["test", "-count=1", "-run", "^TestLogForOthers$", "."]);
    go.current_dir(support::root().join("go")).env("SIGWARD_LOG_SHARED", &path).env("CGO_ENABLED", "1");
    run_command(go).lived();
    assert_eq!(count(&path), 900);
    let log = Log::open(&path).expect("opens");
    let found = log.recovery();
    assert_eq!((found.records, found.torn, found.durable), (900, None, found.end));
    log.append(&record(900)).expect("there is room");
    assert_eq!(count(&path), 901);
}

// ---- a disk that fails and heals
// -----------------------------------------------------------------------

/// A file system on a disk that has no more room than a small tmpfs, and is mounted anew at the
/// end: the page cache goes, what is on the disk stays.
#[test]
fn what_a_failing_disk_has_not_taken_is_not_believed() {
    // With a commit every five seconds a file system notices the failing disk by itself.
    for (file_system, room, more, how) in [
        (&EXT4, "40m", "mkfs.ext4 -q -F", ",commit=300"),
        (&XFS, "90m", "mkfs.xfs -q -f", ""),
        (&BTRFS, "40m", "mkfs.btrfs -q -f", ",commit=300"),
    ] {
        if !file_system.is_here() {
            continue;
        }
        for end in ["closed", "killed", "dropped"] {
            let script = format!(
                r#"B="$S/below"; mkdir "$B"; mount -t tmpfs -o size={room} none "$B"
                   truncate -s 400m "$B/img"; {more} "$B/img" >/dev/null 2>&1
                   mount -o loop{how} "$B/img" "$M"
                   mkfifo "$S/said"; "$1" failing "$M" >"$S/said" & HOST=$!
                   exec 3<"$S/said"; read DURABLE <&3
                   dd if=/dev/zero of="$B/fill" bs=64k >/dev/null 2>&1 || :
                   kill -USR1 $HOST; wait $HOST; rm "$B/fill"
                   "$1" healed "$M" {end}
                   umount "$M"; mount -o loop "$B/img" "$M"
                   "$1" counted "$M"; umount "$M""#
            );
            let plain = FileSystem { mount: ":", ..*file_system };
            let run = plain.shell(&script, &prepared("log", Link::Archive));
            assert!(run.status.success(), "{} {end}: {run:#?}", file_system.name);
            let lines: Vec<&str> = run.out.lines().collect();
            assert_eq!(lines.len(), 2, "{} {end}: {run:#?}", file_system.name);
            assert_eq!(lines[0], lines[1], "{} {end}", file_system.name);
        }
    }
}

// ---- power failures
// ------------------------------------------------------------------------------------

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }
}

/// A log as it is in memory when the power fails, and where its records end.
struct Before {
    bytes: Vec<u8>,
    ends: Vec<u64>,
    durable: usize,
}

/// `durable` records are flushed, then so many more are appended.
fn before(path: &Path, durable: u64, more: u64) -> Before {
    let _ = std::fs::remove_file(path);
    let log = LogOptions::new().step(4096).open(path).expect("opens");
    let mut ends = vec![log.end()];
    for number in 0..durable + more {
        log.append(&record(number)).expect("there is room");
        ends.push(log.end());
        if number + 1 == durable {
            log.flush().expect("durable");
        }
    }
    Before { bytes: std::fs::read(path).expect("readable"), ends, durable: durable as usize }
}

/// The log that is found in a file with these bytes is a prefix, with all that was flushed, and
/// goes on from there.
#[track_caller]
fn recovers(path: &Path, bytes: &[u8], before: &Before) -> usize {
    std::fs::write(path, bytes).expect("writable");
    let found = log::check(path).expect("a log");
    if found.damaged > 0 {
        // Whole records lie behind a torn one: without leave nothing is changed.
        let damaged = Error::Damaged { offset: found.first_damage };
        assert_eq!(Log::open(path).expect_err("damaged"), damaged);
        assert_eq!(std::fs::read(path).expect("readable"), bytes, "something was written");
    }
    let log = LogOptions::new().step(4096).discard_after_torn(true).open(path).expect("recovers");
    let found = log.recovery();
    let records = found.records as usize;
    assert!(records >= before.durable, "{found:?}");
    assert_eq!(found.end, before.ends[records]);
    if let Some(torn) = found.torn {
        assert!(torn.offset == found.end && torn.bytes > 0);
    }
    assert_eq!(count(path), found.records);
    let now = std::fs::read(path).expect("readable");
    assert!(now.iter().skip(found.end as usize).all(|byte| *byte == 0), "something is left of the tail");
    // A shorter record than the one that was there; nothing comes to life behind it.
    log.append(&record(found.records)).expect("there is room");
    assert_eq!(count(path), found.records + 1);
    records
}

#[test]
fn cut_at_every_byte_behind_the_watermark() {
    let folder = scratch("log-cut");
    let path = folder.path().join("log");
    let before = before(&path, 2, 6);
    let (from, to) = (before.ends[2] as usize, before.ends[8] as usize);
    for cut in from..=to + 8 {
        let records = recovers(&path, &before.bytes[..cut], &before);
        let wanted = before.ends.iter().rposition(|end| *end as usize <= cut).expect("all before is there");
        // Padding that is cut off is no loss.
        assert!(records == wanted || before.ends[records] as usize == cut.next_multiple_of(8), "{cut}");
    }
}

#[test]
fn any_pages_lost_behind_the_watermark() {
    const PAGE: usize = 4096;
    let folder = scratch("log-pages");
    let path = folder.path().join("log");
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..400_u64 {
        let before = before(&path, 40 + round % 50, round % 120);
        let mut bytes = before.bytes.clone();
        let watermark = before.ends[before.durable] as usize;
        for page in watermark / PAGE..bytes.len() / PAGE {
            // A page's part below the watermark was on the disk, and stays.
            let range = (page * PAGE).max(watermark)..(page + 1) * PAGE;
            match random.below(4) {
                0 => bytes[range].fill(0),
                1 => bytes[range].iter_mut().for_each(|byte| *byte = random.below(256) as u8),
                2 => {
                    // Sectors of it.
                    let sector = range.start + random.below(range.len()) / 512 * 512;
                    bytes[sector..(sector + 512).min(range.end)].fill(0);
                }
                _ => {}
            }
        }
        if random.below(3) == 0 {
            bytes.truncate(watermark.next_multiple_of(PAGE).min(bytes.len()));
        }
        // The watermark that was being written may be torn, or not there yet.
        match random.below(4) {
            0 => bytes[512..528].fill(0),
            1 => bytes[512..520].fill(0xee),
            _ => {}
        }
        let records = recovers(&path, &bytes, &before);
        seen.insert(records - before.durable);
    }
    assert!(seen.len() > 5 && seen.contains(&0), "{seen:?}");
}

#[test]
fn damage_below_the_watermark_is_no_torn_tail() {
    let folder = scratch("log-damage");
    let path = folder.path().join("log");
    let before = before(&path, 30, 10);
    for hit in [0, 7, 29] {
        let mut bytes = before.bytes.clone();
        bytes[before.ends[hit] as usize + 3] ^= 1;
        std::fs::write(&path, &bytes).expect("writable");
        let offset = before.ends[hit];
        for _ in 0..2 {
            assert_eq!(Log::open(&path).expect_err("damaged"), Error::Damaged { offset });
        }
        assert_eq!(std::fs::read(&path).expect("readable"), bytes, "something was written");
        let mut reader = Reader::open(&path).expect("the header is sound");
        let mut record = Vec::new();
        for _ in 0..hit {
            assert!(reader.next(&mut record).expect("before the damage").is_some());
        }
        assert_eq!(reader.next(&mut record), Err(Error::Damaged { offset }));
        // What comes after it can be had by position.
        reader.seek(before.ends[hit + 1]).expect("a position");
        assert!(reader.next(&mut record).expect("behind the damage").is_some());
    }
    // Cut below it.
    let cut = before.ends[5] as usize;
    std::fs::write(&path, &before.bytes[..cut]).expect("writable");
    assert_eq!(Log::open(&path).expect_err("damaged"), Error::Damaged { offset: cut as u64 });
    assert_eq!(std::fs::metadata(&path).expect("there").len(), cut as u64);
    // Both watermarks.
    let mut bytes = before.bytes.clone();
    bytes[512..528].fill(1);
    bytes[4608..4624].fill(1);
    std::fs::write(&path, &bytes).expect("writable");
    assert_eq!(Log::open(&path).expect_err("damaged"), Error::Damaged { offset: 512 });
}

#[test]
fn a_reader_stops_at_a_torn_tail_until_the_next_writer_has_scrubbed_it() {
    let folder = scratch("log-torn");
    let path: PathBuf = folder.path().join("log");
    let before = before(&path, 3, 2);
    std::fs::write(&path, &before.bytes).expect("writable"); // as if it had not been closed
    let file = std::fs::File::options().write(true).open(&path).expect("there");
    file.write_all_at(&[9; 40], before.ends[4] + 4).expect("writable");
    let mut reader = Reader::open(&path).expect("opens");
    let mut bytes = Vec::new();
    for _ in 0..4 {
        assert!(reader.next(&mut bytes).expect("whole").is_some());
    }
    assert_eq!(reader.next(&mut bytes), Ok(None));
    let log = Log::open(&path).expect("recovers");
    let torn = log.recovery().torn.expect("it is torn");
    assert_eq!(torn.offset, before.ends[4]);
    assert_eq!(reader.next(&mut bytes), Ok(None));
    let position = log.append(b"after").expect("there is room");
    assert_eq!(reader.next(&mut bytes), Ok(Some(position)));
    assert_eq!(bytes, b"after");
}

#[test]
fn a_log_that_was_closed_has_no_torn_tail() {
    let folder = scratch("log-closed");
    let path = folder.path().join("log");
    let before = before(&path, 3, 40); // and closed
    let whole = std::fs::read(&path).expect("readable");
    let mut record = Vec::new();
    for hit in [3, 20, 42] {
        for offset in [0, 3, 8 + 5] {
            let mut bytes = whole.clone();
            bytes[before.ends[hit] as usize + offset] ^= 1;
            std::fs::write(&path, &bytes).expect("writable");
            let damaged = Error::Damaged { offset: before.ends[hit] };
            assert_eq!(Log::open(&path).expect_err("damaged"), damaged);
            assert_eq!(std::fs::read(&path).expect("readable"), bytes, "something was written");
            let mut reader = Reader::open(&path).expect("the header is sound");
            assert_eq!(reader.durable(), Ok(before.ends[43]));
            (0..hit).for_each(|_| assert!(reader.next(&mut record).expect("whole").is_some()));
            assert_eq!(reader.next(&mut record), Err(damaged));
        }
        // Gone, as zeros or as a file that is shorter: no reader takes that for the end.
        let mut bytes = whole.clone();
        bytes[before.ends[hit] as usize..].fill(0);
        for bytes in [&bytes[..], &bytes[..before.ends[hit] as usize]] {
            std::fs::write(&path, bytes).expect("writable");
            let mut reader = Reader::open(&path).expect("the header is sound");
            (0..hit).for_each(|_| assert!(reader.next(&mut record).expect("whole").is_some()));
            assert_eq!(reader.next(&mut record), Err(Error::Damaged { offset: before.ends[hit] }));
        }
    }
}

/// None of these was flushed, all are in the page cache: one changed bit costs one record.
#[test]
fn nothing_valid_is_overwritten_and_it_can_be_salvaged() {
    let folder = scratch("log-salvage");
    let (path, saved) = (folder.path().join("log"), folder.path().join("saved"));
    let before = before(&path, 2, 98);
    std::fs::write(&path, &before.bytes).expect("writable");
    let sound = log::check(&path).expect("a log");
    assert!(sound.is_sound() && sound.records == 100 && sound.end == before.ends[100] && sound.torn == 0);
    assert_eq!((sound.headers, sound.durable), (2, before.ends[2]));
    for hit in [2, 50, 98] {
        let mut bytes = before.bytes.clone();
        bytes[before.ends[hit] as usize + 20] ^= 1;
        std::fs::write(&path, &bytes).expect("writable");
        let damaged = Error::Damaged { offset: before.ends[hit] };
        assert_eq!(Log::open(&path).expect_err("damaged"), damaged);
        let _ = std::fs::remove_file(&saved);
        let found = log::salvage(&path, &saved).expect("readable");
        assert_eq!(log::check(&path), Ok(found));
        assert_eq!((found.records, found.damaged, found.first_damage), (99, 1, before.ends[hit]));
        assert_eq!(found.lost, before.ends[hit + 1] - before.ends[hit]);
        assert_eq!(std::fs::read(&path).expect("readable"), bytes, "something was written");
        let mut reader = Reader::open(&saved).expect("a log");
        let mut got = Vec::new();
        for number in (0..100).filter(|number| *number != hit as u64) {
            assert!(reader.next(&mut got).expect("whole").is_some());
            assert_eq!(got, record(number));
        }
        assert_eq!(reader.next(&mut got), Ok(None));
        assert!(Log::open(&saved).is_ok_and(|log| log.recovery().durable == log.end()));
        let exists = log::salvage(&path, &saved).expect_err("there is a file");
        assert_eq!(exists.errno(), libc::EEXIST);
    }
    // The last one is a torn tail.
    let mut bytes = before.bytes.clone();
    bytes[before.ends[99] as usize + 20] ^= 1;
    std::fs::write(&path, &bytes).expect("writable");
    let found = log::check(&path).expect("a log");
    assert!(found.is_sound() && found.records == 99 && found.torn > 0);
    assert!(Log::open(&path).expect("recovers").recovery().torn.is_some());
}

#[test]
fn either_copy_of_the_header_is_enough() {
    let folder = scratch("log-header");
    let path = folder.path().join("log");
    let _ = before(&path, 3, 40); // and closed
    let whole = std::fs::read(&path).expect("readable");
    let closed = log::check(&path).expect("a log");
    for lost in [0, 4096] {
        for byte in [0, 0x55] {
            let mut bytes = whole.clone();
            bytes[lost..lost + 4096].fill(byte);
            std::fs::write(&path, &bytes).expect("writable");
            let found = log::check(&path).expect("a log");
            assert_eq!(found, {
                let mut one = closed;
                one.headers = 1;
                one
            });
            assert_eq!(count(&path), 43);
            let log = Log::open(&path).expect("one is enough");
            assert_eq!(log.recovery().durable, closed.durable);
            log.close().expect("durable");
            assert_eq!(log::check(&path), Ok(closed), "the other one is back");
        }
    }
    let mut bytes = whole.clone();
    (bytes[13], bytes[4096 + 13]) = (bytes[13] ^ 1, bytes[4096 + 13] ^ 1);
    std::fs::write(&path, &bytes).expect("writable");
    assert_eq!(Log::open(&path).expect_err("damaged"), Error::Damaged { offset: 0 });
    assert_eq!(log::check(&path), Err(Error::Damaged { offset: 0 }));
}

/// Killed between its two headers, before the first record: nobody has cut it.
#[test]
fn a_log_that_was_half_begun_goes_on() {
    let folder = scratch("log-begun");
    let path = folder.path().join("log");
    for lost in [0, 4096] {
        let _ = before(&path, 0, 0); // and closed
        let mut bytes = std::fs::read(&path).expect("readable");
        bytes[lost..lost + 4096].fill(0);
        std::fs::write(&path, bytes).expect("writable");
        let log = Log::open(&path).expect("one is enough");
        log.append(&record(0)).expect("nobody has cut it");
        assert_eq!((log.flush(), count(&path)), (Ok(log.end()), 1));
    }
}

#[test]
fn a_reader_is_told_what_is_durable() {
    let folder = scratch("log-durable");
    let path = folder.path().join("log");
    let log = Log::open(&path).expect("opens");
    let reader = log.reader().expect("opens");
    let first = reader.durable().expect("there");
    log.append(b"one").expect("there is room");
    assert_eq!(reader.durable(), Ok(first));
    let durable = log.flush().expect("durable");
    assert_eq!(reader.durable(), Ok(durable));
    log.append(b"two").expect("there is room");
    let end = log.end();
    log.close().expect("durable");
    assert_eq!(reader.durable(), Ok(end));
}

#[test]
fn records_of_an_older_log_in_the_same_place_are_none() {
    let folder = scratch("log-salt");
    let path = folder.path().join("log");
    let old = before(&path, 0, 10);
    let new = before(&path, 0, 3);
    let mut bytes = new.bytes.clone();
    let from = new.ends[3] as usize;
    bytes[from..].copy_from_slice(&old.bytes[from..new.bytes.len()]);
    assert_eq!(recovers(&path, &bytes, &new), 3);
}

#[test]
fn flushes_that_wait_for_each_other_share_one() {
    let folder = Scratch::new("log-flush");
    let log = Log::open(folder.path().join("log")).expect("opens");
    let done = AtomicU64::new(0);
    std::thread::scope(|threads| {
        for thread in 0..4_u64 {
            let (log, done) = (&log, &done);
            threads.spawn(move || {
                for number in 0..5 {
                    let position = log.append(&record(thread << 32 | number)).expect("there is room");
                    assert!(log.flush().expect("durable") > position);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(done.into_inner(), 20);
    let end = log.end();
    drop(log);
    assert_eq!(Log::open(folder.path().join("log")).expect("opens").recovery().durable, end);
}

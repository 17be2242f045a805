//! What is found in a log after a power failure, with any of its pages lost, and with damage.

#[path = "../support/records.rs"]
mod records;
#[path = "../support/mod.rs"]
mod support;

use records::{count, record, scratch};
use sigward::log::{self, Error, Log, LogOptions, Reader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use support::Scratch;

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
    assert!(
        now.iter().skip(found.end as usize).all(|byte| *byte == 0),
        "something is left of the tail"
    );
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
        let wanted =
            before.ends.iter().rposition(|end| *end as usize <= cut).expect("all before is there");
        // Padding that is cut off is no loss.
        assert!(
            records == wanted || before.ends[records] as usize == cut.next_multiple_of(8),
            "{cut}"
        );
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
    assert!(
        sound.is_sound()
            && sound.records == 100
            && sound.end == before.ends[100]
            && sound.torn == 0
    );
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
                    let position =
                        log.append(&record(thread << 32 | number)).expect("there is room");
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

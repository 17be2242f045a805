//! What must hold of whatever lies where a log is looked for: nothing panics, little memory is
//! taken, nothing whole is overwritten, and no record comes back that was not appended. For
//! `tests/log/log_image.rs` and the fuzz target.

use sigward::log::{Error, Log, LogOptions, Reader, check, salvage};
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what is taken, and the most that was taken at a time.
pub struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: by the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: by the caller's contract.
        unsafe { System.dealloc(place, layout) };
    }
}

/// What `work` takes at most at a time, beyond what was there.
pub fn taken<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let done = work();
    (done, MOST.load(Ordering::Relaxed) - before)
}

/// A record as it was appended.
pub struct Record {
    pub position: u64,
    pub payload: Vec<u8>,
}

impl Record {
    fn end(&self) -> usize {
        self.position as usize + 16 + self.payload.len()
    }

    fn is_in(&self, image: &[u8], good: &[u8]) -> bool {
        let range = self.position as usize..self.end();
        image.get(range.clone()).is_some_and(|bytes| bytes == &good[range])
    }
}

/// A log that was appended to, and what.
pub struct Good {
    pub image: Vec<u8>,
    pub records: Vec<Record>,
}

impl Good {
    /// The first `flushed` records are durable, or all if it was closed.
    pub fn make(path: &Path, lengths: &[usize], flushed: usize, close: bool) -> Self {
        let _ = std::fs::remove_file(path);
        let log = LogOptions::new().step(4096).open(path).expect("opens");
        let mut records = Vec::new();
        for (number, length) in lengths.iter().enumerate() {
            let payload: Vec<u8> =
                (0..*length).map(|at| (number * 31 + at * 7 + at / 251) as u8).collect();
            let position = log.append(&payload).expect("there is room");
            records.push(Record { position, payload });
            if number + 1 == flushed {
                log.flush().expect("durable");
            }
        }
        let mut image = std::fs::read(path).expect("readable");
        if close {
            log.close().expect("durable");
            image = std::fs::read(path).expect("readable");
        }
        Self { image, records }
    }
}

/// Besides records: headers, chunks that are read, a few names.
const SPARE: usize = 1 << 20;

/// All that a log's image is used for. `good` is what the image was made from, if it was made by
/// changing a log's bytes without regard to sums.
pub fn hold(path: &Path, saved: &Path, image: &[u8], good: Option<&Good>) {
    std::fs::write(path, image).expect("writable");
    let unchanged =
        || assert!(std::fs::read(path).expect("readable") == image, "it was written to");
    // No record is longer than the file.
    let room = SPARE + 3 * image.len();
    let (found, most) = taken(|| check(path));
    assert!(most < SPARE, "{most} bytes for a look");
    unchanged();
    let read = |path: &Path, positions: bool| read_all(path, room, good.filter(|_| positions));
    read(path, true);
    unchanged();
    let _ = std::fs::remove_file(saved);
    let (copied, most) = taken(|| salvage(path, saved));
    assert!(most < room, "{most} bytes to salvage");
    unchanged();
    assert_eq!(copied.is_ok(), found.is_ok());
    if let Ok(found) = found {
        assert_eq!(copied, Ok(found));
        let all = read(saved, false);
        assert_eq!(all.len() as u64, found.records);
        if let Some(good) = good {
            let mut originals = good.records.iter();
            // In order, and none that was not there.
            for copy in &all {
                assert!(originals.any(|original| original.payload == *copy));
            }
            let whole =
                good.records.iter().filter(|record| record.is_in(image, &good.image)).count();
            assert_eq!(all.len(), whole, "whole records are left out");
        }
    }
    for discard in [false, true] {
        std::fs::write(path, image).expect("writable");
        let (opened, most) =
            taken(|| LogOptions::new().step(4096).discard_after_torn(discard).open(path));
        assert!(most < SPARE, "{most} bytes to open");
        let log = match opened {
            Ok(log) => log,
            Err(error) => {
                refused(error, image);
                unchanged();
                continue;
            }
        };
        let after = std::fs::read(path).expect("readable");
        if !discard {
            if let Ok(found) = found {
                assert!(found.is_sound(), "{found:?} was opened");
                assert_eq!(log.recovery().records, found.records);
            }
            let good = good
                .iter()
                .flat_map(|good| good.records.iter().map(|record| (record, &good.image)));
            for (record, bytes) in good.filter(|(record, bytes)| record.is_in(image, bytes)) {
                assert!(record.is_in(&after, bytes), "{} was written over", record.position);
            }
        }
        let before = log.recovery();
        let position = log.append(b"one more").expect("there is room");
        assert_eq!(position, before.end);
        assert_eq!(log.flush(), Ok(log.end()));
        drop(log);
        let all = read(path, false);
        assert_eq!(all.len() as u64, before.records + 1);
        assert_eq!(all.last().map(Vec::as_slice), Some(&b"one more"[..]));
        let again = Log::open(path).expect("it is in order").recovery();
        assert_eq!((again.records, again.torn), (before.records + 1, None));
    }
}

/// Errors that a file's bytes can be the reason for.
fn refused(error: Error, image: &[u8]) {
    let fits = match error {
        Error::NotALog | Error::Version { .. } => true,
        // Where the next record would be: what is cut may be zeros behind the last one.
        Error::Damaged { offset } => offset <= image.len().max(8192).next_multiple_of(8) as u64,
        _ => false,
    };
    assert!(fits, "{error:?} of {} bytes", image.len());
}

/// All records from the first on, and of `good` each by its position.
fn read_all(path: &Path, room: usize, good: Option<&Good>) -> Vec<Vec<u8>> {
    let Ok(mut reader) = Reader::open(path) else { return Vec::new() };
    let mut all = Vec::new();
    let mut record = Vec::new();
    loop {
        let (next, most) = taken(|| reader.next(&mut record));
        assert!(most < room, "{most} bytes to read");
        let Ok(Some(position)) = next else { break };
        if let Some(good) = good {
            let original = good.records.iter().find(|original| original.position == position);
            assert!(original.is_some_and(|original| original.payload == record), "{position}");
        }
        all.push(record.clone());
    }
    for original in good.iter().flat_map(|good| &good.records) {
        reader.seek(original.position).expect("a position");
        if let Ok(Some(position)) = reader.next(&mut record) {
            assert_eq!((position, &record), (original.position, &original.payload));
        }
    }
    all
}

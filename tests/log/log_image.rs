//! Images of logs that were damaged at random, and made up to do harm: the same ones each time.

#[path = "../support/log_image.rs"]
mod log_image;
#[path = "../support/mod.rs"]
mod support;

use log_image::{Counting, Good, hold};
use sigward::log::{Log, Reader, check, salvage};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::Scratch;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.below(256) as u8;
        }
    }
}

/// Both in memory, where fdatasync costs nothing.
fn places(name: &str) -> (Scratch, PathBuf, PathBuf) {
    let memory = Path::new("/dev/shm");
    let folder =
        if memory.is_dir() { Scratch::in_folder(memory, name) } else { Scratch::new(name) };
    let (path, saved) = (folder.path().join("log"), folder.path().join("saved"));
    (folder, path, saved)
}

/// As failing memory, disks and people change it.
fn changed(good: &[u8], random: &mut Random) -> Vec<u8> {
    let mut image = good.to_vec();
    for _ in 0..=random.below(4) {
        // Mostly where something is.
        let used = image.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
        let start = if random.below(4) == 0 { random.below(8192) } else { random.below(used) };
        let start = start.min(image.len());
        let count = match random.below(3) {
            0 => 1,
            1 => 8,
            _ => 1 + random.below(6000),
        };
        let range = start..(start + count).min(image.len());
        match random.below(8) {
            0 | 1 => image[range].iter_mut().take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
            2 => image[range].fill(0),
            3 => image[range].fill(0xff),
            4 => random.fill(&mut image[range]),
            5 => image.truncate(start),
            6 => image.resize(image.len() + random.below(9000), 0),
            _ => {
                let from = random.below(image.len() - range.len() + 1);
                image.copy_within(from..from + range.len(), range.start);
            }
        }
    }
    image
}

// One test, as memory is counted for the whole process.
#[test]
fn nothing_that_is_found_there_does_harm() {
    let (_folder, path, saved) = places("log-image");
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut logs = Vec::new();
    for (flushed, close) in [(0, false), (3, false), (12, false), (20, true)] {
        let lengths: Vec<usize> =
            (0..20).map(|number| [0, 1, 40, 900, 9000][number % 5] + number).collect();
        logs.push(Good::make(&path, &lengths, flushed, close));
    }
    // Without a map, and then with one.
    for guarded in [false, true] {
        if guarded {
            sigward::mapping::guard().expect("the seat can be had");
        }
        let end = Instant::now() + Duration::from_millis(1500);
        let mut rounds = 0;
        // So many at least on any machine, and more on a fast one.
        while rounds < 150 || (rounds < 4000 && Instant::now() < end) {
            let good = &logs[rounds % logs.len()];
            hold(&path, &saved, &changed(&good.image, &mut random), Some(good));
            rounds += 1;
        }
        for _ in 0..20 {
            let mut image = vec![0; random.below(40_000)];
            random.fill(&mut image);
            hold(&path, &saved, &image, None);
            // With a header, and nothing else that is right.
            let start = image.len().min(8192);
            image[..start].copy_from_slice(&logs[0].image[..start]);
            hold(&path, &saved, &image, None);
        }
        for round in 0..60 {
            hold(&path, &saved, &crafted(&logs[0].image, &mut random, round), None);
        }
        sparse(&path, &saved, &logs[0].image);
        println!("{rounds} images");
    }
}

// ---- by somebody who knows the format and the salt ----

fn salt_of(image: &[u8]) -> u32 {
    u32::from_le_bytes(image[12..16].try_into().expect("four bytes"))
}

fn place(salt: u32, position: u64, length: u32) -> u64 {
    let mut mixed = (u64::from(salt) << 32 | u64::from(length)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 32 ^ position).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ mixed >> 29) | 1
}

fn number(salt: u32, position: u64, payload: &[u8], length: u32) -> u64 {
    let mut sum = crc32fast::Hasher::new_with_initial(salt);
    sum.update(payload);
    sum.update(&position.to_le_bytes());
    sum.update(&u64::from(length).to_le_bytes());
    u64::from(sum.finalize()) << 32 | u64::from(1 << 31 | length)
}

fn put(image: &mut [u8], position: usize, number: u64, place: u64) {
    for (at, word) in [(position, number), (position + 8, place)] {
        if let Some(bytes) = image.get_mut(at..at + 8) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// Records whose places are right and whose lengths are not, records within records, watermarks
/// anywhere.
fn crafted(good: &[u8], random: &mut Random, round: u32) -> Vec<u8> {
    let mut image = good.to_vec();
    let salt = salt_of(good);
    for _ in 0..=random.below(40) {
        let position = 8192 + 8 * random.below((image.len() - 8192) / 8);
        let rest = image.len().saturating_sub(position + 16);
        let length =
            [0, 1, rest, rest + 1, (1 << 30) - 1, random.below(rest + 1)][random.below(6)] as u32;
        let payload =
            image.get(position + 16..position + 16 + length as usize).unwrap_or_default().to_vec();
        let number = match random.below(3) {
            // A whole one, wherever it lies.
            0 => number(salt, position as u64, &payload, length),
            1 => u64::from(1 << 31 | length) | (random.below(1 << 20) as u64) << 32,
            _ => u64::MAX,
        };
        put(&mut image, position, number, place(salt, position as u64, length));
    }
    if round.is_multiple_of(3) {
        let mut slot = [0; 16];
        let watermark =
            [0, 8191, 8192, 8200, u64::MAX, 1 << 62, good.len() as u64][random.below(7)];
        slot[..8].copy_from_slice(&watermark.to_le_bytes());
        let mut sum = crc32fast::Hasher::new_with_initial(salt);
        sum.update(&slot[..8]);
        slot[8..12].copy_from_slice(&sum.finalize().to_le_bytes());
        image[512..528].copy_from_slice(&slot);
    }
    image
}

/// A file of many gigabytes that has a few blocks: what it says of lengths costs no memory and no
/// time.
fn sparse(path: &Path, saved: &Path, good: &[u8]) {
    const LONGEST: u32 = (1 << 30) - 1;
    let salt = salt_of(good);
    std::fs::write(path, &good[..8192]).expect("writable");
    let file = std::fs::File::options().write(true).open(path).expect("there");
    file.set_len(1 << 40).expect("a sparse file");
    for position in [8192_u64, 8208, 1 << 30, 1 << 35, (1 << 40) - 16] {
        let mut words = [0; 16];
        // The first one has to be summed up.
        let length = if position == 8192 { 4 << 20 } else { LONGEST };
        put(&mut words, 0, u64::from(1 << 31 | length) | 7 << 32, place(salt, position, length));
        file.write_all_at(&words, position).expect("writable");
    }
    drop(file);
    let began = Instant::now();
    let ((), most) = log_image::taken(|| {
        let _ = check(path).map(|found| assert_eq!(found.records, 0));
        let mut reader = Reader::open(path).expect("the header is sound");
        let mut record = Vec::new();
        assert!(!matches!(reader.next(&mut record), Ok(Some(_))) && record.capacity() == 0);
        assert!(!matches!(reader.length_of_next(), Ok(Some(1..))) || record.is_empty());
        let _ = std::fs::remove_file(saved);
        let _ = salvage(path, saved);
        let _ = Log::open(path);
    });
    assert!(most < 1 << 20, "{most} bytes");
    // To sum up all that is claimed takes minutes, to look through all holes hours.
    println!("{:?} for holes", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(60), "it took {:?}", began.elapsed());
}

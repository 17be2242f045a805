//! Records as the hosts make them (`records.h`).

#![allow(dead_code, reason = "each test binary uses its own part")]

use super::support::Scratch;
use sigward::log::Reader;
use std::path::Path;

/// In memory, so that fdatasync costs nothing.
pub fn scratch(name: &str) -> Scratch {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { Scratch::in_folder(memory, name) } else { Scratch::new(name) }
}

/// As the host makes them.
pub fn record(number: u64) -> Vec<u8> {
    let length = 8 + number * 37 % 300;
    let rest = (8..length).map(|at| (number.wrapping_mul(31).wrapping_add(at * 7)) as u8);
    number.to_le_bytes().into_iter().chain(rest).collect()
}

/// How many records there are, each as it must be.
pub fn count(path: &Path) -> u64 {
    let mut reader = Reader::open(path).expect("a log");
    let (mut bytes, mut number) = (Vec::new(), 0);
    while reader.next(&mut bytes).expect("nothing is damaged").is_some() {
        assert_eq!(bytes, record(number), "{number}");
        number += 1;
    }
    number
}

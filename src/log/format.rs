//! What is on the disk. All numbers are little-endian, on every machine.
//!
//! | bytes of the file | what |
//! |---|---|
//! | 0..24 | magic (8), version (4), salt (4), number of the copy (4), sum of these (4): written once |
//! | 512..528 | a slot for the durable watermark: position (8), sum (4), zero (4); zeros while there is none |
//! | 4096..8192 | the second copy of all that, whose number is 1 |
//! | 8192.. | records, each at a multiple of 8 |
//!
//! | a record | |
//! |---|---|
//! | 4 bytes | length in bytes, with bit 31 set: so an empty record is none of the zeros that end the log |
//! | 4 bytes | CRC-32 of payload, position (8) and length (8), begun with the log's salt |
//! | 8 bytes | the place: a number that salt, position and length give |
//! | payload | padded with zeros to a multiple of 8 |
//!
//! Position and salt are in the sum, so a record counts only where it was written and in the log it
//! was written to: what an older log has left in the same blocks, or a payload that looks like a
//! record, is none. The place says the same without a look at the payload: whoever searches damaged
//! bytes for records sums up hardly any that are none.
//!
//! Length and sum are one aligned number of 8 bytes, which is stored last and at once: readers in
//! other processes see a record whole or not at all, and a process that dies in between has left
//! zeros there.
//!
//! The slots are written in turn: at most one is torn by a power failure, and the other tells of an
//! earlier flush, which is not wrong. One copy of the header is enough to read everything.

use crc32fast::Hasher;

/// Where the first record is.
pub(super) const FIRST: u64 = 8192;
/// What every position is a multiple of.
pub(super) const UNIT: u64 = 8;
/// Of a record's length, sum and place.
pub(super) const PREFIX: u64 = 16;
/// Bytes of the longest record: 1 GiB less one.
pub const MAX_RECORD: usize = (1 << 30) - 1;

const MAGIC: &[u8; 8] = b"sigwlog\n";
const VERSION: u32 = 2;
const PRESENT: u32 = 1 << 31;
/// Bytes of the part of the header that is written once.
pub(super) const HEADER: usize = 24;
/// Where its copies are.
pub(super) const COPIES: [u64; 2] = [0, 4096];
/// Where the slot of each copy is.
pub(super) const SLOTS: [u64; 2] = [512, 4096 + 512];
pub(super) const SLOT: usize = 16;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) salt: u32,
    /// Everything below was on the disk once; none if both slots are damaged.
    pub(super) watermark: Option<u64>,
    /// The slot that has it; the other one is to be written next.
    pub(super) slot: usize,
    /// Which copies are as they were written.
    pub(super) good: [bool; 2],
}

/// What a file may begin with instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoHeader {
    /// Zeros only: nobody has begun a log here.
    Blank,
    /// Somebody else's file.
    Foreign,
    /// A log of this version, which is not ours.
    Version(u32),
    /// A log, of which no copy can be read.
    Damaged,
}

fn number32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|part| part.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn number64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|part| part.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// A copy of the header of a new log.
pub(super) fn header(salt: u32, copy: usize) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&salt.to_le_bytes());
    bytes[16..20].copy_from_slice(&(copy as u32).to_le_bytes());
    let sum = crc32fast::hash(&bytes[..20]);
    bytes[20..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Reads what is before the first record, of which a short file has less.
pub(super) fn read_header(start: &[u8]) -> Result<Header, NoHeader> {
    if start.iter().all(|byte| *byte == 0) {
        return Err(NoHeader::Blank);
    }
    let mut pages = [0; FIRST as usize];
    let count = start.len().min(pages.len());
    pages[..count].copy_from_slice(&start[..count]);
    let copies = [0, 1].map(|copy| &pages[COPIES[copy] as usize..][..HEADER]);
    let good = [0, 1].map(|copy| header(number32(copies[copy], 12), copy) == *copies[copy]);
    let Some(copy) = good.iter().position(|good| *good) else {
        let ours = copies.iter().find(|bytes| bytes.starts_with(MAGIC));
        return Err(match ours.map(|bytes| number32(bytes, 8)) {
            None => NoHeader::Foreign,
            Some(VERSION) => NoHeader::Damaged,
            Some(other) => NoHeader::Version(other),
        });
    };
    let salt = number32(copies[copy], 12);
    let found = SLOTS.map(|at| read_slot(salt, &pages[at as usize..at as usize + SLOT]));
    let (watermark, slot) = match found {
        [Some(first), Some(second)] if first > second => (Some(first), 0),
        [Some(first), None] => (Some(first), 0),
        [_, second] => (second, 1),
    };
    Ok(Header { salt, watermark, slot, good })
}

/// The bytes of a slot.
pub(super) fn slot(salt: u32, watermark: u64) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    bytes[..8].copy_from_slice(&watermark.to_le_bytes());
    let mut sum = Hasher::new_with_initial(salt);
    sum.update(&bytes[..8]);
    bytes[8..12].copy_from_slice(&sum.finalize().to_le_bytes());
    bytes
}

/// None if it is torn.
fn read_slot(salt: u32, bytes: &[u8]) -> Option<u64> {
    if bytes.iter().all(|byte| *byte == 0) {
        return Some(FIRST);
    }
    let watermark = number64(bytes, 0);
    (slot(salt, watermark) == bytes).then_some(watermark)
}

/// Bytes that a record takes.
pub(super) fn size_of_record(length: usize) -> u64 {
    PREFIX + (length as u64).next_multiple_of(UNIT)
}

/// A sum that has seen nothing but the salt.
pub(super) fn begin(salt: u32) -> Hasher {
    Hasher::new_with_initial(salt)
}

/// The number before a record of `length` bytes at `position`, whose payload `sum` has seen.
pub(super) fn prefix(mut sum: Hasher, position: u64, length: u32) -> u64 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&position.to_le_bytes());
    place[8..].copy_from_slice(&u64::from(length).to_le_bytes());
    sum.update(&place);
    u64::from(sum.finalize()) << 32 | u64::from(PRESENT | length)
}

/// The second word of a record: never zero.
pub(super) fn place(salt: u32, position: u64, length: u32) -> u64 {
    let mut mixed = (u64::from(salt) << 32 | u64::from(length)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 32 ^ position).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ mixed >> 29) | 1
}

/// What the number before a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    /// The log ends here.
    End,
    /// A record of so many bytes, if the sum is right.
    Record(u32),
    /// Nothing that was ever written as such.
    Garbage,
}

pub(super) fn read_prefix(number: u64) -> Prefix {
    let length = number as u32;
    match number {
        0 => Prefix::End,
        _ if length & PRESENT != 0 && (length & !PRESENT) as usize <= MAX_RECORD => {
            Prefix::Record(length & !PRESENT)
        }
        _ => Prefix::Garbage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(salt: u32) -> Vec<u8> {
        let mut pages = vec![0; FIRST as usize];
        for (copy, at) in COPIES.into_iter().enumerate() {
            pages[at as usize..][..HEADER].copy_from_slice(&header(salt, copy));
        }
        pages
    }

    fn found(watermark: Option<u64>, slot: usize, good: [bool; 2]) -> Header {
        Header { salt: 7, watermark, slot, good }
    }

    #[test]
    fn a_header_comes_back_and_others_are_told_apart() {
        let mut pages = pages(7);
        let both = [true; 2];
        assert_eq!(read_header(&pages), Ok(found(Some(FIRST), 1, both)));
        pages[512..528].copy_from_slice(&slot(7, 9192));
        assert_eq!(read_header(&pages), Ok(found(Some(9192), 0, both)));
        pages[4608..4624].copy_from_slice(&slot(7, 10000));
        assert_eq!(read_header(&pages), Ok(found(Some(10000), 1, both)));
        // Either page is enough, whatever is in the other one.
        for (lost, watermark, slot) in [(0, 10000, 1), (4096, 9192, 0)] {
            for byte in [0, 0xff] {
                let mut left = pages.clone();
                left[lost..lost + 4096].fill(byte);
                assert_eq!(
                    read_header(&left),
                    Ok(found(Some(watermark), slot, [lost > 0, lost == 0]))
                );
            }
        }
        assert_eq!(read_header(&pages[..4096]), Ok(found(Some(9192), 0, [true, false])));
        pages[4608] ^= 1; // torn
        assert_eq!(read_header(&pages), Ok(found(Some(9192), 0, both)));
        pages[512] ^= 1;
        assert_eq!(read_header(&pages), Ok(found(None, 1, both)));
        pages[3] ^= 1;
        assert_eq!(read_header(&pages), Ok(found(None, 1, [false, true])));
        pages[4096 + 13] ^= 1;
        assert_eq!(read_header(&pages), Err(NoHeader::Damaged));
        pages[4096] ^= 1;
        assert_eq!(read_header(&pages), Err(NoHeader::Foreign));
        assert_eq!(read_header(&[]), Err(NoHeader::Blank));
        // A log within another file is none.
        assert_eq!(read_header(&[&[1; 4096][..], &header(7, 0)].concat()), Err(NoHeader::Damaged));
    }

    #[test]
    fn another_version_is_named() {
        let mut pages = pages(7);
        (pages[8], pages[4096 + 8]) = (3, 3);
        assert_eq!(read_header(&pages), Err(NoHeader::Version(3)));
    }

    /// Numbers that zlib's crc32 gave.
    #[test]
    fn the_format_is_what_it_was() {
        assert_eq!(header(0x0102_0304, 1)[8..20], [2, 0, 0, 0, 4, 3, 2, 1, 1, 0, 0, 0]);
        assert_eq!(header(0x0102_0304, 1)[20..], [0x4a, 0x04, 0xa5, 0x52]);
        assert_eq!(place(0x0102_0304, 8192, 5), 0xf4d7_6ca6_5974_7945);
        let mut sum = begin(0x0102_0304);
        sum.update(b"hello");
        assert_eq!(prefix(sum, 4096, 5), 0xec75_b346_8000_0005);
        assert_eq!(read_prefix(prefix(begin(9), 4096, 0)), Prefix::Record(0));
        assert_eq!((size_of_record(0), size_of_record(1), size_of_record(8)), (16, 24, 24));
    }
}

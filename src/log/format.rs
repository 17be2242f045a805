//! What is on the disk. All numbers are little-endian, on every machine.
//!
//! | bytes of the file | what |
//! |---|---|
//! | 0..24 | magic (8), version (4), salt (4), sum of both (4), zero (4): written once |
//! | 512..528, 1024..1040 | two slots for the durable watermark: position (8), sum (4), zero (4); all zero while there is none |
//! | 4096.. | records, each at a multiple of 8 |
//!
//! | a record | |
//! |---|---|
//! | 4 bytes | length in bytes, with bit 31 set: so an empty record is none of the zeros that end the log |
//! | 4 bytes | CRC-32 of payload, position (8) and length (8), begun with the log's salt |
//! | payload | padded with zeros to a multiple of 8 |
//!
//! Position and salt are in the sum, so a record counts only where it was written and in the log it
//! was written to: what an older log has left in the same blocks, or a payload that looks like a
//! record, is none.
//!
//! Length and sum are one aligned number of 8 bytes, which is stored last and at once: readers in
//! other processes see a record whole or not at all, and a process that dies in between has left
//! zeros there.
//!
//! The slots lie in different sectors and are written in turn: at most one is torn by a power
//! failure, and the other tells of an earlier flush, which is not wrong.

use crc32fast::Hasher;

/// Where the first record is.
pub(super) const FIRST: u64 = 4096;
/// Of a record's length and sum.
pub(super) const PREFIX: u64 = 8;
/// Bytes of the longest record: 1 GiB less one.
pub const MAX_RECORD: usize = (1 << 30) - 1;

const MAGIC: &[u8; 8] = b"sigwlog\n";
const VERSION: u32 = 1;
const PRESENT: u32 = 1 << 31;
/// Bytes of the part of the header that is written once.
pub(super) const HEADER: usize = 24;
pub(super) const SLOTS: [u64; 2] = [512, 1024];
pub(super) const SLOT: usize = 16;

/// What the header page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) salt: u32,
    /// Everything below was on the disk once.
    pub(super) watermark: u64,
    /// The slot that has it; the other one is to be written next.
    pub(super) slot: usize,
}

/// What a file's first page may be instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoHeader {
    /// Zeros only: nobody has begun a log here.
    Blank,
    /// Somebody else's file.
    Foreign,
    /// A log of this version, which is not ours.
    Version(u32),
    /// Neither watermark can be read.
    Damaged(u64),
}

fn number32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|part| part.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn number64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|part| part.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// The header of a new log.
pub(super) fn header(salt: u32) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&salt.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..16]);
    bytes[16..20].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Reads the header page, of which a short file has less.
pub(super) fn read_header(page: &[u8]) -> Result<Header, NoHeader> {
    if page.iter().all(|byte| *byte == 0) {
        return Err(NoHeader::Blank);
    }
    let is_ours = page.len() as u64 >= FIRST && page.starts_with(MAGIC);
    if !is_ours || crc32fast::hash(&page[..16]) != number32(page, 16) {
        return Err(NoHeader::Foreign);
    }
    match number32(page, 8) {
        VERSION => {}
        other => return Err(NoHeader::Version(other)),
    }
    let salt = number32(page, 12);
    let found = SLOTS.map(|at| read_slot(salt, &page[at as usize..at as usize + SLOT]));
    let (watermark, slot) = match found {
        [Some(first), Some(second)] if first > second => (first, 0),
        [_, Some(second)] => (second, 1),
        [Some(first), None] => (first, 0),
        [None, None] => return Err(NoHeader::Damaged(SLOTS[0])),
    };
    Ok(Header { salt, watermark, slot })
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
    PREFIX + (length as u64).next_multiple_of(8)
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

    fn page(salt: u32) -> Vec<u8> {
        let mut page = vec![0; FIRST as usize];
        page[..HEADER].copy_from_slice(&header(salt));
        page
    }

    #[test]
    fn a_header_comes_back_and_others_are_told_apart() {
        let mut page = page(7);
        assert_eq!(read_header(&page), Ok(Header { salt: 7, watermark: FIRST, slot: 1 }));
        page[512..528].copy_from_slice(&slot(7, 8192));
        assert_eq!(read_header(&page), Ok(Header { salt: 7, watermark: 8192, slot: 0 }));
        page[1024..1040].copy_from_slice(&slot(7, 9000));
        assert_eq!(read_header(&page), Ok(Header { salt: 7, watermark: 9000, slot: 1 }));
        page[1024] ^= 1; // torn
        assert_eq!(read_header(&page), Ok(Header { salt: 7, watermark: 8192, slot: 0 }));
        page[512] ^= 1;
        assert_eq!(read_header(&page), Err(NoHeader::Damaged(512)));
        page[3] ^= 1;
        assert_eq!(read_header(&page), Err(NoHeader::Foreign));
        assert_eq!(read_header(&[]), Err(NoHeader::Blank));
        assert_eq!(read_header(&header(7)), Err(NoHeader::Foreign));
    }

    #[test]
    fn another_version_is_named() {
        let mut page = page(7);
        page[8] = 2;
        let sum = crc32fast::hash(&page[..16]);
        page[16..20].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(read_header(&page), Err(NoHeader::Version(2)));
    }

    /// Numbers that zlib's crc32 gave.
    #[test]
    fn the_format_is_what_it_was() {
        assert_eq!(header(0x0102_0304)[8..20], [1, 0, 0, 0, 4, 3, 2, 1, 0x63, 0xec, 0x10, 0x4c]);
        let mut sum = begin(0x0102_0304);
        sum.update(b"hello");
        assert_eq!(prefix(sum, 4096, 5), 0xec75_b346_8000_0005);
        assert_eq!(read_prefix(prefix(begin(9), 4096, 0)), Prefix::Record(0));
        assert_eq!((size_of_record(0), size_of_record(1), size_of_record(8)), (8, 16, 16));
    }
}

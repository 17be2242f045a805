//! Finding the end of a log: the pure half of recovery.
//!
//! A record counts if all before it count and its sum is right. The first that does not is the end:
//! a process has died while it wrote there, or the machine before all pages were on the disk.
//! Unless that lies below the durable watermark: then bytes have gone that were there once, which
//! no crash does, and nobody may cut there.

use super::error::Error;
use super::format::{self, FIRST, PREFIX, Prefix, UNIT, read_prefix};

/// Bytes that can be read, wherever they are.
pub(super) trait Source {
    fn len(&self) -> u64;
    /// All of `buffer`, which lies within.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error>;
}

/// Where a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) records: u64,
    pub(super) position: u64,
    /// The last place before the watermark where a record ends. None of ours lies elsewhere.
    pub(super) durable: u64,
    /// Where the last record begins; if there is none, where the file does.
    last: u64,
}

/// The last word of a log that is not zero. A cut that takes anything else than zeros takes it too,
/// also where the file was made as long again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Witness {
    /// Bytes from the start of the file, a multiple of 8.
    pub(super) offset: u64,
    /// As it lies there.
    pub(super) word: u64,
}

impl Witness {
    /// The last such word of what is written at `offset`, a multiple of 8; what follows the bytes
    /// is zero.
    #[inline]
    pub(super) fn last(offset: u64, bytes: &[u8]) -> Option<Self> {
        for (index, part) in bytes.chunks(8).enumerate().rev() {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            let word = u64::from_le_bytes(word);
            if word != 0 {
                return Some(Self { offset: offset + 8 * index as u64, word });
            }
        }
        None
    }
}

impl End {
    /// The last word that is not zero, as it is now: of the last record, or the header's first one.
    pub(super) fn witness(&self, source: &impl Source) -> Result<Witness, Error> {
        last_word(source, self.last..if self.records == 0 { UNIT } else { self.position })
    }
}

/// Goes from record to record.
pub(super) fn find_end(source: &impl Source, salt: u32, watermark: u64) -> Result<End, Error> {
    let mut end = End { records: 0, position: FIRST, durable: FIRST, last: 0 };
    let mut room = vec![0; 1 << 16];
    while let Some(size) = record_at(source, salt, end.position, &mut room)? {
        end.last = end.position;
        (end.records, end.position) = (end.records + 1, end.position + size);
        if end.position <= watermark {
            end.durable = end.position;
        }
    }
    if end.position < watermark { Err(Error::Damaged { offset: end.position }) } else { Ok(end) }
}

/// Whether the range, where records begin and end, has nothing but whole records.
pub(super) fn check(
    source: &impl Source,
    salt: u32,
    range: std::ops::Range<u64>,
) -> Result<(), Error> {
    let mut room = vec![0; 1 << 16];
    let mut offset = range.start;
    while offset < range.end {
        offset += record_at(source, salt, offset, &mut room)?.ok_or(Error::Damaged { offset })?;
    }
    Ok(())
}

/// The last word of the range that is not zero; the last byte may be missing: padding.
fn last_word(source: &impl Source, range: std::ops::Range<u64>) -> Result<Witness, Error> {
    let end = range.end.min(source.len());
    let found = not_zero(source, range.start..end)?.map_or(range.start, |found| found.end - 1);
    let offset = found & !7;
    let mut word = [0; 8];
    source.read(offset, &mut word[..(end - offset).min(8) as usize])?;
    Ok(Witness { offset, word: u64::from_le_bytes(word) })
}

/// Bytes that the record at `position` takes; none if there is none that counts.
pub(super) fn record_at(
    source: &impl Source,
    salt: u32,
    position: u64,
    room: &mut [u8],
) -> Result<Option<u64>, Error> {
    let rest = source.len().saturating_sub(position);
    if rest < PREFIX {
        return Ok(None);
    }
    let mut words = [0; PREFIX as usize];
    source.read(position, &mut words)?;
    let Some(length) = length_in(salt, position, &words) else { return Ok(None) };
    if u64::from(length) > rest - PREFIX {
        return Ok(None);
    }
    let mut sum = format::begin(salt);
    let mut at = position + PREFIX;
    let end = at + u64::from(length);
    while at < end {
        let count = (end - at).min(room.len() as u64);
        let part = &mut room[..count as usize];
        source.read(at, part)?;
        sum.update(part);
        at += count;
    }
    let is_whole = format::prefix(sum, position, length) == word(&words, 0);
    Ok(is_whole.then(|| format::size_of_record(length as usize)))
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|part| part.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// The length in what stands before a record, if its place is the right one.
fn length_in(salt: u32, position: u64, words: &[u8]) -> Option<u32> {
    let Prefix::Record(length) = read_prefix(word(words, 0)) else { return None };
    (word(words, 8) == format::place(salt, position, length)).then_some(length)
}

/// How many bytes may be summed up in a search. An image can be made so that it has a long record
/// at every place but for the sum.
pub(super) struct Patience(u64);

impl Patience {
    /// `there` bytes have blocks: a hole can be made as long as one likes.
    pub(super) fn of(there: u64) -> Self {
        Self(there.saturating_mul(4))
    }
}

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) position: u64,
    /// It counts; else patience has ended, and one may be there.
    pub(super) is_sure: bool,
}

/// The first record in the range that counts; also where one may be, if patience has ended.
pub(super) fn find_record(
    source: &impl Source,
    salt: u32,
    range: std::ops::Range<u64>,
    patience: &mut Patience,
) -> Result<Option<Found>, Error> {
    const CHUNK: u64 = 1 << 16;
    let mut room = vec![0; CHUNK as usize];
    let mut chunk = vec![0; (CHUNK + PREFIX) as usize];
    let mut at = range.start.next_multiple_of(UNIT);
    while at < range.end {
        let there = (source.len() - at).min(CHUNK + PREFIX) as usize;
        source.read(at, &mut chunk[..there])?;
        chunk[there..].fill(0);
        for offset in (0..CHUNK.min(range.end - at)).step_by(UNIT as usize) {
            let words = &chunk[offset as usize..];
            if word(words, 0) == 0 {
                continue;
            }
            let position = at + offset;
            let Some(length) = length_in(salt, position, words) else { continue };
            let Some(left) = patience.0.checked_sub(u64::from(length)) else {
                return Ok(Some(Found { position, is_sure: false }));
            };
            patience.0 = left;
            if record_at(source, salt, position, &mut room)?.is_some() {
                return Ok(Some(Found { position, is_sure: true }));
            }
        }
        at += CHUNK;
    }
    Ok(None)
}

/// The part of `range` from its first to behind its last byte that is not zero.
pub(super) fn not_zero(
    source: &impl Source,
    range: std::ops::Range<u64>,
) -> Result<Option<std::ops::Range<u64>>, Error> {
    let mut room = vec![0; 1 << 16];
    let mut found: Option<std::ops::Range<u64>> = None;
    let mut at = range.start;
    while at < range.end {
        let part = &mut room[..(range.end - at).min(1 << 16) as usize];
        source.read(at, part)?;
        if let Some(last) = part.iter().rposition(|byte| *byte != 0) {
            let first = part.iter().position(|byte| *byte != 0).unwrap_or(0);
            found =
                Some(found.map_or(at + first as u64, |found| found.start)..at + last as u64 + 1);
        }
        at += part.len() as u64;
    }
    Ok(found)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    impl Source for &[u8] {
        fn len(&self) -> u64 {
            <[u8]>::len(self) as u64
        }

        fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
            let offset = offset as usize;
            buffer.copy_from_slice(&self[offset..offset + buffer.len()]);
            Ok(())
        }
    }

    /// Numbers that look random, the same ones each time.
    pub(crate) struct Random(pub(crate) u64);

    impl Random {
        pub(crate) fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) as usize % limit
        }
    }

    const SALT: u32 = 77;

    /// A log without a header page's contents; where each record ends.
    fn image(lengths: &[usize], tail: usize) -> (Vec<u8>, Vec<u64>) {
        let mut bytes = vec![0; FIRST as usize];
        let mut ends = vec![FIRST];
        for (index, length) in lengths.iter().enumerate() {
            let payload: Vec<u8> = (0..*length).map(|at| (index * 31 + at * 7 + 1) as u8).collect();
            let mut sum = format::begin(SALT);
            sum.update(&payload);
            let position = bytes.len() as u64;
            bytes.extend(format::prefix(sum, position, *length as u32).to_le_bytes());
            bytes.extend(format::place(SALT, position, *length as u32).to_le_bytes());
            bytes.extend(payload);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            ends.push(bytes.len() as u64);
        }
        bytes.resize(bytes.len() + tail, 0);
        (bytes, ends)
    }

    /// The longest prefix of whole records that ends at or before `limit`.
    fn whole_before(ends: &[u64], limit: u64) -> usize {
        ends.iter().rposition(|end| *end <= limit).unwrap_or(0)
    }

    #[test]
    fn all_records_are_found() {
        let (bytes, ends) = image(&[0, 1, 7, 8, 9, 100_000, 0, 3], 64);
        let end = find_end(&bytes.as_slice(), SALT, FIRST).unwrap();
        assert_eq!((end.records, end.position), (8, ends[8]));
        assert_eq!(find_end(&bytes.as_slice(), SALT + 1, FIRST).unwrap().records, 0);
    }

    #[test]
    fn cut_anywhere_a_prefix_is_left() {
        let (bytes, ends) = image(&[5, 0, 17, 64, 1, 200, 8], 16);
        for cut in FIRST as usize..bytes.len() {
            let end = find_end(&&bytes[..cut], SALT, FIRST).unwrap();
            // The padding is not part of what must be there.
            let limit = (cut as u64).next_multiple_of(8);
            let most = whole_before(&ends, limit);
            let least = whole_before(&ends, cut as u64);
            assert!((least..=most).contains(&(end.records as usize)), "{cut}: {end:?}");
            assert_eq!(end.position, ends[end.records as usize]);
        }
    }

    #[test]
    fn any_byte_changed_ends_the_log_there() {
        let (mut bytes, ends) = image(&[5, 0, 17, 64, 1, 200, 8], 16);
        for at in FIRST as usize..*ends.last().unwrap() as usize {
            for change in [1, 0x80, 0xff] {
                bytes[at] ^= change;
                let end = find_end(&bytes.as_slice(), SALT, FIRST).unwrap();
                let hit = whole_before(&ends, at as u64);
                // Of the padding nobody takes notice.
                assert!(end.records as usize == hit || end.records == 7, "{at} {end:?}");
                let damaged = find_end(&bytes.as_slice(), SALT, ends[7]);
                assert!(end.records == 7 || damaged == Err(Error::Damaged { offset: ends[hit] }));
                bytes[at] ^= change;
            }
        }
    }

    #[test]
    fn pages_lost_behind_the_watermark_leave_all_that_was_durable() {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let unit = 64; // pages as small as that, for many cases
        for _ in 0..3000 {
            let lengths: Vec<usize> = (0..=random.below(12)).map(|_| random.below(150)).collect();
            let (mut bytes, ends) = image(&lengths, random.below(3) * 64);
            let durable = random.below(ends.len());
            let watermark = ends[durable];
            let first = (watermark as usize) / unit;
            for page in first..bytes.len().div_ceil(unit) {
                let from = (page * unit).max(watermark as usize);
                let to = ((page + 1) * unit).min(bytes.len());
                match random.below(4) {
                    0 => bytes[from..to].fill(0),
                    1 => {
                        bytes[from..to].iter_mut().for_each(|byte| *byte = random.below(256) as u8);
                    }
                    _ => {}
                }
            }
            let before = image(&lengths, 0).0;
            let end = find_end(&bytes.as_slice(), SALT, watermark).unwrap();
            assert!(end.records as usize >= durable);
            assert!(ends.contains(&end.position), "{end:?} {ends:?}");
            for pair in ends[..=end.records as usize].windows(2) {
                let payload = pair[0] as usize..pair[1] as usize;
                assert_eq!(bytes[payload.clone()][..4], before[payload][..4]);
            }
        }
    }

    #[test]
    fn a_record_behind_damage_is_found_and_no_other() {
        let lengths = [5, 0, 70_000, 64, 1, 200, 8];
        let (bytes, ends) = image(&lengths, 24);
        let all = FIRST..bytes.len() as u64;
        let find = |bytes: &[u8], salt, start| {
            let mut patience = Patience::of(bytes.len() as u64);
            let found = find_record(&bytes, salt, start..all.end, &mut patience).unwrap();
            found.map(|found| (assert!(found.is_sure), found.position).1)
        };
        for start in all.clone().step_by(8).take(200).chain(*ends.last().unwrap() - 400..all.end) {
            let next = ends[..7].iter().find(|end| **end >= start).copied();
            assert_eq!(find(&bytes, SALT, start), next, "{start}");
        }
        assert_eq!(find(&bytes, SALT + 1, FIRST), None);
        // Elsewhere they are none.
        let mut moved = bytes.clone();
        moved.copy_within(FIRST as usize.., FIRST as usize - 8);
        assert_eq!(find(&moved, SALT, FIRST), None);
    }

    /// Places that are right, before a payload that is not: to sum all of them up would take hours.
    #[test]
    fn a_search_has_an_end() {
        let mut bytes = vec![0; 4 << 20];
        let end = bytes.len() as u64;
        for position in (FIRST..end - PREFIX).step_by(16) {
            let length = (end - PREFIX - position) as u32;
            let at = position as usize;
            bytes[at..at + 8].copy_from_slice(&u64::from(1 << 31 | length).to_le_bytes());
            bytes[at + 8..at + 16]
                .copy_from_slice(&format::place(SALT, position, length).to_le_bytes());
        }
        let source = bytes.as_slice();
        let found = find_record(&source, SALT, FIRST..end, &mut Patience::of(end)).unwrap();
        assert!(found.is_some_and(|found| !found.is_sure));
    }

    #[test]
    fn what_is_not_zero_is_found() {
        let mut bytes = vec![0; 200_000];
        assert_eq!(not_zero(&bytes.as_slice(), 0..200_000), Ok(None));
        bytes[70_000] = 1;
        assert_eq!(not_zero(&bytes.as_slice(), 5..200_000), Ok(Some(70_000..70_001)));
        bytes[199_999] = 1;
        assert_eq!(not_zero(&bytes.as_slice(), 5..200_000), Ok(Some(70_000..200_000)));
        assert_eq!(not_zero(&bytes.as_slice(), 70_001..199_999), Ok(None));
    }
}

//! Where a function will return to, from the tables that compilers write for exceptions and
//! debuggers (`.eh_frame`): no guess among the words on the stack, of which some are return
//! addresses of earlier calls.
//!
//! Only what the C library's own functions need is understood: a frame that is found from the stack
//! pointer. Of anything else nothing is said. Tables: "Exception Frames" in the Linux Standard
//! Base, DWARF 4, section 6.4.

use crate::sys::objects::Object;

/// The stack pointer and the return address, as the tables number registers.
#[cfg(target_arch = "x86_64")]
const REGISTERS: (u64, u64) = (7, 16);
#[cfg(not(target_arch = "x86_64"))]
const REGISTERS: (u64, u64) = (31, 30);

/// How a frame is found: from the stack pointer, so many bytes above it is its upper end; there the
/// return address is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// From the stack pointer to the end of the frame.
    pub(super) size: i64,
    pub(super) saved: Saved,
    /// The function's first instruction, and its length.
    pub(super) function: (usize, usize),
}

/// Where the return address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Saved {
    /// Still in its register.
    Register,
    /// So far from the end of the frame.
    At(i64),
    /// Elsewhere, or nowhere.
    Unknown,
}

/// The function that the tables of `object` have at `pc`: its first instruction, and its length.
pub(super) fn function_at(object: &Object<'_>, pc: usize) -> Option<(usize, usize)> {
    let entry = Entry::read(object, find(object, pc)?)?;
    entry.common()?.range(&entry).filter(|(start, length)| pc.wrapping_sub(*start) < *length)
}

/// What the tables of `object` say of the frame of the code at `pc`.
pub(super) fn frame_at(object: &Object<'_>, pc: usize) -> Option<Frame> {
    let entry = Entry::read(object, find(object, pc)?)?;
    let common = entry.common()?;
    let function @ (start, length) = common.range(&entry)?;
    if pc.wrapping_sub(start) >= length {
        return None;
    }
    let mut rules = Rules::default();
    rules.run(&common, common.instructions()?, None)?;
    rules.initial = rules.now;
    rules.run(&common, common.instructions_of(&entry)?, Some(pc.wrapping_sub(start) as u64))?;
    let (register, size) = rules.now.end?;
    let frame = Frame { size, saved: rules.now.saved, function };
    (register == REGISTERS.0 && size >= 0).then_some(frame)
}

/// The description of the function at `pc`: its place, by the sorted table that linkers add
/// (`.eh_frame_hdr`).
fn find(object: &Object<'_>, pc: usize) -> Option<usize> {
    /// `PT_GNU_EH_FRAME`, elf.h.
    const TABLES: u32 = 0x6474_e550;
    /// Version 1; a pointer of 4 bytes, a count of 4 bytes, and pairs of 4 bytes each that count
    /// from here.
    const KNOWN: [u8; 4] = [1, 0x1b, 0x03, 0x3b];
    let head = object.the(TABLES)?;
    let bytes: [u8; 12] = bytes(object, head)?;
    let count = bytes
        .starts_with(&KNOWN)
        .then(|| u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]))?;
    let place = |distance: &[u8]| {
        Some(head.wrapping_add_signed(i32::from_le_bytes(distance.try_into().ok()?) as isize))
    };
    let pair = |index: u32| self::bytes::<8>(object, head + 12 + index as usize * 8);
    let (mut low, mut high) = (0, count);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if place(&pair(middle)?[..4])? <= pc {
            low = middle;
        } else {
            high = middle;
        }
    }
    let found = pair(low).filter(|_| count > 0)?;
    (place(&found[..4])? <= pc).then(|| place(&found[4..]))?
}

fn bytes<const N: usize>(object: &Object<'_>, address: usize) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (object.read(address, &mut bytes) == N).then_some(bytes)
}

/// One entry of `.eh_frame`: of a function, or what several have in common.
struct Entry<'a> {
    object: &'a Object<'a>,
    /// Where `bytes` come from.
    at: usize,
    bytes: [u8; LONGEST],
    length: usize,
}

const LONGEST: usize = 512;

impl<'a> Entry<'a> {
    fn read(object: &'a Object<'a>, at: usize) -> Option<Self> {
        let length = u32::from_le_bytes(bytes(object, at)?) as usize;
        let mut entry = Self { object, at: at + 4, bytes: [0; LONGEST], length };
        // A length of all ones would be another format.
        let room = entry.bytes.get_mut(..length)?;
        (length > 4 && object.read(at + 4, room) == length).then_some(entry)
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// The first number: 0, or how far back the common entry lies.
    fn back(&self) -> usize {
        u32::from_le_bytes([self.bytes[0], self.bytes[1], self.bytes[2], self.bytes[3]]) as usize
    }

    fn common(&self) -> Option<Common<'a>> {
        let back = self.back();
        let entry = Self::read(self.object, self.at.checked_sub(back)?)
            .filter(|entry| back != 0 && entry.back() == 0)?;
        Common::of(entry)
    }
}

/// What several functions have in common.
struct Common<'a> {
    entry: Entry<'a>,
    code_unit: u64,
    data_unit: i64,
    /// How addresses are written.
    encoding: u8,
    /// Whether each entry has a length of more that can be skipped.
    augmented: bool,
    /// Where the instructions begin.
    begin: usize,
}

impl<'a> Common<'a> {
    fn of(entry: Entry<'a>) -> Option<Self> {
        let mut rest = Bytes(entry.bytes().get(4..)?);
        let version = rest.byte()?;
        let text = rest.text()?;
        let (mut encoding, augmented) = (0, text.first() == Some(&b'z'));
        let (code_unit, data_unit) = (rest.number()?, rest.signed()?);
        let link = if version == 1 { u64::from(rest.byte()?) } else { rest.number()? };
        if !matches!(version, 1 | 3) || link != REGISTERS.1 || !(augmented || text.is_empty()) {
            return None;
        }
        if augmented {
            let length = rest.number()? as usize;
            let mut more = Bytes(rest.take(length)?);
            for letter in text.iter().skip(1) {
                match letter {
                    b'R' => encoding = more.byte()?,
                    b'L' => drop(more.byte()?),
                    b'P' => {
                        let how = more.byte()?;
                        more.take(if how & 0xf == 0xb || how & 0xf == 3 { 4 } else { 8 })?;
                    }
                    // The frame of a signal handler, or another key for signatures.
                    b'S' | b'B' => {}
                    _ => return None,
                }
            }
        }
        let begin = entry.length - rest.0.len();
        Some(Self { entry, code_unit, data_unit, encoding, augmented, begin })
    }

    fn instructions(&self) -> Option<Bytes<'_>> {
        self.entry.bytes().get(self.begin..).map(Bytes)
    }

    /// Bytes of an address in an entry: 4 from where it stands, or a whole one.
    fn width(&self) -> Option<usize> {
        match self.encoding {
            0x1b => Some(4),
            0x00 => Some(8),
            _ => None,
        }
    }

    /// Where the function of `entry` begins, and how long it is.
    fn range(&self, entry: &Entry<'_>) -> Option<(usize, usize)> {
        let numbers = entry.bytes().get(4..)?;
        Some(if self.width()? == 4 {
            let distance = i32::from_le_bytes(numbers.get(..4)?.try_into().ok()?);
            let length = u32::from_le_bytes(numbers.get(4..8)?.try_into().ok()?);
            ((entry.at + 4).wrapping_add_signed(distance as isize), length as usize)
        } else {
            let start = u64::from_le_bytes(numbers.get(..8)?.try_into().ok()?);
            (start as usize, u64::from_le_bytes(numbers.get(8..16)?.try_into().ok()?) as usize)
        })
    }

    fn instructions_of<'b>(&self, entry: &'b Entry<'_>) -> Option<Bytes<'b>> {
        let mut rest = Bytes(entry.bytes().get(4 + 2 * self.width()?..)?);
        if self.augmented {
            let length = rest.number()? as usize;
            rest.take(length)?;
        }
        Some(rest)
    }
}

/// Bytes that are read from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|taken| taken[0])
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.take(length);
        self.byte()?;
        text
    }

    /// Seven bits in each byte, the lowest first.
    fn number(&mut self) -> Option<u64> {
        self.bits().map(|(number, ..)| number)
    }

    fn signed(&mut self) -> Option<i64> {
        let (number, bits, last) = self.bits()?;
        let negative = last & 0x40 != 0 && bits < 64;
        Some((number | if negative { u64::MAX << bits } else { 0 }) as i64)
    }

    fn bits(&mut self) -> Option<(u64, u32, u8)> {
        let (mut number, mut bits) = (0, 0);
        loop {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(bits)?;
            bits += 7;
            if byte & 0x80 == 0 {
                return Some((number, bits, byte));
            }
        }
    }

    /// A plain number of so many bytes.
    fn plain(&mut self, count: usize) -> Option<u64> {
        self.take(count)
            .map(|taken| taken.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

/// One line of the table that the instructions describe.
#[derive(Clone, Copy)]
struct Rule {
    /// A register and a distance from it: the end of the frame. None where it is computed
    /// otherwise.
    end: Option<(u64, i64)>,
    saved: Saved,
}

struct Rules {
    now: Rule,
    initial: Rule,
    kept: [Rule; Rules::DEPTH],
    depth: usize,
}

impl Default for Rules {
    fn default() -> Self {
        let nothing = Rule { end: None, saved: Saved::Register };
        Self { now: nothing, initial: nothing, kept: [nothing; Self::DEPTH], depth: 0 }
    }
}

impl Rules {
    const DEPTH: usize = 8;

    /// Runs instructions up to the line that holds `until` bytes into the function; none: all.
    fn run(&mut self, common: &Common, mut rest: Bytes<'_>, until: Option<u64>) -> Option<()> {
        let mut at = 0_u64;
        while let Some(instruction) = rest.byte() {
            let low = u64::from(instruction & 0x3f);
            let advance = match instruction {
                0x40..=0x7f => low,
                0x02..=0x04 => rest.plain(1 << (instruction - 2))?,
                _ => {
                    self.step(common, instruction, &mut rest)?;
                    continue;
                }
            };
            at = at.checked_add(advance.checked_mul(common.code_unit)?)?;
            if until.is_some_and(|until| at > until) {
                return Some(());
            }
        }
        Some(())
    }

    fn step(&mut self, common: &Common, instruction: u8, rest: &mut Bytes<'_>) -> Option<()> {
        let low = u64::from(instruction & 0x3f);
        let unit = common.data_unit;
        let scaled = |number: u64| (number as i64).checked_mul(unit);
        match instruction {
            0x80..=0xbf => {
                let place = scaled(rest.number()?)?;
                self.save(low, Saved::At(place));
            }
            0xc0..=0xff => self.save(low, self.initial.saved),
            0x00 | 0x2d => {} // nothing; the return address is signed from here on
            0x05 => {
                let register = rest.number()?;
                let place = scaled(rest.number()?)?;
                self.save(register, Saved::At(place));
            }
            0x06 => {
                let register = rest.number()?;
                self.save(register, self.initial.saved);
            }
            0x07 | 0x09 => {
                // Undefined, or in another register.
                let register = rest.number()?;
                if instruction == 0x09 {
                    rest.number()?;
                }
                self.save(register, Saved::Unknown);
            }
            0x08 => {
                let register = rest.number()?;
                self.save(register, Saved::Register);
            }
            0x0a => {
                *self.kept.get_mut(self.depth)? = self.now;
                self.depth += 1;
            }
            0x0b => {
                self.depth = self.depth.checked_sub(1)?;
                self.now = self.kept[self.depth];
            }
            0x0c => self.now.end = Some((rest.number()?, rest.number()? as i64)),
            0x0d => self.now.end = Some((rest.number()?, self.now.end?.1)),
            0x0e => self.now.end = Some((self.now.end?.0, rest.number()? as i64)),
            0x0f => {
                let length = rest.number()? as usize;
                rest.take(length)?;
                self.now.end = None;
            }
            0x10 | 0x16 => {
                let register = rest.number()?;
                let length = rest.number()? as usize;
                rest.take(length)?;
                self.save(register, Saved::Unknown);
            }
            0x11 => {
                let register = rest.number()?;
                let place = rest.signed()?.checked_mul(unit)?;
                self.save(register, Saved::At(place));
            }
            0x12 => self.now.end = Some((rest.number()?, rest.signed()?.checked_mul(unit)?)),
            0x13 => self.now.end = Some((self.now.end?.0, rest.signed()?.checked_mul(unit)?)),
            0x14 | 0x15 => {
                let register = rest.number()?;
                rest.number()?;
                self.save(register, Saved::Unknown);
            }
            0x2e => drop(rest.number()?),
            _ => return None,
        }
        Some(())
    }

    fn save(&mut self, register: u64, place: Saved) {
        if register == REGISTERS.1 {
            self.now.saved = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::objects;

    #[test]
    fn numbers_of_seven_bits_a_byte() {
        assert_eq!(Bytes(&[0xe5, 0x8e, 0x26]).number(), Some(624_485));
        assert_eq!(Bytes(&[0x78]).signed(), Some(-8));
        assert_eq!(Bytes(&[0x80, 0x7f]).signed(), Some(-128));
        assert_eq!(Bytes(&[0x80]).number(), None);
        assert_eq!(Bytes(&[0xff; 12]).number(), None);
        assert_eq!(Bytes(&[1, 2, 3]).plain(2), Some(0x0201));
    }

    /// At a function's first instruction the frame is what the call has pushed.
    #[test]
    fn functions_of_the_c_library_begin_with_nothing_but_the_return_address() {
        let mut room = objects::Room::new();
        let begun =
            if cfg!(target_arch = "x86_64") { (8, Saved::At(-8)) } else { (0, Saved::Register) };
        for function in
            [libc::write as *const (), libc::sendmsg as *const (), libc::splice as *const ()]
        {
            let object = objects::holding(function as usize, &mut room).unwrap();
            let frame = frame_at(&object, function as usize).unwrap();
            assert_eq!((frame.size, frame.saved), begun);
            assert_eq!(frame.function.0, function as usize);
        }
        let object = objects::holding(libc::write as *const () as usize, &mut room).unwrap();
        assert_eq!(frame_at(&object, object.base), None);
        assert_eq!(frame_at(&object, 0), None);
        assert_eq!(frame_at(&object, usize::MAX), None);
    }
}

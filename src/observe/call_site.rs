//! Where the call leads that a return address follows.
//!
//! A function that ends by jumping to another (a tail call) leaves no trace on the stack: the
//! return address is then its caller's, in whose object the write was not made. So it is asked
//! where the call before that address leads, as far as that can be seen: a direct call, by way of
//! the linker's stub where there is one; one through a word of memory whose place is in the
//! instruction (the global offset table, a static function pointer); one through a register that
//! was loaded from such a word shortly before. Words are looked at as they are now.

use crate::sys::memory;
use crate::sys::pages::LEAST_PAGE as PAGE;

/// So many bytes before the return address are looked at.
const BEFORE: usize = 64;

/// What `resolve` makes of the address that the call before `back` leads to. None where that is not
/// to be seen.
pub(super) fn leads<T>(back: usize, resolve: impl Fn(usize) -> Option<T>) -> Option<T> {
    let mut code = [0; BEFORE];
    let mut length = BEFORE;
    // At the start of a segment there may be nothing before.
    if memory::read(back.checked_sub(BEFORE)?, &mut code) < BEFORE {
        length = BEFORE.min(back % PAGE);
        (memory::read(back - length, code.get_mut(..length)?) == length).then_some(())?;
    }
    let resolve = |target: usize| resolve(behind_stub(target).unwrap_or(target));
    code.get(..length).and_then(|code| processor::leads(code, back, &resolve))
}

/// What `resolve` makes of the first address, among those that a function jumps to at its end, of
/// which it makes something. `length` bytes of it are looked at.
pub(super) fn jumps<T>(
    start: usize,
    length: usize,
    resolve: impl Fn(usize) -> Option<T>,
) -> Option<T> {
    let mut code = [0; 1024];
    let length = memory::read(start, code.get_mut(..length.min(1024))?);
    let inside = |target: usize| target.wrapping_sub(start) < length;
    processor::jumps(code.get(..length)?, start, &|target| {
        (!inside(target)).then(|| resolve(behind_stub(target).unwrap_or(target)))?
    })
}

/// Where the linker's stub at `address` jumps to.
fn behind_stub(address: usize) -> Option<usize> {
    let mut code = [0; 24];
    let length = memory::read(address, &mut code);
    processor::behind_stub(code.get(..length)?, address)
}

#[cfg(target_arch = "aarch64")]
use aarch64 as processor;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use unsupported as processor;
#[cfg(target_arch = "x86_64")]
use x86_64 as processor;

/// Of other processors' instructions nothing is known.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod unsupported {
    pub(super) fn leads<T>(_: &[u8], _: usize, _: &impl Fn(usize) -> Option<T>) -> Option<T> {
        None
    }
    pub(super) fn jumps<T>(_: &[u8], _: usize, _: &impl Fn(usize) -> Option<T>) -> Option<T> {
        None
    }
    pub(super) fn behind_stub(_: &[u8], _: usize) -> Option<usize> {
        None
    }
}

#[cfg(any(target_arch = "x86_64", test))]
mod x86_64 {
    use crate::sys::memory::word;

    fn distance(bytes: &[u8]) -> Option<isize> {
        Some(i32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as isize)
    }

    pub(super) fn leads<T>(
        code: &[u8],
        back: usize,
        resolve: &impl Fn(usize) -> Option<T>,
    ) -> Option<T> {
        let last =
            |length: usize| code.len().checked_sub(length).and_then(|start| code.get(start..));
        // call f
        let direct = last(5).filter(|call| call[0] == 0xe8).and_then(|call| distance(&call[1..]));
        // call *word(%rip)
        let through = last(6)
            .filter(|call| call.starts_with(&[0xff, 0x15]))
            .and_then(|call| distance(&call[2..]));
        let behind = |distance| back.wrapping_add_signed(distance);
        let seen = direct.map(behind).and_then(resolve);
        seen.or_else(|| word(behind(through?)).and_then(resolve)).or_else(|| {
            let (register, length, in_memory) = register(code)?;
            let mut values = loaded(code, back, code.len() - length, register);
            values.find_map(|value| resolve(if in_memory { word(value)? } else { value }))
        })
    }

    /// jmp f, jmp *word(%rip)
    pub(super) fn jumps<T>(
        code: &[u8],
        start: usize,
        resolve: &impl Fn(usize) -> Option<T>,
    ) -> Option<T> {
        (0..code.len()).find_map(|at| {
            let behind = |length: usize| {
                let distance = distance(code.get(at + length - 4..)?)?;
                Some((start + at + length).wrapping_add_signed(distance))
            };
            match code.get(at..)? {
                [0xe9, ..] => behind(5).and_then(resolve),
                [0xff, 0x25, ..] => behind(6).and_then(word).and_then(resolve),
                _ => None,
            }
        })
    }

    /// The register of a call of it, or of the word that it points to, and how long the call is.
    fn register(code: &[u8]) -> Option<(u8, usize, bool)> {
        let (before, call) = code.split_at_checked(code.len().checked_sub(2)?)?;
        let (&[0xff, how], low) = (call, call[1] & 7) else { return None };
        let in_memory = match how & 0xf8 {
            0xd0 => false,
            // 4 and 5 mean other addresses.
            0x10 if low != 4 && low != 5 => true,
            _ => return None,
        };
        Some(if before.last() == Some(&0x41) {
            (low + 8, 3, in_memory)
        } else {
            (low, 2, in_memory)
        })
    }

    /// The words that `mov word(%rip), register` before `end` would load now.
    fn loaded(code: &[u8], back: usize, end: usize, register: u8) -> impl Iterator<Item = usize> {
        let start = back.wrapping_sub(code.len());
        let prefix = if register < 8 { 0x48 } else { 0x4c };
        let wanted = [prefix, 0x8b, 0x05 | (register & 7) << 3];
        let places =
            (0..end.saturating_sub(6)).rev().filter(move |at| code[*at..].starts_with(&wanted));
        places.filter_map(move |at| {
            word((start + at + 7).wrapping_add_signed(distance(&code[at + 3..])?))
        })
    }

    /// `endbr64` or not, `bnd` or not, jmp *word(%rip).
    pub(super) fn behind_stub(code: &[u8], address: usize) -> Option<usize> {
        let rest = code.strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa]).unwrap_or(code);
        let rest = rest.strip_prefix(&[0xf2]).unwrap_or(rest).strip_prefix(&[0xff, 0x25])?;
        let end = address + (code.len() - rest.len()) + 4;
        word(end.wrapping_add_signed(distance(rest)?))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        static SLOT: usize = 0x1234_5678;

        /// `code` and the distance from its end, `tail` bytes later, to `SLOT`, as if it lay `near`
        /// there.
        fn with_slot(code: &[u8], tail: &[u8], near: usize) -> Vec<u8> {
            let end = near + code.len() + 4;
            let distance = (std::ptr::from_ref(&SLOT) as usize).wrapping_sub(end) as i32;
            [code, &distance.to_le_bytes(), tail].concat()
        }

        fn found(code: &[u8], near: usize, target: usize) -> bool {
            leads(code, near + code.len(), &|address| (address == target).then_some(())).is_some()
        }

        #[test]
        fn calls_lead_where_their_bytes_say() {
            let near = std::ptr::from_ref(&SLOT) as usize & !0xfff;
            assert!(found(&[0xe8, 0x10, 0, 0, 0], near, near + 0x15));
            assert!(!found(&[0xe9, 0x10, 0, 0, 0], near, near + 0x15));
            assert!(found(&with_slot(&[0xff, 0x15], &[], near), near, SLOT));
            assert!(!found(&with_slot(&[0xff, 0x25], &[], near), near, SLOT));
            // mov slot(%rip), %rax; call *%rax; then %r12
            assert!(found(&with_slot(&[0x48, 0x8b, 0x05], &[0x90, 0xff, 0xd0], near), near, SLOT));
            assert!(found(&with_slot(&[0x4c, 0x8b, 0x25], &[0x41, 0xff, 0xd4], near), near, SLOT));
            assert!(!found(&with_slot(&[0x48, 0x8b, 0x05], &[0xff, 0xd1], near), near, SLOT));
            assert!(!found(&[0xff, 0xd0], near, SLOT) && !found(&[], near, SLOT));
            for stub in [&[0xff, 0x25][..], &[0xf3, 0x0f, 0x1e, 0xfa, 0xf2, 0xff, 0x25]] {
                assert_eq!(behind_stub(&with_slot(stub, &[0x90; 4], near), near), Some(SLOT));
            }
            assert_eq!(behind_stub(&[0x55, 0x48, 0x89, 0xe5], near), None);
        }

        #[test]
        fn jumps_lead_where_their_bytes_say() {
            let found = |code: &[u8], near: usize, target: usize| {
                jumps(code, near, &|address| (address == target).then_some(())).is_some()
            };
            let near = std::ptr::from_ref(&SLOT) as usize & !0xfff;
            assert!(found(&[0x90, 0xe9, 0x10, 0, 0, 0], near, near + 0x16));
            assert!(!found(&[0x90, 0xe8, 0x10, 0, 0, 0], near, near + 0x16));
            assert!(found(&with_slot(&[0xff, 0x25], &[], near), near, SLOT));
            assert!(!found(&[0xe9, 0x10, 0, 0], near, near + 0x15) && !found(&[], near, near));
        }
    }
}

#[cfg(any(target_arch = "aarch64", test))]
mod aarch64 {
    use crate::sys::memory::word;

    fn instructions(code: &[u8]) -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator + '_ {
        code.rchunks_exact(4)
            .rev()
            .map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// `bits` from `from` on, with the sign of the last one.
    fn signed(instruction: u32, from: u32, bits: u32) -> isize {
        ((instruction << (32 - from - bits)).cast_signed() >> (32 - bits)) as isize
    }

    /// The page that `adrp` at `address` names, and its register.
    fn page(instruction: u32, address: usize) -> Option<(u32, usize)> {
        let pages = signed(instruction, 5, 19) << 2 | (instruction >> 29 & 3) as isize;
        let known = instruction & 0x9f00_0000 == 0x9000_0000;
        known.then(|| (instruction & 31, (address & !0xfff).wrapping_add_signed(pages << 12)))
    }

    /// Of `ldr register, [base, #offset]`.
    fn load(instruction: u32) -> Option<(u32, u32, usize)> {
        let known = instruction & 0xffc0_0000 == 0xf940_0000;
        known.then_some((
            instruction & 31,
            instruction >> 5 & 31,
            (instruction >> 10 & 0xfff) as usize * 8,
        ))
    }

    pub(super) fn leads<T>(
        code: &[u8],
        back: usize,
        resolve: &impl Fn(usize) -> Option<T>,
    ) -> Option<T> {
        let mut before = instructions(code);
        let call = before.next_back()?;
        if call & 0xfc00_0000 == 0x9400_0000 {
            return resolve((back - 4).wrapping_add_signed(signed(call, 0, 26) << 2));
        }
        // blr, and blraa and its like.
        if call & 0xffff_fc1f != 0xd63f_0000 && call & 0xfeff_f800 != 0xd63f_0800 {
            return None;
        }
        let count = before.len();
        held(code, back - 4 - count * 4, count, call >> 5 & 31).and_then(resolve)
    }

    /// What `register` holds before line `end` of `code`, which begins at `start`: from the last
    /// line that sets it back to a page, by way of sums, words of memory, copies, and what was put
    /// aside on the stack.
    fn held(code: &[u8], start: usize, end: usize, register: u32) -> Option<usize> {
        /// SP, as a base.
        const STACK: u32 = 31;
        let mut before = instructions(code).take(end).enumerate();
        let (at, line) = before.rfind(|(_, line)| sets(*line, register))?;
        let from = |register| held(code, start, at, register);
        if let Some((_, page)) = page(line, start + at * 4) {
            Some(page)
        } else if line & 0xffc0_0000 == 0x9100_0000 {
            from(line >> 5 & 31)?.checked_add((line >> 10 & 0xfff) as usize) // add
        } else if line & 0xffe0_ffe0 == 0xaa00_03e0 {
            from(line >> 16 & 31) // mov
        } else if let (_, STACK, _) = load(line)? {
            // A str to where this ldr loads from.
            let (at, put) = before.rfind(|(_, put)| (put ^ line) & !31 == 1 << 22)?;
            held(code, start, at, put & 31)
        } else {
            let (_, base, offset) = load(line)?;
            word(from(base)?.checked_add(offset)?)
        }
    }

    /// Whether a line sets `register`, as all may whose lowest bits name it, but for branches and
    /// stores; of a pair that is loaded it may be the second.
    fn sets(line: u32, register: u32) -> bool {
        let branch = line >> 26 & 7 == 5;
        let store = line >> 25 & 5 == 4 && line & 1 << 22 == 0;
        let pair = line & 0x3e40_0000 == 0x2840_0000;
        line & 31 == register && !branch && !store || pair && line >> 10 & 31 == register
    }

    /// b
    pub(super) fn jumps<T>(
        code: &[u8],
        start: usize,
        resolve: &impl Fn(usize) -> Option<T>,
    ) -> Option<T> {
        let lines = code
            .chunks_exact(4)
            .map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        let branches = lines.enumerate().filter(|(_, line)| line & 0xfc00_0000 == 0x1400_0000);
        let mut targets = branches
            .map(|(at, line)| (start + at * 4).wrapping_add_signed(signed(line, 0, 26) << 2));
        targets.find_map(resolve)
    }

    /// `bti c` or not, adrp, ldr, add, br.
    pub(super) fn behind_stub(code: &[u8], address: usize) -> Option<usize> {
        const LANDING: u32 = 0xd503_245f;
        let code = code.get(..code.len() & !3)?;
        let mut rest = instructions(code).enumerate().skip_while(|(_, line)| *line == LANDING);
        let (at, first) = rest.next()?;
        let (base, page) = page(first, address + at * 4)?;
        let (_, from, offset) = load(rest.next()?.1)?;
        (from == base).then(|| word(page + offset))?
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn bytes(lines: &[u32]) -> Vec<u8> {
            lines.iter().flat_map(|line| line.to_le_bytes()).collect()
        }

        static SLOT: usize = 0x1234;

        #[test]
        fn calls_lead_where_their_bits_say() {
            let found = |lines: &[u32], target: usize| {
                let code = bytes(lines);
                leads(&code, 0x10_0000 + code.len(), &|address| (address == target).then_some(()))
                    .is_some()
            };
            assert!(found(&[0x9400_0004], 0x10_0010));
            assert!(found(&[0x97ff_ffff], 0xf_fffc));
            assert!(!found(&[0x1400_0004], 0x10_0010));
            // A word of this program at a page and an offset: adrp x16; ldr x17, [x16, #offset].
            let slot = std::ptr::from_ref(&SLOT) as usize;
            let near = (slot & !0xfff) + 0x100;
            let load = 0xf940_0211 | ((slot & 0xfff) as u32 / 8) << 10;
            let through = bytes(&[0x9000_0010, load, 0xd503_201f, 0xd63f_0220]);
            let seen = leads(&through, near + through.len(), &Some);
            assert_eq!(seen, Some(SLOT));
            // The same with a sum, by the stack and by another register: add x0, x16, #offset;
            // ldr x1, [x0]; str x1, [sp, #40]; mov x1, x5; ldr x2, [sp, #40]; mov x3, x2; blr x3.
            let sum = 0x9100_0200 | ((slot & 0xfff) as u32) << 10;
            let mut lines = [
                0x9000_0010,
                sum,
                0xf940_0001,
                0xf900_17e1,
                0xaa05_03e1,
                0xf940_17e2,
                0xaa02_03e3,
                0xd63f_0060,
            ];
            let held = |lines: &[u32]| leads(&bytes(lines), near + lines.len() * 4, &Some);
            assert_eq!(held(&lines), Some(SLOT));
            // Whatever sets a register last counts, known (ldp x2, x4, [x19]) or not.
            for (line, other) in [(5, 0xa940_1262), (5, 0xa940_0a64), (1, 0x8b01_0200)] {
                let known = std::mem::replace(&mut lines[line], other);
                assert_eq!(held(&lines), None);
                lines[line] = known;
            }
            // Stores and branches set none: str x3, [x0]; b.
            for other in [0xf900_0003, 0x1400_0003] {
                lines[4] = other;
                assert_eq!(held(&lines), Some(SLOT));
            }
            let stub = bytes(&[0xd503_245f, 0x9000_0010, load, 0x9100_0210, 0xd61f_0220]);
            assert_eq!(behind_stub(&stub, near), Some(SLOT));
            assert_eq!(behind_stub(&bytes(&[0xd503_201f]), near), None);
            let branch = bytes(&[0xd503_201f, 0x1400_0004]);
            assert_eq!(jumps(&branch, near, &Some), Some(near + 0x14));
            assert_eq!(jumps(&bytes(&[0x9400_0004]), near, &Some), None);
            assert_eq!(page(0xb000_0010, 0x1234), Some((16, 0x2000)));
            assert_eq!(page(0xf0ff_fff0, 0x1_2345), Some((16, 0x1_1000)));
        }
    }
}

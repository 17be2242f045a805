//! Where the first argument of a system call is once the call has returned, on aarch64.
//!
//! The result takes its place in x0. But what was put there came from somewhere, and in the C
//! library's wrappers, in Go's and in much of what compilers make of a system call it is there
//! still: in a register that calls preserve, or on the stack. So the instructions before `svc` are
//! read backwards, as far as they are a straight line that nothing jumps into and of which each
//! instruction is known. What is not certain is unknown.

use crate::sys::pages::LEAST_PAGE as PAGE;

/// How many instructions before `svc` are looked at.
const LINE: usize = 16;
/// Beyond the page of the system call branches are looked for that far.
#[cfg(target_arch = "aarch64")]
const BEYOND: usize = 1024;

/// Where a value still is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The lower half of this register.
    Register(usize),
    /// Four bytes that far above the stack pointer.
    Stack(usize),
    /// Nowhere: it was part of an instruction.
    Constant(u16),
}

/// What one instruction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// To no register, and not to memory.
    Nothing,
    /// The lower half of the second goes into the first.
    Copies(u32, u32),
    Constant(u32, u16),
    /// One or two registers get something else.
    Changes(u32, u32),
    /// One or two registers are loaded from the stack: four bytes of each that far above the stack
    /// pointer.
    Loads([(u32, usize); 2]),
    Stores,
}

/// The register number that means the stack pointer or zero.
const NONE: u32 = 31;

fn step(instruction: u32) -> Option<Step> {
    let i = instruction;
    let field = |from: u32| i >> from & 31;
    let (d, n, second, m) = (field(0), field(5), field(10), field(16));
    let scaled = |size: u32| ((i >> 10 & 0xfff) << size) as usize;
    if i & 0x7fe0_ffe0 == 0x2a00_03e0 {
        return Some(if m == NONE { Step::Constant(d, 0) } else { Step::Copies(d, m) }); // mov d, m
    }
    if i & 0xffff_fc00 == 0x9340_7c00 {
        return Some(Step::Copies(d, n)); // sxtw d, n
    }
    if i & 0x7fe0_0000 == 0x5280_0000 {
        return Some(Step::Constant(d, (i >> 5) as u16)); // mov d, #constant of 16 bits
    }
    if i & 0x1f80_0000 == 0x1280_0000
        || i & 0x1f00_0000 == 0x1000_0000
        || i & 0xfff0_0000 == 0xd530_0000
    {
        return Some(Step::Changes(d, NONE)); // movn, movz, movk; adr, adrp; mrs
    }
    if i & 0x1f80_0000 == 0x1100_0000 {
        // add, sub of a constant; without flags register 31 is the stack pointer
        let moves_stack = d == NONE && i & 1 << 29 == 0;
        return (!moves_stack).then_some(Step::Changes(d, NONE));
    }
    if i & 0x3fc0_0000 == 0x3940_0000 || i & 0xffc0_0000 == 0xb980_0000 {
        // ldr, ldrh, ldrb, ldrsw with a constant offset
        let size = i >> 30;
        let loads = n == NONE && size >= 2;
        let place = [(d, scaled(size)), (NONE, 0)];
        return Some(if loads { Step::Loads(place) } else { Step::Changes(d, NONE) });
    }
    if i & 0x7fc0_0000 == 0x2940_0000 {
        // ldp with a constant offset
        let width = 4 << (i >> 31);
        let offset = (((i << 10) as i32) >> 25) as isize * width as isize;
        let loads = n == NONE && offset >= 0;
        let place = [(d, offset as usize), (second, (offset + width as isize) as usize)];
        return Some(if loads { Step::Loads(place) } else { Step::Changes(d, second) });
    }
    if i & 0x3fc0_0000 == 0x3900_0000 || i & 0x7fc0_0000 == 0x2900_0000 {
        return Some(Step::Stores); // str, strh, strb, stp with a constant offset
    }
    // nop; not bti, which says that something jumps there
    (i == 0xd503_201f).then_some(Step::Nothing)
}

/// What may be jumped to from somewhere.
enum Jump {
    To(usize),
    Anywhere,
}

fn jump(at: usize, instruction: u32) -> Option<Jump> {
    let i = instruction;
    let to = |shift: u32, unused: u32| {
        let offset = ((i << shift) as i32 >> (shift + unused)) as isize * 4;
        Some(Jump::To(at.wrapping_add_signed(offset)))
    };
    match i {
        _ if i & 0x7c00_0000 == 0x1400_0000 => to(6, 0), // b, bl
        // b.cond; cbz, cbnz
        _ if i & 0xff00_0000 == 0x5400_0000 || i & 0x7e00_0000 == 0x3400_0000 => to(8, 5),
        _ if i & 0x7e00_0000 == 0x3600_0000 => to(13, 5), // tbz, tbnz
        // br; x16 and x17 are for linkers and for calls in place of a return
        _ if i & 0xffff_fc1f == 0xd61f_0000 && !matches!(i >> 5 & 31, 16 | 17) => {
            Some(Jump::Anywhere)
        }
        _ if i & 0xfeff_f800 == 0xd61f_0800 => Some(Jump::Anywhere), // braa and its like
        _ => None,
    }
}

/// Where x0 of the `svc` at this address came from, and the address of the instruction that brought
/// it.
fn origin(svc: usize, word: impl Fn(usize) -> u32) -> Option<(Place, usize)> {
    let mut changed = 0_u32;
    let mut stored = false;
    for back in 1..=LINE {
        let at = svc.checked_sub(back * 4).filter(|at| at / PAGE == svc / PAGE)?;
        let step = step(word(at))?;
        let kept = |register: u32| register != NONE && changed >> register & 1 == 0;
        match step {
            Step::Nothing | Step::Copies(0, 0) => {}
            Step::Copies(0, from) => {
                return kept(from).then_some((Place::Register(from as usize), at));
            }
            Step::Copies(to, 0) if kept(to) => return Some((Place::Register(to as usize), at)),
            Step::Constant(0, value) => return Some((Place::Constant(value), at)),
            Step::Loads(loads) if loads.iter().any(|(to, _)| *to == 0) => {
                let slot = loads.iter().find(|(to, _)| *to == 0).map(|(_, slot)| *slot)?;
                return (!stored).then_some((Place::Stack(slot), at));
            }
            Step::Changes(0, _) | Step::Changes(_, 0) => return None,
            Step::Stores => stored = true,
            Step::Copies(to, _) | Step::Constant(to, _) => changed |= 1 << to,
            Step::Changes(one, other) | Step::Loads([(one, _), (other, _)]) => {
                changed |= 1 << one | 1 << other;
            }
        }
    }
    None
}

/// Whether these instructions, the first of them at `start`, can jump behind `from` and not behind
/// `svc`.
fn jumps_between(start: usize, code: impl Iterator<Item = u32>, from: usize, svc: usize) -> bool {
    (start..).step_by(4).zip(code).any(|(at, instruction)| match jump(at, instruction) {
        Some(Jump::To(to)) => from < to && to <= svc,
        Some(Jump::Anywhere) => true,
        None => false,
    })
}

/// Where the first argument of the system call at `svc`, which is being executed, still is, if that
/// is certain.
#[cfg(target_arch = "aarch64")]
pub(super) fn place(svc: usize) -> Option<Place> {
    let page = svc & !(PAGE - 1);
    // SAFETY: asked for within the page of `svc` only: it is being executed, so it is there.
    let word = |at: usize| unsafe { (at as *const u32).read_volatile() };
    let (place, from) = origin(svc, word)?;
    let before = svc.saturating_sub(BEYOND)..page;
    let behind = page + PAGE..svc + BEYOND;
    // Without events no system call is made.
    if crate::observe::without_events::is_on() && !(before.is_empty() && behind.is_empty()) {
        return None;
    }
    let clear = !jumps_between(page, (page..page + PAGE).step_by(4).map(word), from, svc)
        && [before, behind].into_iter().all(|part| is_clear(part, from, svc));
    clear.then_some(place)
}

/// Whether nothing in this part of the memory, which may not be there, jumps in between.
#[cfg(target_arch = "aarch64")]
fn is_clear(part: std::ops::Range<usize>, from: usize, svc: usize) -> bool {
    const PIECE: usize = 256;
    part.clone().step_by(PIECE).all(|start| {
        let length = PIECE.min(part.end - start);
        let mut code = [0_u8; PIECE];
        let Some(code) = code.get_mut(..length) else { return false };
        match crate::sys::memory::read(start, code) {
            // Nothing is there.
            0 => true,
            read if read == length => {
                let words = code.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
                !jumps_between(start, words, from, svc)
            }
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SVC: u32 = 0xd400_0001;
    const NOP: u32 = 0xd503_201f;
    const NUMBER: u32 = 0xd280_0808; // mov x8, #64
    const MOV_X0_X19: u32 = 0xaa13_03e0;
    const MOV_W0_W19: u32 = 0x2a13_03e0;
    const START: usize = 0x40_0400;

    fn at(code: &[u32], start: usize) -> Option<Place> {
        let svc = start + (code.len() - 1) * 4;
        assert_eq!(code.last(), Some(&SVC));
        let word = |at: usize| code.get(at.wrapping_sub(start) / 4).copied().unwrap_or(0);
        let (place, from) = origin(svc, word)?;
        (!jumps_between(start, code.iter().copied(), from, svc)).then_some(place)
    }

    fn found(code: &[u32]) -> Option<Place> {
        at(code, START)
    }

    #[test]
    fn a_register_that_was_moved_keeps_it() {
        assert_eq!(found(&[MOV_X0_X19, NUMBER, SVC]), Some(Place::Register(19)));
        assert_eq!(found(&[MOV_W0_W19, NOP, NUMBER, SVC]), Some(Place::Register(19)));
        // sxtw x0, w20; sxtw x19, w0 and x0 stays
        assert_eq!(found(&[0x9340_7e80, NUMBER, SVC]), Some(Place::Register(20)));
        assert_eq!(found(&[0x9340_7c13, NUMBER, SVC]), Some(Place::Register(19)));
        // mov x0, x19; sxtw x0, w0
        assert_eq!(found(&[MOV_X0_X19, 0x9340_7c00, NUMBER, SVC]), Some(Place::Register(19)));
    }

    #[test]
    fn wrappers_of_glibc_and_go_are_understood() {
        // write of a process of several threads: mov x1, x21; mov w3, w0; mov x2, x20; mov x0, x19
        let write = [0xaa15_03e1, 0x2a00_03e3, 0xaa14_03e2, MOV_X0_X19, NUMBER, SVC];
        assert_eq!(found(&write), Some(Place::Register(19)));
        // Syscall6: ldr x8, [sp, #8] and so on
        let go = [
            0xf940_07e8,
            0xf940_0be0,
            0xf940_0fe1,
            0xf940_13e2,
            0xf940_17e3,
            0xf940_1be4,
            0xf940_1fe5,
            SVC,
        ];
        assert_eq!(found(&go), Some(Place::Stack(16)));
    }

    #[test]
    fn a_register_that_was_written_since_does_not() {
        // mov x0, x1; mov x1, x2
        assert_eq!(found(&[0xaa01_03e0, 0xaa02_03e1, NUMBER, SVC]), None);
        // mov x0, x8; then the number
        assert_eq!(found(&[0xaa08_03e0, NUMBER, SVC]), None);
        // mov x3, x0; mov x3, #7
        assert_eq!(found(&[0xaa00_03e3, 0xd280_00e3, NUMBER, SVC]), None);
        // mov x0, x19; ldr x19, [x2]: and by way of add, adrp, mrs, ldp
        for other in [0xf940_0053, 0x9100_4053, 0x9000_0013, 0xd53b_d053, 0xa940_4c41] {
            assert_eq!(found(&[MOV_X0_X19, other, NUMBER, SVC]), None, "{other:#x}");
        }
    }

    #[test]
    fn what_lies_between_and_writes_other_registers_does_no_harm() {
        // add x1, sp, #16; adrp x2, ...; ldr x2, [x2, #8]; ldp x3, x4, [x5]; str x3, [sp, #8]; cmp
        // x3, #0
        let between =
            [0x9100_43e1, 0x9000_0002, 0xf940_0442, 0xa940_10a3, 0xf900_07e3, 0xf100_007f];
        for other in between {
            assert_eq!(
                found(&[MOV_X0_X19, other, NUMBER, SVC]),
                Some(Place::Register(19)),
                "{other:#x}"
            );
        }
    }

    #[test]
    fn a_slot_of_the_stack_keeps_it_unless_something_was_stored_since() {
        // ldr x0, [sp, #16]; ldr w0, [sp, #28]; ldrsw x0, [sp, #28]; ldp x0, x1, [sp, #32]; ldp x1,
        // x0, [sp, #32]; ldp w1, w0, [sp, #32]
        for (load, slot) in [
            (0xf940_0be0, 16),
            (0xb940_1fe0, 28),
            (0xb980_1fe0, 28),
            (0xa942_07e0, 32),
            (0xa942_03e1, 40),
            (0x2944_03e1, 36),
        ] {
            assert_eq!(found(&[load, NUMBER, SVC]), Some(Place::Stack(slot)), "{load:#x}");
            // str x3, [x4]; stp x3, x4, [x5]
            for store in [0xf900_0083, 0xa900_10a3] {
                assert_eq!(found(&[load, store, NUMBER, SVC]), None, "{load:#x}");
            }
        }
        // ldrb w0, [sp, #28]; ldr x0, [x1]; ldp x0, x1, [sp, #-16]
        for load in [0x3940_73e0, 0xf940_0020, 0xa97f_07e0] {
            assert_eq!(found(&[load, NUMBER, SVC]), None, "{load:#x}");
        }
    }

    #[test]
    fn a_constant_is_known() {
        // mov w0, #2; mov x0, xzr; and movn, movk, a shifted one
        assert_eq!(found(&[0x5280_0040, NUMBER, SVC]), Some(Place::Constant(2)));
        assert_eq!(found(&[0xaa1f_03e0, NUMBER, SVC]), Some(Place::Constant(0)));
        for other in [0x9280_0000, 0xf280_0040, 0xd2a0_0040] {
            assert_eq!(found(&[other, NUMBER, SVC]), None, "{other:#x}");
        }
    }

    #[test]
    fn what_is_not_understood_is_unknown() {
        // bl; ldp x29, x30, [sp], #16; add sp, sp, #16; csel x0, x1, x2, eq; ret; svc; blr x3; bti
        // j; nothing at all
        for other in [
            0x9400_0010,
            0xa8c1_7bfd,
            0x9100_43ff,
            0x9a82_0020,
            0xd65f_03c0,
            SVC,
            0xd63f_0060,
            0xd503_249f,
            0,
        ] {
            assert_eq!(found(&[MOV_X0_X19, other, NUMBER, SVC]), None, "{other:#x}");
        }
        assert_eq!(found(&[NUMBER, SVC]), None);
        let mut long = vec![NOP; LINE];
        long.insert(0, MOV_X0_X19);
        long.push(SVC);
        assert_eq!(found(&long), None, "too far");
        long.remove(1);
        assert_eq!(found(&long), Some(Place::Register(19)));
        assert_eq!(
            at(&[MOV_X0_X19, NUMBER, SVC], 0x40_0ffc),
            None,
            "the page before may not be there"
        );
    }

    #[test]
    fn a_line_that_can_be_jumped_into_is_not_straight() {
        // `mov x0, x19; 2: mov x8, #64; svc; ret; 1: mov x0, x20;` and back to 2 in each way
        for back in [0x17ff_fffc, 0x54ff_ff81, 0xb4ff_ff83, 0x3607_ff83] {
            let code = [MOV_X0_X19, NUMBER, SVC, 0xd65f_03c0, 0xaa14_03e0, back];
            let word = |at: usize| code[(at - START) / 4];
            let (_, from) = origin(START + 8, word).expect("a straight line");
            assert!(jumps_between(START, code.into_iter(), from, START + 8), "{back:#x}");
            // To the beginning, or behind it: no harm.
            let other = [MOV_X0_X19, NUMBER, SVC, 0xd65f_03c0, back];
            assert!(!jumps_between(START, other.into_iter(), from, START + 8), "{back:#x}");
        }
        // br x3 can go anywhere, br x17 leaves the function.
        assert!(jumps_between(START, [0xd61f_0060].into_iter(), START, START + 8));
        assert!(!jumps_between(START, [0xd61f_0220].into_iter(), START, START + 8));
    }
}

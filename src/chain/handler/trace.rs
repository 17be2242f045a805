//! How one delivery remembers which of our entry points it is passing, without any global state.
//!
//! The kernel gives each delivery a siginfo of 128 bytes on the signal's stack and fills 48 of
//! them; the rest it clears (`copy_siginfo_to_user`, kernel/signal.c). Handlers that pass a signal
//! on pass that siginfo along. So the marks live there: they are private to the delivery, gone with
//! it, and right on any number of threads. Each copy of the library in a process marks under its
//! own name.
//!
//! An emulator (qemu-user) clears nothing. So a mark goes when its visit is over. What is found
//! where the kernel has just called goes as well: no entry point was there before. And what stands
//! in the place of a name elsewhere, and is none, is nobody's.

use std::ffi::c_int;

/// Where the cleared part begins, in 8-byte words: 48 bytes.
const FIRST_WORD: usize = 6;
/// 128 bytes.
const WORDS: usize = 16;
/// The last word is for what one copy of the library tells another further down.
const NOTE: usize = WORDS - 1;
/// The word before it says that some copy is done with the delivery, or has jumped to what comes
/// next.
const END: usize = NOTE - 1;
const DONE: u64 = 0x7369_6777_6172_6402;
const HANDED_ON: u64 = 0x7369_6777_6172_6403;
/// "sigward" and the note's meaning: the delivery is an echo that some copy above would have
/// swallowed.
const ECHO: u64 = 0x7369_6777_6172_6401;

/// Which of its visits to an entry point, of those that are not over, a delivery is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visit {
    First,
    Second,
    Spent,
}

/// Above the 48 bits of an address: "si". Hardly anything that was left there by chance has it.
const TAG: u64 = 0x7369 << 48;

/// The name that marks of this copy of the library are kept under: the address of something that
/// each has one of.
fn name() -> u64 {
    static OWN: u8 = 0;
    std::ptr::from_ref(&OWN) as u64 & !(0xffff << 48) | TAG
}

fn is_name(word: u64) -> bool {
    word & 0xffff << 48 == TAG
}

/// Marks that this delivery passes entry `index`, and says how often it is doing so.
///
/// Where nothing can be marked, the delivery is treated as new, and `nesting` ends circles.
pub(super) fn visit(info: *mut libc::siginfo_t, index: usize) -> Visit {
    let Some(marks) = marks(info) else {
        return Visit::First;
    };
    let first = 1_u64 << (2 * index);
    let second = first << 1;
    // SAFETY: `marks` points into the live siginfo of this delivery, which only this thread uses.
    let seen = unsafe { marks.read() };
    let (visit, mark) = match (seen & first, seen & second) {
        (0, _) => (Visit::First, first),
        (_, 0) => (Visit::Second, second),
        _ => return Visit::Spent,
    };
    // SAFETY: as for the read.
    unsafe { marks.write(seen | mark) };
    visit
}

/// Takes the mark of a visit away that is over.
pub(super) fn end_visit(info: *mut libc::siginfo_t, index: usize, visit: Visit) {
    let mark = match visit {
        Visit::First => 1_u64 << (2 * index),
        Visit::Second => 2_u64 << (2 * index),
        Visit::Spent => return,
    };
    if let Some(marks) = marks(info) {
        // SAFETY: as for `visit`.
        let marks = unsafe { &mut *marks };
        *marks &= !mark;
    }
}

/// Whether visits can be marked there: not without a siginfo, and not by a fifth copy of the
/// library in one line of handlers.
pub(super) fn has_room(info: *mut libc::siginfo_t) -> bool {
    marks(info).is_some()
}

/// The word of marks of this copy of the library, made when it is the first visit.
fn marks(info: *mut libc::siginfo_t) -> Option<*mut u64> {
    const { assert!(size_of::<libc::siginfo_t>() == WORDS * 8 || cfg!(not(target_os = "linux"))) };
    if info.is_null() || size_of::<libc::siginfo_t>() < WORDS * 8 {
        return None;
    }
    let name = name();
    let words = info.cast::<u64>();
    let mut word = FIRST_WORD;
    while word + 1 < END {
        // SAFETY: `word + 1 < END`: inside the siginfo.
        let owner = unsafe { words.add(word) };
        // SAFETY: as above.
        let marks = unsafe { words.add(word + 1) };
        // SAFETY: the siginfo of a live delivery is initialised to its end by the kernel.
        let owned_by = unsafe { owner.read() };
        if owned_by == name {
            return Some(marks);
        }
        if !is_name(owned_by) {
            // SAFETY: inside the siginfo, which only this thread uses.
            unsafe { owner.write(name) };
            // SAFETY: as above.
            unsafe { marks.write(0) };
            return Some(marks);
        }
        word += 2;
    }
    None
}

/// Where the note is, if there is a siginfo to keep it.
fn note(info: *mut libc::siginfo_t) -> Option<*mut u64> {
    place(info, NOTE)
}

fn place(info: *mut libc::siginfo_t, word: usize) -> Option<*mut u64> {
    let whole = !info.is_null() && size_of::<libc::siginfo_t>() >= WORDS * 8;
    // SAFETY: inside the siginfo.
    whole.then(|| unsafe { info.cast::<u64>().add(word) })
}

/// Tells copies of the library further down that this is an echo.
pub(super) fn note_echo(info: *mut libc::siginfo_t) {
    if let Some(note) = note(info) {
        // SAFETY: inside the siginfo of this delivery, which only this thread uses.
        unsafe { note.write(ECHO) };
    }
}

/// Whether a copy of the library further up has said so.
pub(super) fn is_noted_echo(info: *mut libc::siginfo_t) -> bool {
    // SAFETY: inside the siginfo of this delivery, which the kernel initialised to its end.
    note(info).is_some_and(|note| unsafe { note.read() } == ECHO)
}

/// Forgets what is noted in the siginfo of a delivery that the kernel has just brought. A copy of
/// the library above that has jumped here finds its notes kept.
pub(super) fn begin(info: *mut libc::siginfo_t) {
    let Some(end) = place(info, END) else { return };
    // SAFETY: inside the siginfo of this delivery, which only this thread uses.
    if unsafe { end.replace(0) } == HANDED_ON {
        return;
    }
    if let Some(spare) = place(info, FIRST_WORD) {
        // SAFETY: as above, up to its end.
        unsafe { spare.write_bytes(0, WORDS - FIRST_WORD) };
    }
}

/// Notes that what comes next may be jumped to, with nothing but the kernel's own frame.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn hand_on(info: *mut libc::siginfo_t) {
    note_end(info, HANDED_ON);
}

/// Notes that we are done with this delivery: what is found in its place later is what was left of
/// it. Where the kernel had called us, nobody reads on, and the siginfo is one of no signal.
pub(super) fn end(info: *mut libc::siginfo_t, by_kernel: bool) {
    if !by_kernel {
        note_end(info, DONE);
    } else if !info.is_null() {
        // SAFETY: the siginfo in the kernel's frame, to which nobody returns but the kernel.
        unsafe { (*info).si_signo = 0 };
    }
}

fn note_end(info: *mut libc::siginfo_t, what: u64) {
    if let Some(end) = place(info, END) {
        // SAFETY: inside the siginfo of this delivery, which only this thread uses.
        unsafe { end.write(what) };
    }
}

/// Whether a copy was done with it when a handler above had called.
pub(super) fn is_done(info: *mut libc::siginfo_t) -> bool {
    // SAFETY: inside the siginfo.
    place(info, END).is_some_and(|end| unsafe { end.read_volatile() } == DONE)
}

/// A copy of the siginfo as the kernel filled it, for sending it again: without marks.
pub(super) fn without_marks(info: &libc::siginfo_t, signal: c_int) -> libc::siginfo_t {
    let mut copy = *info;
    copy.si_signo = signal;
    let words = std::ptr::from_mut(&mut copy).cast::<u64>();
    for word in FIRST_WORD..(size_of::<libc::siginfo_t>() / 8).min(WORDS) {
        // SAFETY: inside `copy`.
        let place = unsafe { words.add(word) };
        // SAFETY: as above.
        unsafe { place.write(0) };
    }
    copy
}

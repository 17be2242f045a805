//! Which library called: from what an event holds, later and outside the handler. Right or unknown.
//!
//! The first address is the system call's own. Where it lies in the C library, that function's
//! caller is asked for, and so on until the first that is not the C library's: by the tables that
//! tell where a function has its return address (`unwind`), because some of the words on the stack
//! are return addresses of calls that are long over. Then the call before that address has to lead
//! into the C library (`call_site`): else somebody was called who has jumped there, and is named
//! only if that jump is found.
//!
//! A C library without such tables (musl) leaves the words alone: those that follow a call into it
//! count, if they all are of the same object.

#[cfg(target_os = "linux")]
use super::call_site;
use super::event::Event;
#[cfg(target_os = "linux")]
use super::unwind;
#[cfg(target_os = "linux")]
use crate::sys::{
    memory,
    objects::{self, Object, Room},
};
use std::fmt;

/// The file name of an object, as far as it fits.
pub(crate) struct Name {
    bytes: [u8; 64],
    length: usize,
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().utf8_chunks().try_for_each(|chunk| out.write_str(chunk.valid()))
    }
}

impl Name {
    fn of(path: &[u8]) -> Self {
        let file = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let mut name = Self { bytes: [0; 64], length: 0 };
        for (place, byte) in name.bytes.iter_mut().zip(file) {
            *place = *byte;
            name.length += 1;
        }
        name
    }

    /// Signal-safe.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// The C library, the loader, the kernel's own page and this library: never the one that meant
    /// to write or read.
    fn is_plumbing(&self) -> bool {
        const PLUMBING: [&[u8]; 7] = [
            b"libc.so",
            b"libc-",
            b"libc.musl",
            b"libpthread",
            b"ld-",
            b"linux-vdso",
            b"libsigward.so",
        ];
        PLUMBING.iter().any(|name| self.bytes().starts_with(name))
    }
}

/// Signal-safe; takes some 16 KiB of stack.
#[cfg(target_os = "linux")]
pub(crate) fn caller(event: &Event) -> Option<Name> {
    caller_at(event.pc as usize, &event.stack)
}

/// The same, of an instruction, with the link register, where there is one, and the words on top of
/// the stack: as an event has them, or more of them.
#[cfg(target_os = "linux")]
pub(super) fn caller_at(pc: usize, words: &[u64]) -> Option<Name> {
    let mut at = Place { pc, back: pc, used: 0 };
    let mut room = Room::new();
    let mut object = objects::holding(at.pc, &mut room)?;
    // The C library's functions call each other a few times at most.
    for _ in 0..=CALLS {
        let name = name_of(&object);
        if !name.is_plumbing() {
            return Some(name);
        }
        let Some(frame) = unwind::frame_at(&object, at.pc) else {
            return without_tables(words, &at);
        };
        at = at.caller(&frame, words)?;
        object = objects::holding(at.pc, &mut room)?;
        if !name_of(&object).is_plumbing() {
            return call_site::leads(at.back, |target| who(&object, target, frame.function.0));
        }
    }
    None
}

#[cfg(target_os = "linux")]
const CALLS: usize = 16;

/// A place in the code of one of the functions that have called each other.
#[cfg(target_os = "linux")]
struct Place {
    pc: usize,
    /// The return address that has led here.
    back: usize,
    /// How far above the first one's stack pointer its own is, in bytes.
    used: i64,
}

#[cfg(target_os = "linux")]
impl Place {
    /// Where its function was called from.
    fn caller(&self, frame: &unwind::Frame, words: &[u64]) -> Option<Self> {
        let end = self.used.checked_add(frame.size)?;
        let (link, words) = split(words);
        let back = match frame.saved {
            unwind::Saved::At(place) => {
                let place = usize::try_from(end.checked_add(place)?).ok()?;
                *words.get(place / 8).filter(|_| place.is_multiple_of(8))?
            }
            // Only the innermost function can have it in a register still.
            unwind::Saved::Register => link.filter(|_| self.used == 0 && self.back == self.pc)?,
            unwind::Saved::Unknown => return None,
        };
        let back = without_signature(back) as usize;
        // The call itself: what follows may be another function's.
        Some(Self { pc: back.checked_sub(1)?, back, used: end })
    }
}

/// The link register, where there is one, and the words on top of the stack.
#[cfg(target_os = "linux")]
fn split(words: &[u64]) -> (Option<u64>, &[u64]) {
    match words {
        [link, words @ ..] if cfg!(target_arch = "aarch64") => (Some(*link), words),
        words => (None, words),
    }
}

/// Who has called the C library's `function`, if a call in `caller` leads to `target`.
#[cfg(target_os = "linux")]
fn who(caller: &Object<'_>, target: usize, function: usize) -> Option<Name> {
    let mut room = Room::new();
    let object = objects::holding(target, &mut room)?;
    if name_of(&object).is_plumbing() {
        return Some(name_of(caller));
    }
    let (start, length) = unwind::function_at(&object, target)?;
    call_site::jumps(start, length, |target| (target == function).then(|| name_of(&object)))
}

/// So many words an event has: of more of them most are of calls that are over.
#[cfg(target_os = "linux")]
const EVENT: usize = 16;

/// The only object that has called the C library, judging by all words that may be return
/// addresses.
#[cfg(target_os = "linux")]
fn without_tables(words: &[u64], at: &Place) -> Option<Name> {
    let into_the_same = |target: usize| {
        objects::holding(target, &mut Room::new())?.has_code_at(at.pc).then_some(())
    };
    let mut room = Room::new();
    let mut only: Option<(usize, Name)> = None;
    for word in words.iter().take(EVENT).copied().map(without_signature).filter(|_| at.used == 0) {
        let back = word as usize;
        let Some(object) = back.checked_sub(1).and_then(|pc| objects::holding(pc, &mut room))
        else {
            continue;
        };
        if object.has_code_at(at.pc) || call_site::leads(back, into_the_same).is_none() {
            continue;
        }
        match &only {
            None => only = Some((object.base, name_of(&object))),
            Some((base, _)) if *base == object.base => {}
            Some(_) => return None,
        }
    }
    only.map(|(_, name)| name)
}

/// The address without the bits that prove where it came from: functions that were built with
/// branch protection sign the address that they return to, and keep it so in x30 and on the stack.
/// Other words change, too, and mean nothing before and after.
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
fn without_signature(mut address: u64) -> u64 {
    // SAFETY: `xpaclri`, which does nothing on processors that do not know it: changes x30 only.
    unsafe {
        std::arch::asm!("hint #7", inout("x30") address, options(pure, nomem, nostack, preserves_flags));
    }
    address
}

#[cfg(all(target_os = "linux", not(target_arch = "aarch64")))]
fn without_signature(address: u64) -> u64 {
    address
}

#[cfg(not(target_os = "linux"))]
pub(super) fn caller(_event: &Event) -> Option<Name> {
    None
}

/// The file name of the object with code at this address.
pub(crate) fn object_at(address: usize) -> Option<String> {
    #[cfg(target_os = "linux")]
    let found = object_of(address).map(|name| name.to_string());
    #[cfg(not(target_os = "linux"))]
    let found = (address == 0).then(String::new);
    found
}

/// Whether a library with one of these file names is loaded.
#[cfg(all(feature = "capi", target_os = "linux"))]
pub(crate) fn is_loaded(names: &[&[u8]]) -> bool {
    let mut found = false;
    objects::each(|object| found |= names.contains(&name_of(object).bytes()));
    found
}

/// The same. Signal-safe; takes some 8 KiB of stack.
#[cfg(target_os = "linux")]
pub(super) fn object_of(address: usize) -> Option<Name> {
    objects::holding(address, &mut Room::new()).map(|object| name_of(&object))
}

/// The object with code at this address, and where in it: what `addr2line` is asked with.
/// Signal-safe; takes some 8 KiB of stack.
#[cfg(target_os = "linux")]
pub(crate) fn place_of(address: usize) -> Option<(Name, usize)> {
    let mut room = Room::new();
    let object = objects::holding(address, &mut room)?;
    Some((name_of(&object), address.wrapping_sub(object.base)))
}

#[cfg(target_os = "linux")]
fn name_of(object: &Object<'_>) -> Name {
    let mut path = [0_u8; 4096];
    let length = if object.name == 0 && object.is_started_by_loader() {
        0
    } else if object.name == 0 {
        // SAFETY: `path` has that room.
        let length = unsafe {
            libc::readlink(c"/proc/self/exe".as_ptr(), path.as_mut_ptr().cast(), path.len())
        };
        usize::try_from(length).unwrap_or(0)
    } else {
        memory::read(object.name, &mut path)
    };
    let path = path.get(..length).and_then(|path| path.split(|byte| *byte == 0).next());
    Name::of(path.filter(|path| !path.is_empty()).unwrap_or(b"the executable"))
}

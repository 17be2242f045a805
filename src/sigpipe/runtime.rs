//! What is known of Go in this process: whether it is there, and where its code lies.
//!
//! Go's linker leaves a note named "Go" in every executable and library it makes (`.note.go.buildid`), and
//! program headers show it even when the file is stripped. Where the code of a Go runtime lies, its package
//! `sigward` tells us: an address in there can only be running with a goroutine.

use crate::error::Error;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How many Go runtimes one process can tell us of: an executable and its c-shared libraries.
const RUNTIMES: usize = 16;

static GO_IS_HERE: AtomicBool = AtomicBool::new(false);
static TEXT: [(AtomicUsize, AtomicUsize); RUNTIMES] =
    [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; RUNTIMES];

/// Whether a Go runtime is in this process, as far as was looked. Signal-safe.
pub(super) fn go_is_here() -> bool {
    GO_IS_HERE.load(Ordering::Relaxed)
}

/// Whether `pc` lies in the code of a Go runtime that told us so. Signal-safe.
pub(super) fn is_go_code(pc: usize) -> bool {
    TEXT.iter().any(|(low, high)| {
        // The end is published last: Acquire pairs with the Release in `add_text`.
        let high = high.load(Ordering::Acquire);
        pc < high && pc >= low.load(Ordering::Relaxed)
    })
}

/// Notes that Go's code lies in `low..high`.
pub(crate) fn add_text(low: usize, high: usize) -> Result<(), Error> {
    if low == 0 || low >= high {
        return Err(Error::InvalidArgument);
    }
    let _held = crate::chain::lock()?;
    GO_IS_HERE.store(true, Ordering::Relaxed);
    for (known_low, known_high) in &TEXT {
        match known_high.load(Ordering::Relaxed) {
            0 => {
                known_low.store(low, Ordering::Relaxed);
                known_high.store(high, Ordering::Release);
                return Ok(());
            }
            known if known == high && known_low.load(Ordering::Relaxed) == low => return Ok(()),
            _ => {}
        }
    }
    Err(Error::NoEntryPoint)
}

/// Looks through all loaded objects for Go's note. Not for handlers.
pub(super) fn look_for_go() {
    if !go_is_here() && any_object(|object| has_go_note(object)) {
        GO_IS_HERE.store(true, Ordering::Relaxed);
    }
}

/// Whether the object that holds `address` was linked by Go. Not for handlers.
pub(super) fn is_in_go(address: usize) -> bool {
    any_object(|object| holds(object, address) && has_go_note(object))
}

fn any_object<F: FnMut(&libc::dl_phdr_info) -> bool>(mut wanted: F) -> bool {
    unsafe extern "C" fn visit<F: FnMut(&libc::dl_phdr_info) -> bool>(
        object: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        wanted: *mut c_void,
    ) -> c_int {
        // SAFETY: dl_iterate_phdr(3) passes a live description and the pointer that it was given.
        let Some(object) = (unsafe { object.as_ref() }) else { return 0 };
        // SAFETY: the pointer is the exclusive reference below, which outlives the iteration.
        let wanted = unsafe { &mut *wanted.cast::<F>() };
        c_int::from(wanted(object))
    }
    let data = std::ptr::from_mut(&mut wanted).cast();
    // SAFETY: `visit` takes what dl_iterate_phdr(3) passes, and `data` lives until it returns.
    unsafe { libc::dl_iterate_phdr(Some(visit::<F>), data) != 0 }
}

#[cfg(target_pointer_width = "64")]
type Header = libc::Elf64_Phdr;
#[cfg(target_pointer_width = "32")]
type Header = libc::Elf32_Phdr;

fn headers(object: &libc::dl_phdr_info) -> &[Header] {
    if object.dlpi_phdr.is_null() {
        return &[];
    }
    // SAFETY: the loader describes `dlpi_phnum` headers at `dlpi_phdr`, mapped while the object is.
    unsafe { std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)) }
}

fn holds(object: &libc::dl_phdr_info, address: usize) -> bool {
    headers(object).iter().any(|header| {
        let start = (object.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
        header.p_type == libc::PT_LOAD && address.wrapping_sub(start) < header.p_memsz as usize
    })
}

fn has_go_note(object: &libc::dl_phdr_info) -> bool {
    headers(object).iter().filter(|header| header.p_type == libc::PT_NOTE).any(|header| {
        let start = (object.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
        // SAFETY: a PT_NOTE segment of a loaded object lies in one of its mapped PT_LOAD segments.
        let notes = unsafe { std::slice::from_raw_parts(start as *const u8, header.p_memsz as usize) };
        names_go(notes)
    })
}

/// Whether one of these ELF notes is named "Go". A note: name size, value size, type, name, value, each
/// part rounded up to 4 bytes (elf(5)).
fn names_go(mut notes: &[u8]) -> bool {
    fn word(notes: &[u8], at: usize) -> Option<usize> {
        Some(u32::from_ne_bytes(notes.get(at..at + 4)?.try_into().ok()?) as usize)
    }
    while let (Some(name), Some(value)) = (word(notes, 0), word(notes, 4)) {
        if notes.get(12..12 + name) == Some(b"Go\0\0") {
            return true;
        }
        let next = name.next_multiple_of(4).saturating_add(value.next_multiple_of(4)).saturating_add(12);
        notes = notes.get(next..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::names_go;

    fn note(name: &[u8], value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [name.len(), value.len(), 4] {
            bytes.extend_from_slice(&u32::try_from(number).unwrap().to_ne_bytes());
        }
        for part in [name, value] {
            bytes.extend_from_slice(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn finds_go_after_other_notes_and_survives_torn_ones() {
        let both = [note(b"GNU\0", &[1; 20]), note(b"Go\0\0", &[2; 83])].concat();
        assert!(names_go(&both));
        assert!(!names_go(&note(b"GNU\0", &[1; 20])));
        assert!(!names_go(&[0xff; 40]));
        assert!(!names_go(&both[..30]));
        assert!(!names_go(&[]));
    }
}

//! What is known of Go in this process: whether it is there, and where its code lies.
//!
//! Go's linker leaves a note named "Go" in every executable and library it makes (`.note.go.buildid`), and
//! program headers show it even when the file is stripped. Where the code of a Go runtime lies, its package
//! `sigward` tells us: an address in there can only be running with a goroutine.

use crate::chain::Lock;
#[cfg(feature = "capi")]
use crate::error::Error;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// How many Go runtimes one process can hold: an executable and its c-shared libraries.
const RUNTIMES: usize = 16;

/// Ranges of addresses that are added once and never removed.
struct Ranges([(AtomicUsize, AtomicUsize); RUNTIMES]);

impl Ranges {
    const fn none() -> Self {
        Self([const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; RUNTIMES])
    }

    /// Signal-safe.
    fn hold(&self, address: usize) -> bool {
        self.0.iter().any(|(low, high)| {
            // The end is published last: Acquire pairs with the Release in `add`.
            let high = high.load(Ordering::Acquire);
            address < high && address >= low.load(Ordering::Relaxed)
        })
    }

    /// Signal-safe.
    fn is_empty(&self) -> bool {
        self.0.first().is_none_or(|(_, high)| high.load(Ordering::Acquire) == 0)
    }

    /// Only under the lock of the chain. False if there is no room.
    fn add(&self, low: usize, high: usize) -> bool {
        for (known_low, known_high) in &self.0 {
            match known_high.load(Ordering::Relaxed) {
                0 => {
                    known_low.store(low, Ordering::Relaxed);
                    known_high.store(high, Ordering::Release);
                    return true;
                }
                known if known == high && known_low.load(Ordering::Relaxed) == low => return true,
                _ => {}
            }
        }
        false
    }
}

/// Go's code, as its own package told us.
static TEXT: Ranges = Ranges::none();
/// Whole executables and libraries that Go's linker made.
static OBJECTS: Ranges = Ranges::none();

/// Whether a Go runtime is in this process, as far as was looked. Signal-safe.
pub(super) fn go_is_here() -> bool {
    !OBJECTS.is_empty() || !TEXT.is_empty()
}

/// Whether `pc` lies in the code of a Go runtime that told us so. Signal-safe.
pub(super) fn is_go_code(pc: usize) -> bool {
    TEXT.hold(pc)
}

/// Whether `address` lies in an executable or library that Go's linker made. Signal-safe.
pub(super) fn is_in_go(address: usize) -> bool {
    OBJECTS.hold(address) || TEXT.hold(address)
}

#[cfg(feature = "capi")]
/// Notes that Go's code lies in `low..high`.
pub(crate) fn add_text(low: usize, high: usize) -> Result<(), Error> {
    if low == 0 || low >= high {
        return Err(Error::InvalidArgument);
    }
    let _held = crate::chain::lock()?;
    if TEXT.add(low, high) { Ok(()) } else { Err(Error::NoEntryPoint) }
}

/// Looks through all loaded objects for Go's note.
///
/// A forked child believes what its parent saw: another thread of the parent may have held the dynamic
/// loader's lock, and in the child nobody lets it go.
pub(super) fn look_for_go(_held: &Lock) {
    static LOOKED: AtomicU32 = AtomicU32::new(0);
    let process = std::process::id();
    if ![0, process].contains(&LOOKED.load(Ordering::Relaxed)) {
        return;
    }
    LOOKED.store(process, Ordering::Relaxed);
    each_object(|object| {
        let mut loaded = headers(object).iter().filter(|header| header.p_type == libc::PT_LOAD);
        let low = loaded.next().map(|header| address_in(object, header));
        let high = loaded.next_back().map(|header| address_in(object, header) + header.p_memsz as usize);
        if let (Some(low), Some(high), true) = (low, high, has_go_note(object)) {
            OBJECTS.add(low, high);
        }
    });
}

fn each_object<F: FnMut(&libc::dl_phdr_info)>(mut look: F) {
    unsafe extern "C" fn visit<F: FnMut(&libc::dl_phdr_info)>(
        object: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        look: *mut c_void,
    ) -> c_int {
        // SAFETY: dl_iterate_phdr(3) passes a live description and the pointer that it was given.
        let Some(object) = (unsafe { object.as_ref() }) else { return 0 };
        // SAFETY: the pointer is the exclusive reference below, which outlives the iteration.
        let look = unsafe { &mut *look.cast::<F>() };
        look(object);
        0
    }
    let data = std::ptr::from_mut(&mut look).cast();
    // SAFETY: `visit` takes what dl_iterate_phdr(3) passes, and `data` lives until it returns.
    unsafe { libc::dl_iterate_phdr(Some(visit::<F>), data) };
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

fn address_in(object: &libc::dl_phdr_info, header: &Header) -> usize {
    (object.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize)
}

fn has_go_note(object: &libc::dl_phdr_info) -> bool {
    headers(object).iter().filter(|header| header.p_type == libc::PT_NOTE).any(|header| {
        let start = address_in(object, header);
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

//! Finds the loaded objects that Go's linker made.
//!
//! It leaves a note named "Go" in every executable and library (`.note.go.buildid`), and program headers show it
//! even when the file is stripped.

use std::ffi::{c_int, c_void};

/// Calls `found` with the address range of each. Not for handlers: dl_iterate_phdr(3) takes the loader's lock.
pub(super) fn each_go_object(mut found: impl FnMut(usize, usize)) {
    each_object(|object| {
        let mut loaded = headers(object).iter().filter(|header| header.p_type == libc::PT_LOAD);
        let low = loaded.next().map(|header| address_in(object, header));
        let last = loaded.next_back();
        let high = last.map(|header| address_in(object, header).saturating_add(header.p_memsz as usize));
        if let (Some(low), Some(high), true) = (low, high, has_go_note(object)) {
            found(low, high);
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
        let Some(object) = (unsafe { object.as_ref() }) else {
            return 0;
        };
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

//! Finds the loaded objects that Go's linker made.
//!
//! It leaves a note named "Go" in every executable and library (`.note.go.buildid`), and program
//! headers show it even when the file is stripped.

use crate::sys::objects;

/// Calls `found` with the address range of each, perhaps twice. Signal-safe.
#[cold]
pub(super) fn each_go_object(mut found: impl FnMut(usize, usize)) {
    objects::each(|object| {
        let mut loaded = object.headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
        let low = loaded.next().map(|header| object.segment(header).0);
        let (last, length) = loaded.next_back().map_or((0, 0), |header| object.segment(header));
        if let (Some(low), true) = (low.filter(|_| length > 0), has_go_note(object)) {
            found(low, last.saturating_add(length));
        }
    });
}

#[cold]
fn has_go_note(object: &objects::Object<'_>) -> bool {
    // Notes are some dozen bytes each, and a few are in a segment.
    let (mut room, mut found) = ([0; 1024], false);
    object.each_note(&mut room, |notes| found |= names_go(notes));
    found
}

/// Whether one of these ELF notes is named "Go". A note: name size, value size, type, name,
/// value, each part rounded up to 4 bytes (elf(5)).
pub(crate) fn names_go(mut notes: &[u8]) -> bool {
    fn word(notes: &[u8], at: usize) -> Option<usize> {
        Some(u32::from_ne_bytes(notes.get(at..at + 4)?.try_into().ok()?) as usize)
    }
    while let (Some(name), Some(value)) = (word(notes, 0), word(notes, 4)) {
        if notes.get(12..12 + name) == Some(b"Go\0\0") {
            return true;
        }
        let next =
            name.next_multiple_of(4).saturating_add(value.next_multiple_of(4)).saturating_add(12);
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

//! What is read from the kernel, from files that others made and from programs in C: nothing makes
//! it panic, read too far or say what is not there. For the targets of `fuzz/`, and for the test
//! below, which has their seeds and some thousand changed ones.

use crate::sigbus::adopted::handler::area::parse;
use std::fmt::Write;

/// A line of /proc/self/maps: what is read of it, written as the kernel writes it, is read as the
/// same.
///
/// # Panics
/// If it is not.
pub fn maps_line(line: &[u8]) {
    let Some((area, name)) = parse(line) else { return };
    let path = line.get(name..).expect("the path is in the line");
    let mut written = format!("{:x}-{:x} ", area.start, area.end);
    for (bit, letter) in [(libc::PROT_READ, 'r'), (libc::PROT_WRITE, 'w'), (libc::PROT_EXEC, 'x')] {
        written.push(if area.protection & bit == 0 { '-' } else { letter });
    }
    let (shared, (device, inode)) = (if area.shared { 's' } else { 'p' }, area.file);
    // A number of more than 32 bits would run into the major one.
    let (major, minor) = (device >> 32, device & u64::from(u32::MAX));
    write!(written, "{shared} {:08x} {major:02x}:{minor:02x} {inode}", area.offset).expect("room");
    let short = written.len();
    written.push(' ');
    let mut written = written.into_bytes();
    written.extend_from_slice(path);
    let (again, place) = parse(&written).expect("a line of the kernel's");
    assert_eq!(again, area);
    assert_eq!(place, short + 1);
}

/// ELF notes: whether one is named "Go", as by a reader that copies nothing and adds in 64 bits.
///
/// # Panics
/// If the two do not agree.
pub fn elf_notes(notes: &[u8]) {
    let word = |at: u64| {
        let at = usize::try_from(at).ok()?;
        Some(u64::from(u32::from_ne_bytes(notes.get(at..at.checked_add(4)?)?.try_into().ok()?)))
    };
    let (mut at, mut found) = (0, false);
    while let (Some(name), Some(value)) = (word(at), word(at + 4)) {
        let is_go = (0..4).all(|place| {
            usize::try_from(at + 12 + place).ok().and_then(|at| notes.get(at)).copied()
                == b"Go\0\0".get(place as usize).copied()
        });
        if name == 4 && is_go {
            found = true;
            break;
        }
        at += 12 + name.div_ceil(4) * 4 + value.div_ceil(4) * 4;
    }
    assert_eq!(crate::sigpipe::names_go(notes), found);
}

/// Events of inotify(7), for two files in one folder: nobody else is told, and whoever is told has
/// news.
///
/// # Panics
/// If not.
pub fn inotify(events: &[u8]) {
    crate::reloading::hear(events);
}

/// Option structs of any size: a known one, or a longer one with zeros behind it, is read as it
/// was given with zeros behind it; every other is refused.
///
/// # Panics
/// If not.
#[cfg(feature = "capi")]
pub fn options(given: &[u8]) {
    use crate::ffi::{self, sized};
    let early = std::mem::offset_of!(ffi::sigward_map_options, capacity);
    sized::hold::<ffi::sigward_options>(given, &[]);
    sized::hold::<ffi::sigward_map_options>(given, &[early]);
    sized::hold::<ffi::sigward_replacement_options>(given, &[]);
    sized::hold::<ffi::sigward_log_options>(given, &[]);
    sized::hold::<ffi::sigward_snapshot_options>(given, &[]);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Each seed, and so many changed ones, the same each time.
    fn replay(name: &str, target: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
        let mut seeds: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|seed| seed.unwrap().path()).collect();
        seeds.sort();
        assert!(seeds.len() > 2, "{}", folder.display());
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |limit: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as usize % limit.max(1)
        };
        for seed in seeds {
            let seed = std::fs::read(seed).unwrap();
            target(&seed);
            for _ in 0..1000 {
                let mut changed = seed.clone();
                for _ in 0..=below(3) {
                    let at = below(changed.len());
                    match below(5) {
                        0 => changed.truncate(at),
                        1 => changed.insert(at.min(changed.len()), below(256) as u8),
                        2 => changed.extend_from_within(at..),
                        3 => changed
                            .iter_mut()
                            .skip(at)
                            .take(4)
                            .for_each(|byte| *byte = below(256) as u8),
                        _ => changed
                            .iter_mut()
                            .skip(at)
                            .take(1)
                            .for_each(|byte| *byte ^= 1 << below(8)),
                    }
                }
                target(&changed);
            }
        }
    }

    #[test]
    fn lines_of_maps() {
        replay("maps_line", super::maps_line);
    }

    #[test]
    fn notes_of_elf() {
        replay("elf_notes", super::elf_notes);
    }

    #[test]
    fn events_of_inotify() {
        replay("inotify", super::inotify);
    }

    #[cfg(feature = "capi")]
    #[test]
    fn options_of_c() {
        replay("options", super::options);
    }
}

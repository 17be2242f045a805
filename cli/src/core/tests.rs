//! Malformed cores: whatever the bytes are, they are read to an end without a panic.

use super::Core;
use crate::explain::Explanation;
use object::read::ReadCache;
use std::io::Cursor;
use std::path::Path;

/// A core of a thread in SIGBUS, made by hand: header, one segment of notes, one of memory.
fn whole() -> Vec<u8> {
    let note = |kind: u32, bytes: &[u8]| {
        let mut note = Vec::new();
        for number in [5_u32, bytes.len() as u32, kind] {
            note.extend(number.to_le_bytes());
        }
        note.extend(b"CORE\0\0\0\0");
        note.extend(bytes);
        note.resize(note.len().next_multiple_of(4), 0);
        note
    };
    let mut status = vec![0_u8; 336];
    status[32..36].copy_from_slice(&77_i32.to_le_bytes());
    let mut register = |at: usize, value: u64| {
        status[112 + at * 8..120 + at * 8].copy_from_slice(&value.to_le_bytes());
    };
    register(15, u64::MAX);
    register(16, 0x40_1000);
    register(19, 0x7000);
    let mut other = status.clone();
    other[112 + 15 * 8..120 + 15 * 8].copy_from_slice(&(libc::SYS_openat as u64).to_le_bytes());
    other[112 + 13 * 8..120 + 13 * 8].copy_from_slice(&0x7000_u64.to_le_bytes());
    other[32] = 78;
    let mut info = vec![0_u8; 128];
    (info[0], info[8]) = (libc::SIGBUS as u8, 2);
    info[16..24].copy_from_slice(&0x20_5000_u64.to_le_bytes());
    let mut process = vec![0_u8; 136];
    process[24] = 77;
    process[40..46].copy_from_slice(b"victim");
    let mut files: Vec<u8> = [1_u64, 4096, 0x20_0000, 0x21_0000, 16]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    files.extend(b"/nowhere/data\0");
    let notes: Vec<u8> = [
        note(1, &status),
        note(3, &process),
        note(0x5349_4749, &info),
        note(0x4649_4c45, &files),
        note(1, &other),
    ]
    .concat();

    let mut core = Vec::from(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    core.extend([4, 0, 62, 0, 1, 0, 0, 0]);
    core.extend([0, 64, 0].iter().flat_map(|word: &u64| word.to_le_bytes()));
    core.extend([0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    let memory = 64 + 2 * 56 + notes.len() as u64;
    for (kind, offset, address, size) in
        [(4_u32, 176_u64, 0_u64, notes.len() as u64), (1, memory, 0x7000, 16)]
    {
        core.extend(kind.to_le_bytes());
        core.extend(4_u32.to_le_bytes());
        core.extend([offset, address, 0, size, size, 4].iter().flat_map(|word| word.to_le_bytes()));
    }
    core.extend(notes);
    core.extend(b"/nowhere/data\0\0\0");
    core
}

fn explained(bytes: &[u8]) -> Result<String, String> {
    let data = ReadCache::new(Cursor::new(bytes.to_vec()));
    let core = Core::read(&data)?;
    Ok(Explanation::of(Path::new("core"), &core, None).to_string())
}

#[test]
fn a_whole_core_is_explained() {
    let text = explained(&whole()).unwrap();
    for part in [
        "victim (pid 77) died of SIGBUS",
        "offset 86 016 of /nowhere/data",
        "not there any more",
        "thread   77 at 0x401000",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    if crate::registers::NATIVE == Some(crate::registers::Machine::X86_64) {
        assert!(
            text.contains("thread 78 was inside openat(\"/nowhere/data\", O_RDONLY)"),
            "{text}"
        );
    }
}

#[test]
fn any_bytes_are_survived() {
    let good = whole();
    for length in 0..good.len() {
        let _ = explained(&good[..length]);
    }
    // xorshift: the same numbers in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let interesting = [0, 1, 0x7f, 0x80, 0xff];
    let (mut read, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..=random() % 8 {
            let at = (random() as usize) % bytes.len();
            bytes[at] = interesting[(random() as usize) % interesting.len()];
            if random().is_multiple_of(4) {
                // A whole word of ones: lengths and offsets that overflow.
                let end = (at + 8).min(bytes.len());
                bytes[at..end].fill(0xff);
            }
        }
        match explained(&bytes) {
            Ok(_) => read += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(read > 1000 && refused > 1000, "{read} read, {refused} refused");
}

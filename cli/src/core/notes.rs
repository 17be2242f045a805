//! The notes of a core file, decoded. Pure: bytes in, values out; nothing in them is believed.

use crate::place::Mapping;
use crate::registers::{Machine, Registers};
use crate::report::shown;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// One thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Its id, in the namespace of the process.
    pub tid: i32,
    /// Its registers.
    pub registers: Registers,
}

/// `struct elf_prpsinfo`: the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// The name of the program, 15 bytes at most.
    pub name: String,
    /// The first 80 bytes of the command line.
    pub arguments: String,
}

/// `NT_PRSTATUS`
pub fn thread(machine: Machine, note: &[u8]) -> Option<Thread> {
    const REGISTERS: usize = 112;
    let tid = i32::from_le_bytes(note.get(32..36)?.try_into().ok()?);
    let registers = Registers::read(machine, note.get(REGISTERS..)?, None)?;
    Some(Thread { tid, registers })
}

/// `NT_PRPSINFO`
pub fn process(note: &[u8]) -> Option<Process> {
    let pid = i32::from_le_bytes(note.get(24..28)?.try_into().ok()?);
    Some(Process { pid, name: text(note.get(40..56)?), arguments: text(note.get(56..136)?) })
}

/// `NT_FILE`: numbers in threes, then as many names. What is cut off is left out.
pub fn files(note: &[u8]) -> Vec<Mapping> {
    let word = |at: usize| {
        let bytes = note.get(at.checked_mul(8)?..)?.get(..8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    let read = || -> Option<Vec<Mapping>> {
        let (count, unit) = (usize::try_from(word(0)?).ok()?, word(1)?);
        let names = note.get(count.checked_mul(24)?.checked_add(16)?..)?;
        let names = names.split(|byte| *byte == 0);
        let mappings = (0..count).zip(names).map_while(|(at, name)| {
            let (start, end) = (word(2 + 3 * at)?, word(3 + 3 * at)?);
            let offset = word(4 + 3 * at)?.checked_mul(unit)?;
            let path = PathBuf::from(OsStr::from_bytes(name));
            (start < end).then_some(Mapping { start, end, offset, path })
        });
        Some(mappings.collect())
    };
    read().unwrap_or_default()
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    shown(String::from_utf8_lossy(&bytes[..end]).trim_end())
}

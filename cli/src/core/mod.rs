//! Reading a core file: its notes, and a few bytes of its memory where a note points to them.
//!
//! The file is read, never mapped: one that is still being written, or is cut, would be a SIGBUS of
//! our own. Lengths in it are believed only within limits.

pub mod notes;

use crate::place::Mapping;
use crate::registers::Machine;
use crate::signals::Info;
use notes::{Process, Thread};
use object::Endianness;
use object::elf::{self, FileHeader64, ProgramHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::read::{ReadCache, ReadCacheOps, ReadRef};

/// A core of a process with 100,000 threads has notes of 200 MB.
const LARGEST_NOTES: u64 = 512 << 20;
const MOST_SEGMENTS: u32 = 1 << 22;

type Segment = ProgramHeader64<Endianness>;

/// What is known of the process.
pub struct Core<'a, R: ReadCacheOps> {
    /// The threads; the first is the one that the signal ended the process in.
    pub threads: Vec<Thread>,
    /// The process.
    pub process: Process,
    /// The signal.
    pub info: Option<Info>,
    /// Its mapped files.
    pub files: Vec<Mapping>,
    /// What could not be read.
    pub damage: Vec<String>,
    segments: &'a [Segment],
    data: &'a ReadCache<R>,
}

impl<'a, R: ReadCacheOps> Core<'a, R> {
    /// Reads the notes.
    pub fn read(data: &'a ReadCache<R>) -> Result<Self, String> {
        let wrong = |error: object::read::Error| format!("no core that can be read: {error}");
        let header = FileHeader64::<Endianness>::parse(data).map_err(|_| no_elf(data))?;
        let endian = header.endian().map_err(wrong)?;
        if header.e_type(endian) != elf::ET_CORE {
            return Err("an ELF file, but no core: `sigward explain CORE PROGRAM`".to_owned());
        }
        let machine = match header.e_machine(endian) {
            elf::EM_X86_64 => Machine::X86_64,
            elf::EM_AARCH64 => Machine::Aarch64,
            other => {
                let number = other.0;
                return Err(format!(
                    "a core of a processor that is not known here (ELF machine {number})"
                ));
            }
        };
        if !header.is_little_endian() {
            return Err("a core of a big-endian machine, which is not known here".to_owned());
        }
        if header.phnum(endian, data).map_err(wrong)? > MOST_SEGMENTS {
            return Err("no core that can be read: too many segments".to_owned());
        }
        let segments = header
            .program_headers(endian, data)
            .map_err(|error| format!("{CUT} ({error}): {LIMITS}"))?;
        let mut core = Self {
            threads: Vec::new(),
            process: Process::default(),
            info: None,
            files: Vec::new(),
            damage: Vec::new(),
            segments,
            data,
        };
        for segment in segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_NOTE) {
            if segment.p_filesz(endian) > LARGEST_NOTES {
                core.damage.push("its notes are larger than any core's".to_owned());
            } else if let Err(error) = core.read_notes(machine, endian, segment) {
                core.damage.push(format!("its notes cannot be read to their end ({error})"));
            }
        }
        core.measure(endian);
        Ok(core)
    }

    fn read_notes(
        &mut self,
        machine: Machine,
        endian: Endianness,
        segment: &'a Segment,
    ) -> Result<(), object::read::Error> {
        let Some(mut notes) = segment.notes(endian, self.data)? else { return Ok(()) };
        while let Some(note) = notes.next()? {
            let (kind, bytes) = (note.n_type(endian), note.desc());
            // The kernel's own have the names CORE and LINUX.
            match (note.name(), kind) {
                (b"CORE", elf::NT_PRSTATUS) => self.threads.extend(notes::thread(machine, bytes)),
                (b"CORE", elf::NT_PRPSINFO) => {
                    self.process = notes::process(bytes).unwrap_or_default();
                }
                (b"CORE", elf::NT_SIGINFO) => self.info = self.info.or(Info::read(bytes)),
                (b"CORE", elf::NT_FILE) => self.files = notes::files(bytes),
                (b"LINUX", elf::NT_ARM_SYSTEM_CALL) => self.set_call(bytes),
                _ => {}
            }
        }
        Ok(())
    }

    /// The note comes behind the registers of its thread.
    fn set_call(&mut self, note: &[u8]) {
        let number = note.get(..4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_le_bytes);
        if let Some(thread) = self.threads.last_mut() {
            thread.registers.call = number.and_then(|number| u64::try_from(number).ok());
        }
    }

    /// A core that met a limit or a full disk is shorter than its segments.
    fn measure(&mut self, endian: Endianness) {
        let end =
            |segment: &Segment| segment.p_offset(endian).saturating_add(segment.p_filesz(endian));
        let wanted = self.segments.iter().map(end).max().unwrap_or(0);
        let length = ReadRef::len(self.data).unwrap_or(0);
        if length < wanted {
            self.damage.push(format!(
                "it is cut: {length} bytes of {wanted} (ulimit -c, or a full disk); its notes are at the start"
            ));
        }
    }

    /// Bytes of the process's memory, as many as the core has there, at most `count`.
    pub fn memory(&self, address: u64, count: u64) -> Option<&'a [u8]> {
        let endian = Endianness::Little;
        let segment = self.segments.iter().find(|segment| {
            segment.p_type(endian) == elf::PT_LOAD
                && address
                    .checked_sub(segment.p_vaddr(endian))
                    .is_some_and(|offset| offset < segment.p_filesz(endian))
        })?;
        let inside = address - segment.p_vaddr(endian);
        let count = count.min(segment.p_filesz(endian) - inside);
        self.data.read_bytes_at(segment.p_offset(endian).checked_add(inside)?, count).ok()
    }

    /// A terminated text of the process's memory.
    pub fn text(&self, address: u64) -> Option<String> {
        let bytes = self.memory(address, libc::PATH_MAX as u64)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    /// The file that an address is mapped from.
    pub fn file_at(&self, address: u64) -> Option<&Mapping> {
        self.files.iter().find(|file| (file.start..file.end).contains(&address))
    }
}

const CUT: &str = "it is cut within its first bytes, or damaged";
const LIMITS: &str = "was the disk full, or ulimit -c reached?";

/// Says what a file is that is no ELF file.
fn no_elf<'a>(data: impl ReadRef<'a>) -> String {
    const BITS_32: u8 = 1;
    match data.read_bytes_at(0, 5) {
        Ok([0x7f, b'E', b'L', b'F', BITS_32]) => {
            "the core of a 32-bit program, which is not known here: gdb reads it".to_owned()
        }
        Ok([0x7f, b'E', b'L', b'F', _]) => format!("{CUT}: {LIMITS}"),
        Err(()) => format!("too short for a core: {LIMITS}"),
        Ok(_) => "no core: not an ELF file".to_owned(),
    }
}

#[cfg(test)]
mod tests;

//! The little that an audit asks an executable or a library for: whether it has a section, whether
//! it has a symbol. Read piece by piece and never mapped, as it may be cut meanwhile.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Longer tables are left alone: no linker makes such.
const LONGEST: u64 = 1 << 28;
/// `SHT_SYMTAB`, `SHT_DYNSYM`.
const SYMBOLS: [u32; 2] = [2, 11];

/// An ELF file of 64 bits, in the order of bytes of this machine.
pub struct Elf {
    file: File,
    sections: Vec<Section>,
    /// The section that has the names of sections.
    names: usize,
}

/// What is used of a section's header.
struct Section {
    name: u32,
    kind: u32,
    offset: u64,
    size: u64,
    link: u32,
}

/// A symbol: its name, and whether it is defined here.
struct Symbol<'a> {
    name: &'a [u8],
    is_defined: bool,
}

impl Elf {
    /// Opens a regular file; none for another kind of file, or of ELF.
    #[must_use]
    pub fn open(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let head = part(&file, 0, 64)?;
        let order = if cfg!(target_endian = "little") { 1 } else { 2 };
        if head.get(..6)? != [0x7f, b'E', b'L', b'F', 2, order] {
            return None;
        }
        let (size, count) = (half(&head, 0x3a)?, half(&head, 0x3c)?);
        let table = part(&file, long(&head, 0x28)?, u64::from(size) * u64::from(count))?;
        let sections = match size {
            0 => Vec::new(),
            _ => table.chunks_exact(usize::from(size)).filter_map(Section::read).collect(),
        };
        Some(Self { file, sections, names: half(&head, 0x3e)?.into() })
    }

    /// Whether it has a section of this name.
    #[must_use]
    pub fn has_section(&self, name: &str) -> bool {
        let names = self.sections.get(self.names).and_then(|section| self.contents(section));
        let Some(names) = names else { return false };
        self.sections.iter().any(|section| text(&names, section.name) == Some(name.as_bytes()))
    }

    /// Whether it defines or wants a symbol of this name.
    #[must_use]
    pub fn has_symbol(&self, name: &str) -> bool {
        SYMBOLS
            .into_iter()
            .any(|kind| self.any_symbol(kind, |symbol| symbol.name == name.as_bytes()))
    }

    /// Whether it has a symbol of this name for other objects to use.
    #[must_use]
    pub fn exports(&self, name: &str) -> bool {
        self.any_symbol(SYMBOLS[1], |symbol| symbol.is_defined && symbol.name == name.as_bytes())
    }

    fn any_symbol(&self, kind: u32, is_it: impl Fn(&Symbol<'_>) -> bool) -> bool {
        let tables = self.sections.iter().filter(|section| section.kind == kind);
        let mut read = tables.filter_map(|table| {
            let names = self.sections.get(usize::try_from(table.link).ok()?)?;
            Some((self.contents(table)?, self.contents(names)?))
        });
        read.any(|(table, names)| {
            let mut symbols = table.chunks_exact(24).filter_map(|symbol| {
                let is_defined = half(symbol, 6)? != 0;
                Some(Symbol { name: text(&names, word(symbol, 0)?)?, is_defined })
            });
            symbols.any(|symbol| is_it(&symbol))
        })
    }

    fn contents(&self, section: &Section) -> Option<Vec<u8>> {
        part(&self.file, section.offset, section.size)
    }
}

impl Section {
    fn read(header: &[u8]) -> Option<Self> {
        Some(Self {
            name: word(header, 0)?,
            kind: word(header, 4)?,
            offset: long(header, 0x18)?,
            size: long(header, 0x20)?,
            link: word(header, 0x28)?,
        })
    }
}

/// So many bytes of a file, if it has them.
fn part(file: &File, offset: u64, size: u64) -> Option<Vec<u8>> {
    let end = offset.checked_add(size).filter(|_| size <= LONGEST)?;
    // Before memory is taken for what a header says.
    if end > file.metadata().ok()?.len() {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(size).ok()?];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

/// The name that begins there.
fn text(names: &[u8], at: u32) -> Option<&[u8]> {
    names.get(usize::try_from(at).ok()?..)?.split(|byte| *byte == 0).next()
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::Elf;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn this_program_is_read_and_changed_ones_are_survived() {
        let own = Elf::open("/proc/self/exe".as_ref()).expect("an ELF file");
        assert!(own.has_section(".text") && !own.has_section(".tex") && !own.has_section("text"));
        assert!(own.has_symbol("write") || own.has_symbol("main"));
        assert!(!own.has_symbol("no_such_symbol") && !own.exports("no_such_symbol"));
        assert!(
            Elf::open("/proc/self/maps".as_ref()).is_none() && Elf::open("/".as_ref()).is_none()
        );

        let path = std::env::temp_dir().join(format!("sigward-elf-{}", std::process::id()));
        let whole = std::fs::read("/proc/self/exe").expect("its bytes");
        let table = u64::from_ne_bytes(whole[0x28..0x30].try_into().expect("8 bytes")) as usize;
        // The header and the headers of sections, behind a file that is shorter than they say.
        let mut small = whole[..64].to_vec();
        small[0x28..0x30].copy_from_slice(&64_u64.to_ne_bytes());
        small.extend_from_slice(&whole[table..]);
        let mut state = 1_u64;
        for _ in 0..500 {
            let mut changed = small.clone();
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = 6 + (state >> 33) as usize % (changed.len() - 6);
                changed[at] = (state >> 25) as u8;
            }
            std::fs::write(&path, &changed).expect("a file");
            if let Some(elf) = Elf::open(&path) {
                let _ = (elf.has_section(".text"), elf.has_symbol("write"), elf.exports("write"));
            }
        }
        std::fs::remove_file(path).expect("it is there");
    }
}

//! The name of the function that an instruction is in, from the file that it was mapped from.

use object::Endianness;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader, SectionTable, Sym};
use object::read::{ReadCache, ReadRef};
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// An ELF file, read through a cache and never mapped.
pub struct Program(ReadCache<File>);

type Sections<'a> = SectionTable<'a, FileHeader64<Endianness>, &'a ReadCache<File>>;

/// Larger tables of symbols are left alone.
const LARGEST: u64 = 1 << 30;

impl Program {
    /// Opens a regular file, and waits for nobody at a FIFO.
    pub fn open(path: &Path) -> Option<Self> {
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let file = options.open(path).ok()?;
        file.metadata().ok()?.is_file().then(|| Self(ReadCache::new(file)))
    }

    /// The function, demangled, and how far behind its start the offset in the file is.
    pub fn function(&self, offset: u64) -> Option<(String, u64)> {
        let data = &self.0;
        let header = FileHeader64::<Endianness>::parse(data).ok()?;
        let endian = header.endian().ok()?;
        let segments = header.program_headers(endian, data).ok()?;
        let address = segments.iter().find_map(|segment| {
            let inside = offset.checked_sub(segment.p_offset(endian))?;
            let fits = segment.p_type(endian) == elf::PT_LOAD && inside < segment.p_filesz(endian);
            fits.then(|| segment.p_vaddr(endian).wrapping_add(inside))
        })?;
        let sections = header.sections(endian, data).ok()?;
        [elf::SHT_SYMTAB, elf::SHT_DYNSYM].into_iter().find_map(|kind| {
            let too_large = sections.iter().any(|section| {
                section.sh_type(endian) == kind && section.sh_size(endian) > LARGEST
            });
            let symbols = sections.symbols(endian, data, kind).ok().filter(|_| !too_large)?;
            let best = symbols
                .iter()
                .filter(|symbol| symbol.st_type() == elf::STT_FUNC)
                .filter_map(|symbol| Some((address.checked_sub(symbol.st_value(endian))?, symbol)))
                .filter(|(inside, symbol)| *inside < symbol.st_size(endian).max(1))
                .min_by_key(|(inside, _)| *inside)?;
            let name = symbols.symbol_name(endian, best.1).ok()?;
            Some((demangled(&String::from_utf8_lossy(name)), best.0))
        })
    }

    /// Whether it is one at all.
    pub fn is_elf(&self) -> bool {
        FileHeader64::<Endianness>::parse(&self.0).is_ok()
    }

    /// The name of the loader that it asks for, empty for a static one; of a 32-bit one as well.
    pub fn loader(&self) -> Option<String> {
        loader::<FileHeader64<Endianness>>(&self.0)
            .or_else(|| loader::<FileHeader32<Endianness>>(&self.0))
    }

    /// Whether it is a library, or a program that asks for a loader: a static one that is loaded
    /// anywhere has the dynamic section of both.
    pub fn is_dynamic(&self) -> bool {
        let is_library = || {
            let header = FileHeader64::<Endianness>::parse(&self.0).ok()?;
            let endian = header.endian().ok()?;
            let segments = header.program_headers(endian, &self.0).ok()?;
            let entries = segments.iter().find_map(|it| it.dynamic(endian, &self.0).ok()?)?;
            let mut flags = entries.iter().filter(|it| it.tag(endian) == elf::DT_FLAGS_1);
            Some(!flags.any(|it| it.val(endian) & elf::DF_1_PIE.0 != 0))
        };
        self.loader().is_some_and(|loader| !loader.is_empty()) || is_library() == Some(true)
    }

    /// Whether it begins with these bytes, as far as it is so long.
    pub fn begins_with(&self, bytes: &[u8]) -> bool {
        let length = (&self.0).len().unwrap_or(0).min(bytes.len() as u64);
        (&self.0).read_bytes_at(0, length) == Ok(&bytes[..length as usize])
    }

    /// Whether it has a section of this name.
    pub fn has_section(&self, name: &str) -> bool {
        self.size_of(name).is_some()
    }

    /// How long a section is; 0 if there is none.
    pub fn section_size(&self, name: &str) -> u64 {
        self.size_of(name).unwrap_or(0)
    }

    fn size_of(&self, name: &str) -> Option<u64> {
        let (endian, sections) = self.sections()?;
        let (_, section) = sections.section_by_name(endian, name.as_bytes())?;
        Some(section.sh_size(endian))
    }

    /// Whether it defines or wants a symbol of this name.
    pub fn has_symbol(&self, name: &str) -> bool {
        let Some((endian, sections)) = self.sections() else { return false };
        [elf::SHT_SYMTAB, elf::SHT_DYNSYM].into_iter().any(|kind| {
            sections.symbols(endian, &self.0, kind).is_ok_and(|symbols| {
                let mut names = symbols.iter().map(|symbol| symbols.symbol_name(endian, symbol));
                names.any(|found| found == Ok(name.as_bytes()))
            })
        })
    }

    fn sections(&self) -> Option<(Endianness, Sections<'_>)> {
        let header = FileHeader64::<Endianness>::parse(&self.0).ok()?;
        let endian = header.endian().ok()?;
        Some((endian, header.sections(endian, &self.0).ok()?))
    }
}

fn loader<H: FileHeader<Endian = Endianness>>(data: &ReadCache<File>) -> Option<String> {
    let header = H::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, data).ok()?;
    let path = segments.iter().find_map(|segment| segment.interpreter(endian, data).ok()?);
    let path = String::from_utf8_lossy(path.unwrap_or_default()).into_owned();
    Some(Path::new(&path).file_name().map_or_else(String::new, |it| it.to_string_lossy().into()))
}

/// As whoever wrote the function knows it: in Rust, C++ or C.
fn demangled(name: &str) -> String {
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return format!("{rust:#}");
    }
    let cpp = cpp_demangle::Symbol::new(name).ok().and_then(|symbol| symbol.demangle().ok());
    cpp.unwrap_or_else(|| name.to_owned())
}

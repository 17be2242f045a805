//! With memmap2, as everybody does it. A write either succeeds or ends the process.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use memmap2::MmapMut;

use super::Loss;

/// A file and its map.
pub struct Mapped {
    file: File,
    map: MmapMut,
}

impl Mapped {
    /// Makes the file, `length` bytes of nothing, and maps it.
    pub fn create(path: &Path, length: u64) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len(length)?;
        let map = map(&file)?;
        Ok(Self { file, map })
    }

    /// Sets the file's length with ftruncate(2), and maps it anew.
    pub fn set_length(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.map = map(&self.file)?;
        Ok(())
    }

    /// The length of the map.
    pub fn length(&self) -> u64 {
        self.map.len() as u64
    }

    /// Copies `bytes` to `offset`.
    #[expect(clippy::unnecessary_wraps, reason = "the guarded one has something to tell")]
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Loss> {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        self.map[at..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    /// Maps the file anew.
    pub fn refresh(&mut self) -> io::Result<()> {
        self.map = map(&self.file)?;
        Ok(())
    }
}

fn map(file: &File) -> io::Result<MmapMut> {
    // SAFETY: only this module writes to the file. That is not quite true: anybody can truncate it,
    // and nobody who maps a file can rule that out. What comes of it is what this example shows.
    unsafe { MmapMut::map_mut(file) }
}

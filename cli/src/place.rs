//! The place in a mapped file that a fault was at, what is known of the file now, and the cause.

pub use crate::proc::Mapping;
use crate::report::{grouped, shown};
use nix::unistd::{SysconfVar, sysconf};
use serde::Serialize;
use sigward::mapping::Cause;
use sigward::mapping::outside::{self, cause};
use std::fmt;
use std::path::{Path, PathBuf};

/// A file and its disk at the moment of the question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Now {
    /// How long the file is.
    pub length: Option<u64>,
    /// How many bytes anybody can still have on its disk.
    pub free: Option<u64>,
    /// Whether it has holes: blocks for fewer bytes than it has.
    pub sparse: bool,
}

impl Now {
    /// Asks the kernel.
    pub fn of(path: &Path) -> Self {
        let outside::Now { length, free, sparse } = crate::proc::now(path);
        Self { length, free, sparse }
    }

    fn of_the_library(&self) -> outside::Now {
        let &Self { length, free, sparse } = self;
        outside::Now { length, free, sparse }
    }
}

/// A fault in a mapped file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file.
    #[serde(serialize_with = "crate::report::lossy")]
    pub path: PathBuf,
    /// Bytes from its start.
    pub offset: u64,
    /// How many bytes of the file are mapped there.
    pub mapped: u64,
    /// The file now.
    pub now: Now,
    /// `truncated`, `no_space`, `hardware`, `unknown`; none for another signal than SIGBUS.
    pub cause: Option<&'static str>,
}

impl Place {
    /// Of an address in a mapping; `code` is a SIGBUS's, none for another signal.
    pub fn of(mapping: &Mapping, address: u64, code: Option<i32>, now: Now) -> Option<Self> {
        let offset = mapping.offset_of(address)?;
        let cause =
            code.map(|code| match cause(code, offset, page_size(), &now.of_the_library()) {
                Cause::Truncated { .. } => "truncated",
                Cause::NoSpace => "no_space",
                Cause::Hardware => "hardware",
                _ => "unknown",
            });
        let path = mapping.path.clone();
        Some(Self { path, offset, mapped: mapping.end - mapping.start, now, cause })
    }

    /// The cause in plain words, with what to do; none where it cannot be told.
    pub fn so(&self) -> Option<String> {
        Some(match self.cause? {
            "truncated" => format!(
                "the file was cut to {} bytes while it was mapped; whoever updates it should use \
                 rename(2) (sigward replace), and `sigward cut {}` finds who does not",
                grouped(self.now.length?),
                shown(&self.path)
            ),
            "no_space" => format!(
                "the disk is full, and {} has no block there; reserve blocks before bytes (sigward \
                 reserve)",
                shown(&self.path)
            ),
            "hardware" => outside::DAMAGED.to_owned(),
            _ if self.now.length.is_none() => outside::GONE.to_owned(),
            _ => outside::THERE.to_owned(),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [offset, mapped] = [self.offset, self.mapped].map(grouped);
        write!(out, "offset {offset} of {} ({mapped} bytes mapped)", shown(&self.path))?;
        match self.now.length {
            Some(length) => write!(out, ", {} bytes long now", grouped(length))?,
            None => out.write_str(", which is not there now")?,
        }
        if self.now.sparse {
            out.write_str(" with holes")?;
        }
        self.now
            .free
            .map_or(Ok(()), |free| write!(out, ", {} bytes free on its disk", grouped(free)))
    }
}

/// How long the pages of this machine are.
pub fn page_size() -> u64 {
    let told = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    told.and_then(|size| u64::try_from(size).ok()).unwrap_or(4096)
}

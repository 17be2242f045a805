//! The journal's file in memory, mapped for writing. Two ways to the same methods, chosen when this
//! is compiled:
//!
//! | feature | methods in | a page that the disk has no room for, or that somebody cut off |
//! |---|---|---|
//! | `ward` | `guarded.rs` | is a [`Loss`]: which byte, why, met by which thread |
//! | none | `plain.rs` | kills the process |

use std::fmt;
use std::io;

#[cfg(feature = "ward")]
#[path = "guarded.rs"]
mod file;
#[cfg(not(feature = "ward"))]
#[path = "plain.rs"]
mod file;

pub use file::Mapped;

/// Why bytes that were written are not in the file.
#[cfg_attr(not(feature = "ward"), allow(dead_code, reason = "a plain map tells nobody"))]
pub struct Loss {
    /// The lowest byte of the file that is lost.
    pub offset: u64,
    /// The length that the file was cut to, if it was cut.
    pub cut_to: Option<u64>,
    /// The errno of the cause.
    pub error: i32,
    /// The thread that met it.
    pub thread: String,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offset {}: ", self.offset)?;
        match self.cut_to {
            Some(length) => write!(f, "the file was cut to {length} bytes")?,
            None => write!(f, "{}", io::Error::from_raw_os_error(self.error))?,
        }
        write!(f, ", met by thread {}", self.thread)
    }
}

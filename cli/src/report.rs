//! Printing: a text for people, or JSON.

use crate::failure::Failure;
use serde::{Serialize, Serializer};
pub use sigward::audit::Disposition;
pub use sigward::audit::outside::grouped;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How results are printed.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// One JSON object a line in place of text.
    pub json: bool,
}

impl Output {
    /// Prints a result on stdout. A reader that is gone (`sigward … | head`) ends the command
    /// quietly, as SIGPIPE would.
    pub fn print(self, result: &(impl Serialize + Display)) -> Result<(), Failure> {
        let text = if self.json {
            serde_json::to_string(result).map_err(|error| Failure::new("stdout", error))?
        } else {
            result.to_string().trim_end().to_owned()
        };
        print_text(&text)
    }
}

/// Prints a text as it is.
pub fn print_text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(128 + libc::SIGPIPE),
        Err(error) => Err(Failure::new("stdout", error)),
        Ok(()) => Ok(()),
    }
}

/// A path in JSON, whose texts are UTF-8: other bytes are replaced.
pub fn lossy<S: Serializer>(path: &(impl AsRef<Path> + ?Sized), to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&path.as_ref().to_string_lossy())
}

/// The same of one that may not be there.
#[expect(clippy::ref_option, reason = "serde's signature")]
pub fn lossy_option<S: Serializer>(path: &Option<impl AsRef<Path>>, to: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| path.as_ref().to_string_lossy()).serialize(to)
}

/// What a process does with a signal.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub fn word<S: Serializer>(disposition: &Disposition, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(disposition.word())
}

/// A path and an offset.
#[expect(clippy::ref_option, reason = "serde's signature")]
pub fn lossy_place<S: Serializer>(place: &Option<(PathBuf, u64)>, to: S) -> Result<S::Ok, S::Error> {
    place.as_ref().map(|(path, offset)| (path.to_string_lossy(), offset)).serialize(to)
}

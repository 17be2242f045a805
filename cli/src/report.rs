//! Printing: a text for people, or JSON.

use crate::failure::Failure;
use serde::{Serialize, Serializer};
pub use sigward::audit::Disposition;
pub use sigward::audit::outside::{grouped, shown, threads};
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
            result.to_string()
        };
        self.print_text(&text)
    }

    /// Prints a text for people, or one that is JSON already.
    pub fn print_text(self, text: &str) -> Result<(), Failure> {
        if self.json {
            return print_text(text);
        }
        let text = harmless(text);
        let in_colour = terminal_width().is_some()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_some_and(|value| value != "dumb");
        print_text(&if in_colour { coloured(&text) } else { text })
    }
}

/// How wide the terminal is that stdout is; none if it is something else.
pub fn terminal_width() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: room for a size.
    let status = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (status == 0).then(|| usize::from(if size.ws_col == 0 { 80 } else { size.ws_col }))
}

/// With the lines that warn in red.
fn coloured(text: &str) -> String {
    text.replace("\n  WARNING ", "\n  \u{1b}[1;31mWARNING\u{1b}[0m ")
}

/// What is left in a text that would command a terminal: names of functions, arguments.
fn harmless(text: &str) -> String {
    text.split('\n').map(shown).collect::<Vec<_>>().join("\n")
}

/// A line on stderr, which may be full or closed: what is being done goes on.
pub fn say(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints a text as it is.
pub fn print_text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    is_written(writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()))
}

/// What has become of a write to stdout.
pub fn is_written(done: io::Result<()>) -> Result<(), Failure> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            std::process::exit(128 + libc::SIGPIPE)
        }
        done => done.map_err(|error| Failure::of(Path::new("stdout"), &error)),
    }
}

/// A path in JSON, whose texts are UTF-8: other bytes are replaced.
pub fn lossy<S: Serializer>(path: &(impl AsRef<Path> + ?Sized), to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&path.as_ref().to_string_lossy())
}

/// The same of one that may not be there.
#[expect(clippy::ref_option, reason = "serde's signature")]
pub fn lossy_option<S: Serializer>(
    path: &Option<impl AsRef<Path>>,
    to: S,
) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| path.as_ref().to_string_lossy()).serialize(to)
}

/// What a process does with a signal.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub fn word<S: Serializer>(disposition: &Disposition, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(disposition.word())
}

/// A path and an offset.
#[expect(clippy::ref_option, reason = "serde's signature")]
pub fn lossy_place<S: Serializer>(
    place: &Option<(PathBuf, u64)>,
    to: S,
) -> Result<S::Ok, S::Error> {
    place.as_ref().map(|(path, offset)| (path.to_string_lossy(), offset)).serialize(to)
}

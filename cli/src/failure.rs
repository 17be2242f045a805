//! Why a command could not be done, and what to do then.

use crate::exit::Exit;
use crate::report::{Output, say, shown};
use serde::Serialize;
use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

/// One line for stderr: what failed, why, and what to do.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// What was worked on.
    about: String,
    /// What went wrong, with advice where there is some.
    message: String,
    /// The errno value, if the kernel gave one.
    errno: Option<i32>,
}

impl Failure {
    /// Of a file or process.
    pub fn new(about: impl Display, message: impl Display) -> Self {
        Self { about: about.to_string(), message: message.to_string(), errno: None }
    }

    /// An answer of the kernel about a path, with advice.
    pub fn of(path: &Path, error: &std::io::Error) -> Self {
        let errno = error.raw_os_error();
        let advice = errno.map_or("", advice);
        Self { about: path.display().to_string(), message: format!("{error}{advice}"), errno }
    }

    /// The same, with an errno value.
    pub fn with_errno(self, errno: i32) -> Self {
        Self { errno: Some(errno), ..self }
    }

    /// The same, with more to say.
    pub fn and(self, more: &str) -> Self {
        Self { message: self.message + more, ..self }
    }

    /// Writes it to stderr, and says with what to exit.
    pub fn tell(&self, output: Output) -> ExitCode {
        if output.json {
            say(serde_json::json!({ "error": self }));
        } else {
            say(format!("sigward: {}: {}", shown(&self.about), shown(&self.message)));
        }
        Exit::Failed.into()
    }
}

fn advice(errno: i32) -> &'static str {
    match errno {
        libc::ENOENT => ": look at the name; a relative one begins in the current folder",
        libc::EACCES => ": run as the file's owner, or with sudo",
        libc::EISDIR => ": name a file",
        libc::EROFS => ": mounted read-only",
        _ => "",
    }
}

//! What the command's exit status says.

use std::process::ExitCode;

/// The exit status of a command that has done its work. A wrong command line is 2 (clap's).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, and nothing is wrong.
    Good = 0,
    /// Done, and the answer is bad news: damage.
    BadNews = 1,
    /// It could not be done.
    Failed = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The manual page's section, which `--help` shows as well.
pub const TABLE: &str = "\
Exit status:
  0    done, and nothing is wrong
  1    done, and the answer is bad news: a log is damaged, a watched process
       died of a signal, a file was cut, audit has a warning; or explain has
       found no cause in the core, or something that would end the process
  2    wrong command line
  3    could not be done; the reason, and what to do, is on stderr
  watch -- COMMAND exits as COMMAND did, with 128 + N if signal N ended it,
  127 if it was not found, 126 if it could not be started";

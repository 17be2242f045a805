//! Printing: a text for people, or JSON.

use crate::failure::Failure;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, Write};

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
        let mut out = io::stdout().lock();
        match writeln!(out, "{text}").and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                std::process::exit(128 + libc::SIGPIPE)
            }
            Err(error) => Err(Failure::new("stdout", error)),
            Ok(()) => Ok(()),
        }
    }
}

/// A number with a space between groups of three digits: `1 048 576`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_are_grouped_from_the_end() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1 000"), (1_048_576, "1 048 576")] {
            assert_eq!(grouped(number), text);
        }
    }
}

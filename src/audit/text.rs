//! Signals' names, numbers for people, and JSON.

use std::fmt::Write;

/// Of the signals that have names, from 1 on.
pub const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// `SIGBUS` for 7; real-time signals by number.
#[must_use]
pub fn name(signal: i32) -> String {
    let known = usize::try_from(signal - 1).ok().and_then(|at| NAMES.get(at));
    known.map_or_else(|| format!("signal {signal}"), |name| (*name).to_owned())
}

/// A number with a space between groups of three digits: `1 048 576`.
#[must_use]
pub fn grouped(number: u64) -> String {
    match number {
        0..=999 => number.to_string(),
        _ => format!("{} {:03}", grouped(number / 1000), number % 1000),
    }
}

/// `1 thread`, `2 threads`.
#[must_use]
pub fn threads(count: usize) -> String {
    format!("{count} thread{}", if count == 1 { "" } else { "s" })
}

/// A name or path for people: what would begin a line of its own, or command a terminal, is
/// escaped. Who is looked at has chosen it.
#[must_use]
pub fn shown(name: impl AsRef<std::ffi::OsStr>) -> String {
    escaped(&name.as_ref().to_string_lossy())
}

fn escaped(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        match letter {
            '\n' => text.push_str("\\n"),
            // To a text nothing fails.
            _ if letter.is_control() => drop(write!(text, "\\u{{{:x}}}", u32::from(letter))),
            _ => text.push(letter),
        }
    }
    text
}

/// A JSON object that is being written.
pub(super) struct Object<'a>(&'a mut String, char);

impl<'a> Object<'a> {
    pub(super) fn begin(to: &'a mut String) -> Self {
        Self(to, '{')
    }

    fn key(&mut self, key: &str) -> &mut String {
        self.0.push(std::mem::replace(&mut self.1, ','));
        quote(self.0, key);
        self.0.push(':');
        self.0
    }

    pub(super) fn text(&mut self, key: &str, value: &str) -> &mut Self {
        quote(self.key(key), value);
        self
    }

    /// A text, or null.
    pub(super) fn maybe(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        let to = self.key(key);
        match value {
            Some(value) => quote(to, value),
            None => to.push_str("null"),
        }
        self
    }

    /// What prints itself as JSON has it: a number, true, false.
    pub(super) fn plain(&mut self, key: &str, value: impl std::fmt::Display) -> &mut Self {
        // To a text nothing fails.
        let _ = write!(self.key(key), "{value}");
        self
    }

    pub(super) fn texts(
        &mut self,
        key: &str,
        values: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> &mut Self {
        self.list(key, values, |to, value| quote(to, value.as_ref()))
    }

    pub(super) fn list<T>(
        &mut self,
        key: &str,
        values: impl IntoIterator<Item = T>,
        mut one: impl FnMut(&mut String, T),
    ) -> &mut Self {
        let to = self.key(key);
        to.push('[');
        for (at, value) in values.into_iter().enumerate() {
            if at > 0 {
                to.push(',');
            }
            one(to, value);
        }
        to.push(']');
        self
    }

    /// A value that writes itself, or null.
    pub(super) fn value<T>(
        &mut self,
        key: &str,
        value: Option<T>,
        one: impl FnOnce(&mut String, T),
    ) -> &mut Self {
        let to = self.key(key);
        match value {
            Some(value) => one(to, value),
            None => to.push_str("null"),
        }
        self
    }

    pub(super) fn end(&mut self) {
        if self.1 == '{' {
            self.0.push('{');
        }
        self.0.push('}');
    }
}

fn quote(to: &mut String, text: &str) {
    to.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => to.extend(['\\', letter]),
            '\n' => to.push_str("\\n"),
            letter if letter < ' ' => {
                let _ = write!(to, "\\u{:04x}", u32::from(letter));
            }
            letter => to.push(letter),
        }
    }
    to.push('"');
}

#[cfg(test)]
mod tests {
    use super::{Object, grouped};

    #[test]
    fn digits_are_grouped_from_the_end() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1 000"), (1_048_576, "1 048 576")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn what_ends_a_text_is_escaped() {
        let mut text = String::new();
        Object::begin(&mut text)
            .text("a", "\"\\\n\u{1}\u{e4}")
            .plain("b", 7)
            .texts("c", ["x", "y"])
            .maybe("d", None)
            .value("e", Some(()), |to, ()| Object::begin(to).end())
            .end();
        assert_eq!(
            text,
            "{\"a\":\"\\\"\\\\\\n\\u0001\u{e4}\",\"b\":7,\"c\":[\"x\",\"y\"],\"d\":null,\"e\":{}}"
        );
    }
}

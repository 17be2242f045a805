//! What may go wrong with signals in this process, before it does: what `sigward audit PID` finds,
//! and what only the process itself can see.
//!
//! ```
//! let account = sigward::audit::audit()?;
//! for finding in &account.findings {
//!     println!("{}: {}: {}", finding.id, finding.evidence, finding.remedy);
//! }
//! # Ok::<(), std::io::Error>(())
//! ```

mod elf;
mod facts;
mod findings;
mod own;
#[doc(hidden)]
pub mod proc;
mod text;

pub use findings::{Finding, Severity};
pub use own::{Handler, Own, Row};
pub use proc::Disposition;

use facts::{Executables, Facts};
use std::{fmt, io};
use text::Object;

/// For the command `sigward`; no part of the library's contract.
#[doc(hidden)]
pub mod outside {
    pub use super::facts::{Executables, Facts, MappedFile, Writers, by_name, look_again, writers};
    pub use super::proc;
    pub use super::text::{NAMES, grouped, name, shown, threads};
}

/// What is said of a process.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Account {
    /// The process.
    pub pid: i32,
    /// The name of its first thread: of the program, if nobody has changed it.
    pub program: String,
    /// Its effective user.
    pub user: u32,
    /// How many threads it has.
    pub threads: usize,
    /// Go (of an executable), JVM, CPython, Node.
    pub runtimes: Vec<&'static str>,
    /// Whether this library is in it.
    pub has_sigward: bool,
    /// What it does with SIGPIPE.
    pub sigpipe: Disposition,
    /// What it does with SIGBUS.
    pub sigbus: Disposition,
    /// Signals that it ignores.
    pub ignored: Vec<i32>,
    /// Signals that it has handlers for.
    pub caught: Vec<i32>,
    /// Signals that wait for it, or for its first thread.
    pub pending: Vec<i32>,
    /// Why maps and descriptors may not be looked at; then there may be more findings.
    pub missing: Option<String>,
    /// What only the process itself can see.
    pub own: Option<Own>,
    /// The handlers of another process that was made to tell them: `sigward audit --deep`.
    pub handlers: Option<Vec<Row>>,
    /// What may go wrong.
    pub findings: Vec<Finding>,
}

/// Looks at this process. Reads /proc, also of all other processes that it may look at: a child may
/// have inherited something, and somebody may have a mapped file open for writing. So it takes
/// milliseconds, and 20 more where a signal is blocked that matters: starting a thread blocks all
/// for a moment, so these are looked at twice.
///
/// Thread-safe, works in a forked child; not for signal handlers. Changes nothing but the counter
/// `overwritten`, as [`crate::status`].
///
/// # Errors
/// [`io::ErrorKind::NotFound`] if there is no /proc; else as [`crate::status`].
#[doc(alias = "sigward_audit_json")]
pub fn audit() -> io::Result<Account> {
    let own = Own::read()?;
    let gone = || io::Error::new(io::ErrorKind::NotFound, "there is no /proc: mount it (proc(5))");
    let pid = proc::own().ok_or_else(gone)?;
    let all = proc::processes();
    let mut facts =
        Facts::of(pid, &facts::writers(&all), &mut Executables::default()).ok_or_else(gone)?;
    facts.has_library = true;
    facts.add_children(&all);
    facts::look_again(std::slice::from_mut(&mut facts));
    facts.own = Some(own);
    let missing = (!facts.is_open).then(|| "its maps and descriptors may not be read".to_owned());
    Ok(Account::of(facts, missing))
}

impl Account {
    /// From what is known.
    #[doc(hidden)]
    #[must_use]
    pub fn of(facts: Facts, missing: Option<String>) -> Self {
        let findings = findings::of(&facts);
        let status = &facts.status;
        let signals = |set: u64| (1..=64).filter(|signal| proc::has(set, *signal)).collect();
        Self {
            pid: facts.pid,
            program: status.name.clone(),
            user: status.users[1],
            threads: facts.threads,
            has_sigward: facts.has_library,
            sigpipe: status.disposition(libc::SIGPIPE),
            sigbus: status.disposition(libc::SIGBUS),
            ignored: signals(status.ignored),
            caught: signals(status.caught),
            pending: signals(status.pending),
            missing,
            runtimes: facts.runtimes,
            own: facts.own,
            handlers: facts.handlers,
            findings,
        }
    }

    /// One JSON object in one line: `process_audit` of `sigward schema`.
    #[must_use]
    pub fn json(&self) -> String {
        let names =
            |signals: &[i32]| signals.iter().map(|signal| text::name(*signal)).collect::<Vec<_>>();
        let mut to = String::new();
        let mut object = Object::begin(&mut to);
        object
            .plain("pid", self.pid)
            .text("program", &self.program)
            .plain("user", self.user)
            .plain("threads", self.threads)
            .texts("runtimes", &self.runtimes)
            .plain("has_sigward", self.has_sigward)
            .text("sigpipe", self.sigpipe.word())
            .text("sigbus", self.sigbus.word())
            .texts("ignored", names(&self.ignored))
            .texts("caught", names(&self.caught))
            .texts("pending", names(&self.pending))
            .maybe("missing", self.missing.as_deref())
            .value("own", self.own.as_ref(), |to, own| own.write(to))
            .list("findings", &self.findings, |to, finding| finding.write(to));
        if let Some(rows) = &self.handlers {
            object.list("handlers", rows, |to, row| row.write(to));
        }
        object.end();
        to
    }
}

impl Finding {
    fn write(&self, to: &mut String) {
        Object::begin(to)
            .text("id", self.id)
            .text("severity", self.severity.word())
            .text("evidence", &self.evidence)
            .text("remedy", self.remedy)
            .end();
    }
}

impl Own {
    fn write(&self, to: &mut String) {
        Object::begin(to)
            .text("sigpipe", &self.sigpipe.reason.to_string())
            .text("sigbus", &self.sigbus.reason.to_string())
            .plain("guarded", self.guarded)
            .plain("has_go", self.has_go)
            .list("rows", &self.rows, |to, row| row.write(to))
            .end();
    }
}

impl Row {
    fn write(&self, to: &mut String) {
        Object::begin(to)
            .text("signal", &text::name(self.signal))
            .value("handler", Some(&self.handler), |to, handler| handler.write(to))
            .list("line", &self.line, |to, handler| handler.write(to))
            .end();
    }
}

impl Handler {
    fn write(&self, to: &mut String) {
        let address = match self.address {
            libc::SIG_DFL => "default".to_owned(),
            libc::SIG_IGN => "ignored".to_owned(),
            address => format!("{address:#x}"),
        };
        Object::begin(to)
            .text("address", &address)
            .maybe("library", self.library.as_deref())
            .texts("flags", self.flag_names())
            .plain("is_ours", self.is_ours)
            .end();
    }
}

impl fmt::Display for Account {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = text::threads(self.threads);
        writeln!(
            out,
            "{} (pid {}), user {}, {threads}",
            text::shown(&self.program),
            self.pid,
            self.user
        )?;
        let mut line = |name: &str, text: &str| writeln!(out, "  {name:<10} {text}");
        if !self.runtimes.is_empty() {
            line("runtimes", &self.runtimes.join(", "))?;
        }
        line("sigward", if self.has_sigward { "is in it" } else { "is not in it" })?;
        line("SIGPIPE", self.sigpipe.word())?;
        line("SIGBUS", self.sigbus.word())?;
        for (name, signals) in
            [("ignored", &self.ignored), ("caught", &self.caught), ("pending", &self.pending)]
        {
            if !signals.is_empty() {
                let names: Vec<String> = signals.iter().map(|signal| text::name(*signal)).collect();
                line(name, &names.join(" "))?;
            }
        }
        if let Some(missing) = &self.missing {
            line("note", missing)?;
        }
        for row in self.handlers.iter().flatten() {
            line(&text::name(row.signal), &row.handler.to_string())?;
        }
        if self.findings.is_empty() {
            line("findings", "none")?;
        }
        self.findings.iter().try_for_each(|finding| write!(out, "{finding}"))?;
        self.own.as_ref().map_or(Ok(()), |own| write!(out, "{own}"))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.severity == Severity::Warning { "WARNING" } else { "info" };
        writeln!(out, "  {severity:<10} {}: {}", self.id, text::shown(&self.evidence))?;
        writeln!(out, "  {:<10} {}", "", self.remedy)
    }
}

impl fmt::Display for Own {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "  seats      SIGPIPE {}; SIGBUS {}",
            self.sigpipe.reason, self.sigbus.reason
        )?;
        writeln!(out, "  guarded    {} maps", self.guarded)?;
        for row in &self.rows {
            write!(out, "  {:<10} {}", text::name(row.signal), row.handler)?;
            row.line.iter().try_for_each(|next| write!(out, ", then {next}"))?;
            writeln!(out)?;
        }
        Ok(())
    }
}

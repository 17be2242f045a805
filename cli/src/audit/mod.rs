//! `sigward audit PID…`, `--all`, `BINARY`: what may go wrong with signals, before it does.
//!
//! Nothing is stopped and nothing is injected: handlers' addresses and flags are not seen.

mod binary;
pub mod facts;
mod findings;

use crate::args::Audit;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::proc::{self, Disposition, has};
use crate::refused;
use crate::report::Output;
use crate::signals;
use facts::{Executables, Facts, Writers};
use findings::{Finding, Severity};
use serde::Serialize;
use std::fmt::{self, Write};
use std::path::Path;

/// What is said of a process.
#[derive(Debug, Serialize)]
pub struct Account {
    pid: i32,
    program: String,
    user: u32,
    threads: usize,
    runtimes: Vec<&'static str>,
    /// Whether sigward's library is in it.
    has_sigward: bool,
    sigpipe: Disposition,
    sigbus: Disposition,
    ignored: Vec<String>,
    caught: Vec<String>,
    pending: Vec<String>,
    /// Why maps and descriptors may not be looked at; then there may be more findings.
    missing: Option<String>,
    findings: Vec<Finding>,
}

/// `sigward audit`
pub fn audit(request: &Audit, output: Output) -> Result<Exit, Failure> {
    if request.all {
        return everything(request, output);
    }
    let all = proc::processes();
    let mut executables = Executables::default();
    let mut writers = None;
    let mut worst = None;
    for what in &request.what {
        let pid = what.to_str().and_then(|text| text.parse::<i32>().ok());
        let is_binary = pid.is_none() || what.exists();
        let severity = match pid.filter(|_| !is_binary) {
            Some(pid) => {
                let writers = writers.get_or_insert_with(|| facts::writers(&all));
                let account = one(pid, writers, &mut executables, &all)?;
                output.print(&account)?;
                account.worst()
            }
            None => binary::audit(what, output)?,
        };
        worst = worst.max(severity);
    }
    Ok(if worst == Some(Severity::Warning) { Exit::BadNews } else { Exit::Good })
}

fn one(pid: i32, writers: &Writers, executables: &mut Executables, all: &[i32]) -> Result<Account, Failure> {
    let failure = |why: &str| Failure::new(format!("process {pid}"), why);
    if proc::is_kernels(pid) {
        return Err(failure(refused::KERNEL));
    }
    if proc::ended(pid).is_some() {
        return Err(failure("it has ended, and its parent has not asked for that yet: sigward explain PID"));
    }
    let mut facts = Facts::of(pid, writers, executables).ok_or_else(|| failure(refused::NOBODY))?;
    facts.add_children(all);
    facts::look_again(std::slice::from_mut(&mut facts));
    Ok(Account::of(facts))
}

impl Account {
    fn of(facts: Facts) -> Self {
        let findings = findings::of(&facts);
        let status = &facts.status;
        let names = |set: u64| {
            (1..=64).filter(|signal| has(set, *signal)).map(signals::name).collect::<Vec<String>>()
        };
        Self {
            pid: facts.pid,
            program: status.name.clone(),
            user: status.users[1],
            threads: facts.threads,
            has_sigward: facts.has_library,
            sigpipe: status.disposition(libc::SIGPIPE),
            sigbus: status.disposition(libc::SIGBUS),
            ignored: names(status.ignored),
            caught: names(status.caught),
            pending: names(status.pending),
            missing: (!facts.is_open).then(|| refused::unreadable(status)),
            runtimes: facts.runtimes,
            findings,
        }
    }

    fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

fn everything(request: &Audit, output: Output) -> Result<Exit, Failure> {
    let all = proc::processes();
    // Kernel threads have no executable and no signals.
    let users = all.iter().filter(|pid| proc::has_memory(**pid));
    let mut executables = Executables::default();
    let mut facts: Vec<Facts> =
        users.filter_map(|pid| Facts::of(*pid, &Writers::new(), &mut executables)).collect();
    facts::look_again(&mut facts);
    let accounts: Vec<Account> = facts.into_iter().map(Account::of).collect();
    if let Some(path) = &request.prometheus {
        write_whole(path, &prometheus(&accounts))?;
    } else if output.json {
        for account in &accounts {
            output.print(account)?;
        }
    } else {
        output.print(&Table { accounts: &accounts })?;
    }
    let worst = accounts.iter().filter_map(Account::worst).max();
    Ok(if worst == Some(Severity::Warning) { Exit::BadNews } else { Exit::Good })
}

/// At once: the collector must not read half of it.
fn write_whole(path: &Path, text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let failed = |error: &dyn fmt::Display| Failure::new(path.display(), error);
    let mut file =
        sigward::file::ReplaceOptions::new().mode(0o644).create(path).map_err(|error| failed(&error))?;
    file.write_all(text.as_bytes()).map_err(|error| failed(&error))?;
    file.commit().map_err(|error| failed(&error))
}

/// For node_exporter's collector of text files.
fn prometheus(accounts: &[Account]) -> String {
    let mut text = String::from(
        "# HELP sigward_findings What sigward audit has found in a process.\n\
         # TYPE sigward_findings gauge\n",
    );
    for account in accounts {
        let mut counts = std::collections::BTreeMap::new();
        for finding in &account.findings {
            let severity = if finding.severity == Severity::Warning { "warning" } else { "info" };
            *counts.entry((finding.id, severity)).or_insert(0) += 1;
        }
        let program = account.program.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        for ((id, severity), count) in counts {
            let _ = writeln!(
                text,
                "sigward_findings{{pid=\"{}\",program=\"{program}\",id=\"{id}\",severity=\"{severity}\"}} {count}",
                account.pid
            );
        }
    }
    let _ = writeln!(
        text,
        "# HELP sigward_audited_processes Processes that were looked at.\n\
         # TYPE sigward_audited_processes gauge\nsigward_audited_processes {}",
        accounts.len()
    );
    text
}

#[derive(Serialize)]
struct Table<'a> {
    accounts: &'a [Account],
}

fn word(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Default => "default",
        Disposition::Ignored => "ignored",
        Disposition::Caught => "caught",
        Disposition::Init => "init",
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["PID", "PROGRAM", "THREADS", "RUNTIME", "SIGPIPE", "SIGBUS", "SIGWARD", "FINDINGS"];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.accounts.iter().map(|account| {
            let mut findings: Vec<&str> = account.findings.iter().map(|finding| finding.id).collect();
            findings.dedup();
            if account.missing.is_some() {
                findings.push("(needs privilege)");
            }
            [
                account.pid.to_string(),
                account.program.clone(),
                account.threads.to_string(),
                account.runtimes.join("+"),
                word(account.sigpipe).to_owned(),
                word(account.sigbus).to_owned(),
                if account.has_sigward { "yes" } else { "" }.to_owned(),
                findings.join(" "),
            ]
        }));
        let widths: Vec<usize> = (0..head.len())
            .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        for row in rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

impl fmt::Display for Account {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} (pid {}), user {}, {} threads", self.program, self.pid, self.user, self.threads)?;
        let mut line = |name: &str, text: &str| writeln!(out, "  {name:<10} {text}");
        if !self.runtimes.is_empty() {
            line("runtimes", &self.runtimes.join(", "))?;
        }
        line("sigward", if self.has_sigward { "is in it" } else { "is not in it" })?;
        line("SIGPIPE", word(self.sigpipe))?;
        line("SIGBUS", word(self.sigbus))?;
        for (name, signals) in
            [("ignored", &self.ignored), ("caught", &self.caught), ("pending", &self.pending)]
        {
            if !signals.is_empty() {
                line(name, &signals.join(" "))?;
            }
        }
        if let Some(missing) = &self.missing {
            line("note", missing)?;
        }
        if self.findings.is_empty() {
            return line("findings", "none");
        }
        self.findings.iter().try_for_each(|finding| write!(out, "{finding}"))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.severity == Severity::Warning { "WARNING" } else { "info" };
        writeln!(out, "  {severity:<10} {}: {}", self.id, self.evidence)?;
        writeln!(out, "  {:<10} {}", "", self.remedy)
    }
}

//! `sigward audit PID…`, `--all`, `BINARY`: what may go wrong with signals, before it does.
//!
//! Nothing is stopped and nothing is injected, but where `--deep` asks for it: the addresses and
//! flags of handlers are not seen otherwise.

mod binary;
mod deep;

use crate::args::Audit;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::proc;
use crate::refused;
use crate::report::{Output, terminal_width};
use sigward::audit::outside::{self, Executables, Facts, Writers};
use sigward::audit::{Account, Severity};
use std::fmt::{self, Write};
use std::path::Path;

/// `sigward audit`
pub fn audit(request: &Audit, output: Output) -> Result<Exit, Failure> {
    if request.all {
        refused::unless_proc_is_ours()?;
        return everything(request, output);
    }
    let all = proc::processes();
    let mut executables = Executables::default();
    let mut writers = None;
    let (mut worst, mut failed) = (None, false);
    for what in &request.what {
        let pid = what.to_str().and_then(|text| text.parse::<i32>().ok()).filter(|pid| *pid > 0);
        let is_binary = pid.is_none() || what.exists();
        let severity = match pid.filter(|_| !is_binary) {
            Some(id) => {
                refused::unless_proc_is_ours()?;
                let pid = proc::process_of(id);
                let writers = writers.get_or_insert_with(|| outside::writers(&all));
                one(pid, request.deep, writers, &mut executables, &all)
                    .and_then(|account| print(&account, output).map(|()| worst_of(&account)))
            }
            None => binary::audit(what, output),
        };
        match severity {
            Ok(severity) => worst = worst.max(severity),
            // One may have ended meanwhile: the others are looked at.
            Err(failure) => {
                failure.tell(output);
                failed = true;
            }
        }
    }
    Ok(match worst {
        _ if failed => Exit::Failed,
        Some(Severity::Warning) => Exit::BadNews,
        _ => Exit::Good,
    })
}

fn one(
    pid: i32,
    deep: bool,
    writers: &Writers,
    executables: &mut Executables,
    all: &[i32],
) -> Result<Account, Failure> {
    let failure = |why: &str| Failure::new(format!("process {pid}"), why);
    if proc::is_kernels(pid) {
        return Err(failure(refused::KERNEL));
    }
    if proc::ended(pid).is_some() {
        return Err(failure(refused::ENDED));
    }
    let mut facts = Facts::by(proc::living(pid), pid, writers, executables)
        .ok_or_else(|| failure(refused::nobody(pid)))?;
    facts.add_children(all);
    outside::look_again(std::slice::from_mut(&mut facts));
    if deep {
        facts.handlers = Some(deep::rows(pid)?);
    }
    Ok(account_of(facts))
}

fn account_of(facts: Facts) -> Account {
    let missing = (!facts.is_open).then(|| refused::unreadable(&facts.status));
    Account::of(facts, missing)
}

fn worst_of(account: &Account) -> Option<Severity> {
    account.findings.iter().map(|finding| finding.severity).max()
}

/// By the library's own hand, so that both say the same in the same words.
fn print(account: &Account, output: Output) -> Result<(), Failure> {
    output.print_text(&if output.json { account.json() } else { account.to_string() })
}

fn everything(request: &Audit, output: Output) -> Result<Exit, Failure> {
    let all = proc::processes();
    // Kernel threads have no executable and no signals.
    let users = all.iter().map(|pid| (proc::living(*pid), *pid));
    let users = users.filter(|(living, _)| proc::has_memory(*living));
    let mut executables = Executables::default();
    let of = |(living, pid)| Facts::by(living, pid, &Writers::new(), &mut executables);
    let mut facts: Vec<Facts> = users.filter_map(of).collect();
    outside::look_again(&mut facts);
    let accounts: Vec<Account> = facts.into_iter().map(account_of).collect();
    if let Some(path) = &request.prometheus {
        write_whole(path, &prometheus(&accounts))?;
    } else if output.json {
        for account in &accounts {
            print(account, output)?;
        }
    } else {
        output.print_text(&Table { accounts: &accounts, width: terminal_width() }.to_string())?;
    }
    let worst = accounts.iter().filter_map(worst_of).max();
    Ok(if worst == Some(Severity::Warning) { Exit::BadNews } else { Exit::Good })
}

/// At once: the collector must not read half of it.
fn write_whole(path: &Path, text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let failed = |error: &dyn fmt::Display| Failure::new(path.display(), error);
    let mut file = sigward::file::ReplaceOptions::new()
        .mode(0o644)
        .create(path)
        .map_err(|error| failed(&error))?;
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
            *counts.entry((finding.id, finding.severity.word())).or_insert(0) += 1;
        }
        let program =
            account.program.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
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

struct Table<'a> {
    accounts: &'a [Account],
    /// Of the terminal, in which the findings are broken into lines.
    width: Option<usize>,
}

/// Words in lines that are not longer than this, if they can be.
fn broken(words: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= room => line.extend([" ", word]),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head =
            ["PID", "PROGRAM", "THREADS", "RUNTIME", "SIGPIPE", "SIGBUS", "SIGWARD", "FINDINGS"];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.accounts.iter().map(|account| {
            let mut findings: Vec<&str> =
                account.findings.iter().map(|finding| finding.id).collect();
            findings.dedup();
            if account.missing.is_some() {
                findings.push("(needs privilege)");
            }
            [
                account.pid.to_string(),
                account.program.clone(),
                account.threads.to_string(),
                account.runtimes.join("+"),
                account.sigpipe.word().to_owned(),
                account.sigbus.word().to_owned(),
                if account.has_sigward { "yes" } else { "" }.to_owned(),
                findings.join(" "),
            ]
        }));
        let widths: Vec<usize> = (0..head.len())
            .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        let start: usize = widths[..head.len() - 1].iter().map(|width| width + 2).sum();
        let room = self.width.map_or(usize::MAX, |width| width.saturating_sub(start).max(20));
        for [cells @ .., findings] in rows {
            let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  "));
            let mut start = cells.collect::<String>();
            for line in broken(&findings, room) {
                writeln!(out, "{}", format!("{start}{line}").trim_end())?;
                start = " ".repeat(start.chars().count());
            }
        }
        Ok(())
    }
}

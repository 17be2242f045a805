//! `sigward explain PID`: what a process would die of now; of one that has ended and was not waited
//! for, what it has died of.
//!
//! Nothing is stopped. Each descriptor is duplicated for a moment (pidfd_getfd(2)) to ask whether a
//! write to it would fail.

use crate::descriptors::{self, Process};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::proc;
use crate::refused;
use crate::report::{Output, grouped, shown};
use crate::signals;
use proc::{Disposition, Status};
use serde::Serialize;
use sigward::audit::outside::{Executables, Facts, MappedFile, Writers};
use std::fmt;

/// Everything that is said about a process.
#[derive(Debug, Serialize)]
pub struct Prospect {
    pid: i32,
    program: String,
    /// How it has ended, if it has.
    ended: Option<Ended>,
    /// What would raise a signal, or is going to.
    threats: Vec<Threat>,
    /// Why maps and descriptors may not be looked at; then there may be more.
    missing: Option<String>,
}

/// The end of a process whose parent has not asked for it.
#[derive(Debug, Serialize)]
struct Ended {
    signal: Option<String>,
    status: Option<i32>,
    core: bool,
    parent: i32,
}

/// One way to get a signal.
#[derive(Debug, Serialize)]
struct Threat {
    signal: String,
    what: String,
    #[serde(serialize_with = "crate::report::word")]
    disposition: Disposition,
}

/// `sigward explain PID`
pub fn explain(pid: i32, output: Output) -> Result<Exit, Failure> {
    if proc::is_kernels(pid) {
        return Err(Failure::new(format!("process {pid}"), refused::KERNEL));
    }
    let found = Prospect::of(pid).ok_or_else(|| {
        let nobody = refused::nobody(pid);
        let else_what = "no file of that name, and no core that systemd keeps; of a process that is gone \
                         only its core file tells (sigward explain CORE)";
        Failure::new(format!("process {pid}"), format!("{nobody}; {else_what}"))
    })?;
    output.print(&found)?;
    Ok(if found.is_bad() { Exit::BadNews } else { Exit::Good })
}

impl Prospect {
    fn of(pid: i32) -> Option<Self> {
        let living = proc::living(pid);
        let facts = Facts::by(living, pid, &Writers::new(), &mut Executables::default())?;
        let program = facts.status.name.clone();
        if let Some(how) = proc::ended(pid) {
            let ended = Ended {
                signal: libc::WIFSIGNALED(how).then(|| signals::name(libc::WTERMSIG(how))),
                status: libc::WIFEXITED(how).then(|| libc::WEXITSTATUS(how)),
                core: libc::WIFSIGNALED(how) && libc::WCOREDUMP(how),
                parent: facts.status.parent,
            };
            return Some(Self {
                pid,
                program,
                ended: Some(ended),
                threats: Vec::new(),
                missing: None,
            });
        }
        let process = Process::open(pid, living);
        let broken = process.as_ref().map(|process| descriptors::broken(living, process));
        let complete = facts.is_open && broken.as_ref().is_some_and(Option::is_some);
        let mut threats = Vec::new();
        let mut add = |signal, what| {
            let disposition = facts.status.disposition(signal);
            threats.push(Threat { signal: signals::name(signal), what, disposition });
        };
        for found in broken.flatten().unwrap_or_default() {
            add(libc::SIGPIPE, format!("a write to {found}"));
        }
        for file in &facts.files {
            for what in [beyond(file, facts.page), without_room(file)].into_iter().flatten() {
                add(libc::SIGBUS, what);
            }
        }
        for (signal, waits) in pending(pid) {
            add(signal, waits);
        }
        let missing = (!complete).then(|| refused::unreadable(&facts.status));
        Some(Self { pid, program, ended: None, threats, missing })
    }

    fn is_bad(&self) -> bool {
        let killed = self.ended.as_ref().is_some_and(|ended| ended.signal.is_some());
        killed || self.threats.iter().any(Threat::ends)
    }
}

impl Threat {
    fn ends(&self) -> bool {
        self.disposition == Disposition::Default
    }
}

fn beyond(file: &MappedFile, page: u64) -> Option<String> {
    let length = file.now.length.filter(|_| file.is_beyond(page))?;
    let [mapped, length] = [file.mapped_to, length].map(grouped);
    let path = shown(&file.path);
    Some(format!(
        "an access behind byte {length} of {path}, which is its end now; {mapped} are mapped"
    ))
}

fn without_room(file: &MappedFile) -> Option<String> {
    let free = file.now.free.filter(|_| file.lacks_room())?;
    let [holes, free] = [file.holes, free].map(grouped);
    let path = shown(&file.path);
    Some(format!(
        "a store into {path}: {holes} bytes of it have no block, and its disk has {free} bytes free"
    ))
}

/// Signals that wait and whose default action ends a process: who keeps them waiting.
fn pending(pid: i32) -> Vec<(i32, String)> {
    const HARMLESS: [i32; 8] = [
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGURG,
        libc::SIGWINCH,
        libc::SIGSTOP,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
    ];
    let threads = proc::threads(pid);
    let states: Vec<(i32, Status)> =
        threads.into_iter().filter_map(|tid| Some((tid, Status::of(tid)?))).collect();
    let waiting = states.iter().fold(0, |set, (_, status)| set | status.pending);
    let ending =
        (1..=64).filter(|signal| proc::has(waiting, *signal) && !HARMLESS.contains(signal));
    let told = ending.map(|signal| {
        let blocked = states.iter().filter(|(_, status)| proc::has(status.blocked, signal)).count();
        let what = match blocked {
            0 => "is on its way, and nobody has it blocked: the process is stopped, or inside a call that \
                  does not end"
                .to_owned(),
            _ => format!("waits until it is unblocked, which it is in {blocked} of {} threads", states.len()),
        };
        (signal, what)
    });
    told.collect()
}

impl fmt::Display for Prospect {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} (pid {}) ", self.program, self.pid)?;
        if let Some(ended) = &self.ended {
            return writeln!(out, "{ended}");
        }
        if self.threats.is_empty() {
            writeln!(out, "runs, and nothing is seen that would end it by a signal")?;
        } else {
            writeln!(out, "runs; what would raise a signal in it now:")?;
        }
        for threat in &self.threats {
            writeln!(
                out,
                "  {:<8} {}{}",
                threat.signal,
                threat.what,
                threat.disposition.comes_to()
            )?;
        }
        if let Some(missing) = &self.missing {
            writeln!(out, "  note     {missing}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.signal, self.status) {
            (Some(signal), _) => write!(out, "has died of {signal}")?,
            (_, status) => write!(out, "has ended with status {}", status.unwrap_or(0))?,
        }
        if self.core {
            out.write_str(" (core dumped: sigward explain CORE)")?;
        }
        write!(out, ", and its parent, pid {}, has not asked for that yet", self.parent)?;
        match self.signal.as_deref() {
            Some("SIGPIPE" | "SIGBUS") => {
                out.write_str("; `sigward watch -- COMMAND` tells the cause next time")
            }
            _ => Ok(()),
        }
    }
}

//! `sigward explain CORE [PROGRAM]`: what a program has died of, from its core file. Of a process
//! (`PID`) what it would die of.

mod frame;
mod prospect;
pub mod runtime;
pub mod storage;

use crate::args::Explain;
use crate::core::Core;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::place::{Mapping, Now, Place};
use crate::proc;
use crate::refused;
use crate::registers::describe;
use crate::report::{Output, shown};
use crate::signals::{self, Info};
use crate::symbols::Program;
use object::read::{ReadCache, ReadCacheOps};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Everything that is said about a core.
#[derive(Debug, Serialize)]
pub struct Explanation {
    #[serde(serialize_with = "crate::report::lossy")]
    core: PathBuf,
    program: String,
    command: String,
    pid: i32,
    /// The signal that ended it.
    signal: Option<String>,
    code: Option<i32>,
    /// What the code says.
    meaning: &'static str,
    /// The address of the fault.
    address: Option<u64>,
    /// The original signal was found on the stack, beneath the handler of a runtime.
    recovered: bool,
    thread: Option<Where>,
    /// The mapped file that the fault was in.
    place: Option<Place>,
    /// Threads inside calls that open, cut, replace or remove files.
    changing: Vec<Changing>,
    /// How many threads were inside which other call.
    calls: BTreeMap<String, usize>,
    threads: usize,
    runtime: Option<&'static str>,
    /// Whether the cause is known.
    explained: bool,
    /// What cannot be told, and what to use instead.
    notes: Vec<String>,
}

/// The thread and the instruction.
#[derive(Debug, Serialize)]
struct Where {
    tid: i32,
    pc: u64,
    #[serde(serialize_with = "crate::report::lossy_option")]
    file: Option<PathBuf>,
    offset: Option<u64>,
    function: Option<String>,
    /// A file that was not what ran.
    #[serde(skip)]
    another: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Changing {
    tid: i32,
    call: String,
}

/// `sigward explain CORE|PID [PROGRAM]`
pub fn explain(request: &Explain, output: Output) -> Result<Exit, Failure> {
    let Explain { what: path, program, storage } = request;
    let pid = path.to_str().and_then(|text| text.parse::<i32>().ok()).filter(|pid| *pid > 0);
    if let Some(pid) = pid.filter(|_| !path.exists()) {
        refused::unless_proc_is_ours()?;
        let is_gone = proc::name(pid).is_none();
        return match is_gone.then(|| storage::find(storage, pid)).transpose()?.flatten() {
            Some(core) => of_core(&core, program.as_deref(), output),
            None => prospect::explain(proc::process_of(pid), output),
        };
    }
    of_core(path, program.as_deref(), output)
}

fn of_core(path: &Path, program: Option<&Path>, output: Output) -> Result<Exit, Failure> {
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(|error| Failure::of(path, &error))?;
    if !file.metadata().is_ok_and(|file| file.is_file()) {
        return Err(Failure::new(path.display(), "no regular file: name a core file"));
    }
    if let Some(program) = program {
        program.metadata().map_err(|error| Failure::of(program, &error))?;
        if Program::open(program).is_none() {
            return Err(Failure::new(program.display(), "no regular file that may be read"));
        }
    }
    let data = ReadCache::new(storage::unpacked(file, path)?);
    let core = Core::read(&data).map_err(|error| Failure::new(path.display(), error))?;
    let found = Explanation::of(path, &core, program);
    output.print(&found)?;
    Ok(if found.explained { Exit::Good } else { Exit::BadNews })
}

impl Explanation {
    pub(crate) fn of<R: ReadCacheOps>(
        path: &Path,
        core: &Core<'_, R>,
        program: Option<&Path>,
    ) -> Self {
        let first = core.threads.first();
        let pc = first.map(|thread| thread.registers.pc);
        let runtime = runtime::of(core, program);
        let raised = core.info.is_some_and(|info| !info.is_fault());
        // A runtime's handler has raised another signal, or the same again: what it was called with
        // may lie on the stack.
        let beneath = first
            .filter(|_| raised)
            .and_then(|thread| frame::find(thread.registers, |at, count| core.memory(at, count)));
        let recovered = beneath.is_some();
        let info = beneath.map(|frame| frame.info).or(core.info);
        let pc = beneath.map(|frame| frame.pc).or(pc);
        let thread = first.zip(pc).map(|(thread, pc)| Where::of(thread.tid, pc, core, program));

        let fault = info.filter(Info::is_fault);
        let place = fault.and_then(|info| {
            let mapping = core.file_at(info.address)?;
            let code = (info.signal == libc::SIGBUS).then_some(info.code);
            Place::of(mapping, info.address, code, Now::of(&mapping.path))
        });
        let mut found = Self {
            core: path.to_owned(),
            program: core.process.name.clone(),
            command: core.process.arguments.clone(),
            pid: core.process.pid,
            signal: info.map(|info| signals::name(info.signal)),
            code: info.map(|info| info.code),
            meaning: info.map_or("", |info| info.meaning()),
            address: fault.map(|info| info.address),
            recovered,
            thread,
            place,
            changing: changing(core),
            calls: calls(core),
            threads: core.threads.len(),
            runtime,
            explained: fault.is_some(),
            notes: core.damage.clone(),
        };
        found.note(core.info, raised);
        if let Some(file) = found.thread.as_ref().and_then(|thread| thread.another.as_deref()) {
            let name = shown(file);
            found.notes.push(format!(
                "{name} is not the file that ran: the function is not told (name that one as PROGRAM)"
            ));
        }
        if let Some(program) =
            program.filter(|program| !core.files.iter().any(|file| stands_for(program, file)))
        {
            let name = shown(program);
            found
                .notes
                .push(format!("{name} has the name of no file that was mapped, and was not used"));
        }
        found
    }

    /// Says what a core cannot tell.
    fn note(&mut self, original: Option<Info>, raised: bool) {
        let mut note = |text: &str| self.notes.push(text.to_owned());
        let Some(original) = original else {
            note("there is no signal in it: a live process's (gcore), or one that is cut");
            return;
        };
        if self.recovered {
            note(
                "as it seems: the runtime has ended the process with another signal, and this was found \
                 in the frame of its handler",
            );
        } else if raised {
            match self.runtime {
                Some("Go") => note(
                    "Go has caught the fault and aborted (GOTRACEBACK=crash): its siginfo is not \
                     in the core. Go's own text on stderr has the address; `sigward watch -- \
                     PROGRAM` tells file and cause",
                ),
                Some("CPython") if original.signal != libc::SIGABRT => note(
                    "a handler has raised the signal again (Python's faulthandler does): its address is \
                     lost. `sigward watch -- PROGRAM` tells file and cause",
                ),
                _ if original.signal == libc::SIGABRT => note(
                    "the process has aborted by itself: a failed assertion, a panic, an exception that \
                     nobody caught. What it has written to stderr says more",
                ),
                _ => note(
                    "somebody has sent the signal, or a handler has raised it again. `sigward watch -- \
                     PROGRAM` tells which",
                ),
            }
        }
        if let Some(place) = &self.place {
            note(&format!(
                "file and disk are as they are now; a core does not say whether {} is the same file still",
                shown(&place.path)
            ));
        } else if self.explained && self.signal.as_deref() == Some("SIGBUS") {
            note(
                "the address is in no mapped file of the core: shared memory, or a mapping that is gone",
            );
        }
    }
}

/// Whether PROGRAM is a mapped file, which may be elsewhere now.
fn stands_for(program: &Path, mapping: &Mapping) -> bool {
    program.file_name() == mapping.path.file_name()
}

/// Says of a file whether it begins as what was mapped: a core has the first page of each program
/// and library, unless coredump_filter (core(5)) leaves it out.
fn is_what_ran<'a, R: ReadCacheOps>(
    core: &Core<'a, R>,
    mapping: &Mapping,
) -> impl Fn(&Program) -> bool + use<'a, R> {
    let is_first = |file: &&Mapping| file.path == mapping.path && file.offset == 0;
    let first = core.files.iter().find(is_first);
    let page = first.and_then(|first| core.memory(first.start, 4096));
    move |program| page.is_none_or(|page| program.begins_with(page))
}

impl Where {
    fn of<R: ReadCacheOps>(tid: i32, pc: u64, core: &Core<'_, R>, program: Option<&Path>) -> Self {
        let mapping = core.file_at(pc);
        let offset = mapping.and_then(|mapping| mapping.offset_of(pc));
        let opened = mapping.and_then(|mapping| {
            let program = program.filter(|program| stands_for(program, mapping));
            let path = program.unwrap_or(&mapping.path);
            Some((path, Program::open(path)?, is_what_ran(core, mapping)))
        });
        let mut another = None;
        let function = opened.zip(offset).and_then(|((path, program, ran), offset)| {
            if ran(&program) {
                return program.function(offset);
            }
            another = Some(path.to_owned());
            None
        });
        let function = function.map(|(name, inside)| format!("{name}+{inside:#x}"));
        let file = mapping.map(|mapping| mapping.path.clone());
        Self { tid, pc, file, offset, function, another }
    }
}

fn changing<R: ReadCacheOps>(core: &Core<'_, R>) -> Vec<Changing> {
    let others = core.threads.iter().skip(1);
    others
        .filter_map(|thread| {
            let call = describe(&thread.registers, |address| core.text(address))?;
            Some(Changing { tid: thread.tid, call })
        })
        .collect()
}

fn calls<R: ReadCacheOps>(core: &Core<'_, R>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in core.threads.iter().skip(1).filter_map(|thread| thread.registers.call_name()) {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

impl fmt::Display for Explanation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = if self.program.is_empty() { "a program" } else { &self.program };
        match &self.signal {
            Some(signal) => {
                writeln!(out, "{program} (pid {}) died of {signal}: {}", self.pid, self.meaning)?;
            }
            None if self.pid == 0 => writeln!(out, "{program}: no signal is told of")?,
            None => writeln!(out, "{program} (pid {}): no signal is told of", self.pid)?,
        }
        let mut line = |name: &str, text: &str| writeln!(out, "  {name:<8} {text}");
        if !self.command.is_empty() {
            line("command", &self.command)?;
        }
        if let Some(place) = &self.place {
            line("file", &place.to_string())?;
        } else if let Some(address) = self.address {
            line("address", &format!("{address:#x}"))?;
        }
        if let Some(so) = self.place.as_ref().and_then(Place::so) {
            line("so", &so)?;
        }
        if let Some(thread) = &self.thread {
            line("thread", &thread.to_string())?;
        }
        for other in &self.changing {
            line("beside", &format!("thread {} was inside {}", other.tid, other.call))?;
        }
        if !self.calls.is_empty() {
            let counts = self.calls.iter().map(|(name, count)| format!("{count} in {name}"));
            line("others", &counts.collect::<Vec<_>>().join(", "))?;
        }
        self.notes.iter().try_for_each(|note| line("note", note))
    }
}

impl fmt::Display for Where {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} at {:#x}", self.tid, self.pc)?;
        if let Some((file, offset)) = self.file.as_ref().zip(self.offset) {
            write!(out, ", {}+{offset:#x}", shown(file))?;
        }
        self.function.as_ref().map_or(Ok(()), |name| write!(out, " ({name})"))
    }
}

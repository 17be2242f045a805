//! What is told of one signal: gathered while its thread is stopped, written when it goes on.

use crate::descriptors::{Process, target};
use crate::place::{Now, Place};
use crate::proc::{self, Disposition, Status};
use crate::registers::{Machine, Registers};
use crate::report::grouped;
use crate::signals::{self, Info};
use crate::symbols::Program;
use crate::trace;
use serde::Serialize;
use sigward::sigpipe::outside::{Stopped, write_of};
use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// One signal.
#[derive(Debug, Clone, Serialize)]
pub struct Story {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// The process.
    pub pid: i32,
    /// Its name.
    pub program: String,
    /// The thread.
    pub tid: i32,
    /// Its name.
    pub thread: String,
    /// The signal's name.
    pub signal: String,
    /// Its number.
    pub number: i32,
    /// `si_code`.
    pub code: i32,
    /// What the code says.
    pub meaning: &'static str,
    /// What the program does with it.
    #[serde(serialize_with = "crate::report::word")]
    pub disposition: Disposition,
    /// The write that has raised a SIGPIPE, or was too long for SIGXFSZ.
    pub write: Option<Write>,
    /// The mapped file that a fault was in.
    pub place: Option<Place>,
    /// Others that have the file open for writing, if it was cut: process and name.
    pub writers: Vec<(i32, String)>,
    /// Device and inode of that file.
    #[serde(skip)]
    pub file: Option<(u64, u64)>,
    /// The address of a fault.
    pub address: Option<u64>,
    /// The instruction: file and offset.
    #[serde(serialize_with = "crate::report::lossy_place")]
    pub instruction: Option<(PathBuf, u64)>,
    /// Whether the instruction is in code that the program has made as it runs.
    #[serde(skip)]
    pub is_made_code: bool,
    /// Whether it came to the end of a kill(2).
    #[serde(skip)]
    pub is_by_kill: bool,
    /// The function, if the file tells.
    pub function: Option<String>,
    /// Who has sent it, if somebody has: process and name.
    pub sender: Option<(i32, Option<String>)>,
}

/// A system call that wrote.
#[derive(Debug, Clone, Serialize)]
pub struct Write {
    /// Its name.
    pub call: String,
    /// The descriptor, if it is certain.
    pub fd: Option<i32>,
    /// What the descriptor is: `pipe:[…]`, `socket:[…]`, a path.
    pub target: Option<String>,
    /// The address of the other side.
    pub peer: Option<String>,
    /// What the call has returned: bytes, or a negative errno.
    pub result: i64,
}

impl Story {
    /// What the signal alone tells.
    pub(super) fn told_by(info: &Info, time_ns: u64, pid: i32, tid: i32) -> Self {
        Self {
            time_ns,
            pid,
            program: String::new(),
            tid,
            thread: String::new(),
            signal: signals::name(info.signal),
            number: info.signal,
            code: info.code,
            meaning: info.meaning(),
            disposition: Disposition::Default,
            write: None,
            place: None,
            writers: Vec::new(),
            file: None,
            address: None,
            instruction: None,
            is_made_code: false,
            is_by_kill: false,
            function: None,
            sender: None,
        }
    }

    /// Gathers what can only be seen while the thread is stopped.
    pub fn of(tid: i32) -> Option<Self> {
        let info = Info::read(&trace::info(tid)?)?;
        let mut status = Status::of(tid)?;
        if status.process != tid {
            // The process's number, which siginfo has, not the thread's.
            status.innermost = Status::of(status.process)?.innermost;
        }
        let registers = trace::registers(tid);
        let own = info.sender == status.innermost;
        let write = match info.signal {
            libc::SIGPIPE if info.code == 0 && own => {
                registers.and_then(|it| broken(tid, &status, &it))
            }
            libc::SIGXFSZ => registers.and_then(|it| too_long(tid, &it)),
            _ => None,
        };
        let fault = info.is_fault();
        let lines = if fault { proc::maps(tid).unwrap_or_default() } else { Vec::new() };
        let place = fault.then(|| place(tid, &lines, &info)).flatten();
        let code = registers.and_then(|it| Some((it.pc, proc::at(&lines, it.pc)?)));
        let instruction = code.and_then(|(pc, line)| {
            let offset = line.mapping.offset_of(pc).filter(|_| line.inode != 0)?;
            Some((line.mapping.path.clone(), offset))
        });
        let sent = write.is_none() && info.is_sent();
        Some(Self {
            thread: status.name.clone(),
            disposition: match status.disposition(info.signal) {
                // Faults are forced upon it.
                Disposition::Init if fault => Disposition::Default,
                other => other,
            },
            is_by_kill: registers.is_some_and(|it| it.call == Some(libc::SYS_kill as u64)),
            write,
            file: place.as_ref().and_then(|_| identity(tid, proc::at(&lines, info.address)?)),
            place,
            address: fault.then_some(info.address),
            instruction,
            is_made_code: code.is_some_and(|(_, line)| line.executable && line.is_anonymous()),
            sender: sent.then(|| sender(&info, &status)),
            ..Self::told_by(&info, now(), status.process, tid)
        })
    }

    /// Adds what can be had when the thread is on its way again.
    pub fn complete(&mut self) {
        self.program = proc::name(self.pid).unwrap_or_else(|| "?".to_owned());
        let cut = self.place.as_ref().is_some_and(|place| place.cause == Some("truncated"));
        if let Some(file) = self.file.filter(|_| cut) {
            self.writers = writers(self.pid, file);
        }
        self.function = self.instruction.as_ref().and_then(|(file, offset)| {
            let (name, inside) = Program::open(file)?.function(*offset)?;
            Some(format!("{name}+{inside:#x}"))
        });
    }

    /// Whether the processor has raised it, for what the thread did.
    pub fn is_a_fault(&self) -> bool {
        self.address.is_some()
    }

    /// Whether `next`, which came after it, is what a runtime raises to end itself for this one,
    /// which it has caught. Go ends so for a broken pipe; of two threads that have one at the same
    /// moment either may be the one that raises.
    pub fn is_behind(&self, next: &Self) -> bool {
        /// Much longer than a runtime needs on a busy machine.
        const SOON: u64 = 10_000_000_000;
        if self.write.is_none() {
            return self.is_a_fault() && !next.is_a_fault() && next.number != libc::SIGPIPE;
        }
        let by_itself = next.sender.as_ref().is_some_and(|(pid, _)| *pid == self.pid);
        by_itself && next.number == self.number && next.time_ns.saturating_sub(self.time_ns) < SOON
    }

    /// Whether it is a runtime's daily work: a JVM looks for null pointers and stops its threads by
    /// faults in code that it has made, and its handler goes on.
    pub fn is_routine(&self) -> bool {
        let caught = self.disposition == Disposition::Caught;
        self.number == libc::SIGSEGV && self.is_a_fault() && caught && self.is_made_code
    }

    /// What has happened, without who and when.
    pub fn cause(&self) -> String {
        let mut text = match (&self.write, &self.place, self.address, &self.sender) {
            (Some(write), ..) => write.to_string(),
            (_, Some(place), ..) => place.to_string(),
            (_, _, Some(address), _) => format!("{} at address {address:#x}", self.meaning),
            (.., Some((0, _))) => "sent by the kernel, or from outside of its namespace".to_owned(),
            (.., Some((pid, _))) if *pid == self.pid => {
                let is_write = self.number == libc::SIGPIPE && self.code == 0 && !self.is_by_kill;
                let write = "by a write that is not seen here (SIGPIPE was blocked, or the program is a 32-bit \
                             one), or ";
                format!("{}sent by the process itself", if is_write { write } else { "" })
            }
            (.., Some((pid, name))) => {
                format!(
                    "sent by pid {pid} ({})",
                    name.as_deref().unwrap_or("gone, or in its namespace")
                )
            }
            _ => self.meaning.to_owned(),
        };
        if let Some((file, offset)) = &self.instruction {
            let function =
                self.function.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
            let _ = write!(text, ", by {}+{offset:#x}{function}", file.display());
        }
        if let Some(so) = self.place.as_ref().and_then(Place::so) {
            text.push_str(": ");
            text.push_str(&so);
        }
        for (at, (pid, name)) in self.writers.iter().enumerate() {
            let start = if at == 0 { "; open for writing in" } else { "," };
            let _ = write!(text, "{start} pid {pid} ({name})");
        }
        text
    }
}

impl fmt::Display for Story {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { signal, program, pid, tid, thread, .. } = self;
        write!(
            out,
            "{signal} in {program} (pid {pid}, thread {tid} \"{thread}\"): {}",
            self.cause()
        )?;
        out.write_str(self.disposition.comes_to())
    }
}

impl fmt::Display for Write {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} to ", self.call)?;
        match self.fd {
            Some(fd) => write!(out, "fd {fd}")?,
            None => out.write_str("an unknown fd")?,
        }
        let what = [self.target.clone(), self.peer.as_ref().map(|peer| format!("peer {peer}"))];
        let what: Vec<String> = what.into_iter().flatten().collect();
        if !what.is_empty() {
            write!(out, " ({})", what.join(", "))?;
        }
        if self.result == -i64::from(libc::EFBIG) {
            return out.write_str(": the file would pass the limit (RLIMIT_FSIZE, ulimit -f)");
        }
        let gone = if self.target.as_ref().is_some_and(|target| target.starts_with("pipe:")) {
            "its reader is gone"
        } else {
            "the peer is gone"
        };
        match u64::try_from(self.result) {
            Ok(count) => write!(out, ": {gone} after {} bytes", grouped(count)),
            Err(_) => write!(out, ": {gone} (EPIPE)"),
        }
    }
}

/// The library's own decision, on registers and descriptors of another process.
fn broken(tid: i32, status: &Status, registers: &Registers) -> Option<Write> {
    let stopped = Stopped {
        number: registers.call?,
        arguments: registers.arguments,
        first_is_lost: registers.machine == Machine::Aarch64,
        result: registers.result,
        pc: registers.pc,
    };
    let process = Process::open(status.process, tid);
    let event = write_of(&stopped, |fd| process.as_ref()?.duplicate(fd))?;
    let call = event.operation_name().unwrap_or("a write").to_owned();
    let fd = (event.fd >= 0).then_some(event.fd);
    let peer = event.peer_address().map(|peer| peer.to_string());
    let peer = peer.or_else(|| Some(event.peer_path()?.display().to_string()));
    Some(Write { call, fd, target: fd.and_then(|fd| target(tid, fd)), peer, result: event.result })
}

fn too_long(tid: i32, registers: &Registers) -> Option<Write> {
    let call = registers.call_name()?;
    let fd = (registers.machine == Machine::X86_64).then(|| registers.arguments[0] as i32);
    let target = fd.and_then(|fd| target(tid, fd));
    Some(Write { call, fd, target, peer: None, result: -i64::from(libc::EFBIG) })
}

fn place(tid: i32, lines: &[proc::Line], info: &Info) -> Option<Place> {
    let line = proc::at(lines, info.address).filter(|line| line.inode != 0)?;
    let now = proc::reachable(tid, line).map_or_else(Now::default, |path| Now::of(&path));
    let code = (info.signal == libc::SIGBUS).then_some(info.code);
    Place::of(&line.mapping, info.address, code, now)
}

/// Device and inode as stat(2) has them, of a mapping's file.
fn identity(tid: i32, line: &proc::Line) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let file = std::fs::metadata(proc::reachable(tid, line)?).ok()?;
    Some((file.dev(), file.ino()))
}

/// Who besides `process` has a file open for writing. The thread is on its way, others may wait for
/// us: so for a moment only.
fn writers(process: i32, file: (u64, u64)) -> Vec<(i32, String)> {
    use std::os::unix::fs::MetadataExt;
    /// A machine has some hundred processes, of which each takes a tenth of a millisecond.
    const PATIENCE: Duration = Duration::from_secs(1);
    /// More are no help.
    const MOST: usize = 8;
    /// A program that lives on by its handler may cut and read for ever.
    const SEARCHES: u32 = 16;
    static DONE: AtomicU32 = AtomicU32::new(0);
    if DONE.fetch_add(1, Ordering::Relaxed) >= SEARCHES {
        return Vec::new();
    }
    let end = Instant::now() + PATIENCE;
    let mut others = proc::processes();
    others.retain(|pid| *pid != process);
    // An updater has started a moment ago.
    others.sort_unstable_by(|one, other| other.cmp(one));
    let in_time = others.into_iter().take_while(|_| Instant::now() < end);
    let writes =
        |pid: &i32| proc::open_for_writing(*pid).any(|open| (open.dev(), open.ino()) == file);
    in_time.filter(writes).take(MOST).filter_map(|pid| Some((pid, proc::name(pid)?))).collect()
}

/// The name of who has sent something to `pid`, which itself has the number `own`: none in a
/// namespace of process numbers of its own, where the sender's number is another one's for us.
pub fn name_of_sender(sender: i32, pid: i32, own: i32) -> Option<String> {
    (own == pid).then(|| proc::name(sender))?
}

fn sender(info: &Info, status: &Status) -> (i32, Option<String>) {
    if info.sender == status.innermost {
        return (status.process, None);
    }
    (info.sender, name_of_sender(info.sender, status.process, status.innermost))
}

/// Nanoseconds since 1970.
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::{Info, Story, Write};

    fn story(signal: i32) -> Story {
        let info = Info { signal, code: 0, address: 0, sender: 0 };
        Story::told_by(&info, 1_000_000_000, 7, 7)
    }

    #[test]
    fn what_a_runtime_raises_to_end_itself_hides_nothing_and_all_else_does() {
        let call = "write".to_owned();
        let write = Some(Write { call, fd: None, target: None, peer: None, result: -32 });
        let broken = Story { write, ..story(libc::SIGPIPE) };
        let raised = Story { tid: 8, sender: Some((7, None)), ..story(libc::SIGPIPE) };
        let sent = Story { sender: Some((9, None)), ..raised.clone() };
        let late = Story { time_ns: 12_000_000_000, ..raised.clone() };
        let fault = Story { address: Some(1), ..story(libc::SIGBUS) };
        let abort = Story { sender: Some((7, None)), ..story(libc::SIGABRT) };
        let behind = [(&broken, &raised), (&fault, &abort)];
        assert!(behind.iter().all(|(one, next)| one.is_behind(next)));
        let hidden = [
            (&broken, &broken),
            (&broken, &sent),
            (&broken, &late),
            (&broken, &abort),
            (&broken, &fault),
            (&raised, &raised),
            (&abort, &abort),
            (&fault, &fault),
            (&fault, &broken),
        ];
        assert_eq!(hidden.iter().position(|(one, next)| one.is_behind(next)), None);
    }
}

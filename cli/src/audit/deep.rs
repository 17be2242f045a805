//! `sigward audit --deep`: the handlers of a process, and their flags.
//!
//! The kernel tells these to the process itself and to nobody else. So one of its threads is
//! stopped (ptrace(2)) and made to ask: mmap(2) for a page to answer into, rt_sigaction(2) for each
//! signal, munmap(2). Then it has its registers and its mask back, and goes on where it was; a
//! system call that it was waiting in begins again, as after any stop.
//!
//! - Not a byte of the process's own memory is written: not its stack, which others may live below.
//! - Its signals are blocked meanwhile: a handler would run in the midst of what is not its code.
//! - The instruction is the kernel's own page's (vdso), whatever the thread was doing.
//! - A filter (seccomp(2)) may kill for a call that the program never makes: then nothing is done.
//! - We take no signal until it is over. Only kill -9 of this command, in these milliseconds, would
//!   leave the thread in our midst.

use crate::failure::Failure;
use crate::proc;
use crate::refused;
use crate::report::say;
use crate::trace::{self, Change};
use nix::sys::signal::{SigSet, SigmaskHow};
use sigward::audit::Row;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// How long a thread may take to stop.
const PATIENCE: Duration = Duration::from_secs(10);
/// `struct sigaction` of the kernel: handler, flags, restorer, mask.
const WORDS: usize = 4;

/// The signals of process `pid` that do not have their default action.
pub fn rows(pid: i32) -> Result<Vec<Row>, Failure> {
    let failure = |why: &str| Failure::new(format!("process {pid}"), why);
    let maps = proc::maps(pid).map_err(|error| refused::failure(pid, &error))?;
    let memory =
        File::open(format!("/proc/{pid}/mem")).map_err(|error| refused::failure(pid, &error))?;
    let instruction =
        instruction(&maps, &memory).ok_or_else(|| failure("has no vdso to ask from"))?;
    let tid =
        at_rest(pid).ok_or_else(|| failure("all its threads are stopped, or wait for a disk"))?;
    if filtered(pid, tid) {
        return Err(failure("has a seccomp filter, which might end it for being asked"));
    }
    say(format!(
        "sigward: thread {tid} of process {pid} is stopped for some milliseconds, and asked"
    ));
    let _undisturbed = Undisturbed::begin();
    trace::seize_alone(tid).map_err(|error| refused::failure(pid, &error))?;
    let thread = Borrowed::stop(tid, instruction).map_err(|error| failure(&error.to_string()))?;
    let asked = ask(&thread, &memory);
    drop(thread);
    let asked = asked.map_err(|error| failure(&format!("could not be asked: {error}")))?;
    let library = |address: usize| proc::at(&maps, address as u64)?.mapping.path.file_name();
    Ok(asked
        .into_iter()
        .map(|(signal, [handler, flags, ..])| {
            let library = library(handler as usize).map(|name| name.to_string_lossy().into_owned());
            Row::of_kernel(signal, handler as usize, flags as i32, library)
        })
        .collect())
}

/// Where the vdso has the instruction of a system call.
fn instruction(maps: &[proc::Line], memory: &File) -> Option<u64> {
    let vdso = maps.iter().find(|line| line.mapping.path.as_os_str() == "[vdso]")?;
    let mut bytes = vec![0; (vdso.mapping.end - vdso.mapping.start) as usize];
    memory.read_exact_at(&mut bytes, vdso.mapping.start).ok()?;
    let found = if cfg!(target_arch = "x86_64") {
        bytes.windows(2).position(|bytes| bytes == [0x0f, 0x05]) // syscall
    } else {
        let svc = [0x01, 0, 0, 0xd4]; // svc #0
        bytes.chunks_exact(4).position(|bytes| bytes == svc).map(|word| word * 4)
    };
    found.map(|at| vdso.mapping.start + at as u64)
}

/// A thread that waits in a system call, else one that runs.
fn at_rest(pid: i32) -> Option<i32> {
    let state = |tid: &i32| {
        let text = std::fs::read(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
        let name = text.iter().rposition(|byte| *byte == b')')?;
        text.get(name + 2).copied()
    };
    let threads = proc::threads(pid);
    let of = |wanted| threads.iter().find(|tid| state(tid) == Some(wanted)).copied();
    of(b'S').or_else(|| of(b'R'))
}

/// Whether the thread's system calls are filtered, or nobody can say.
fn filtered(pid: i32, tid: i32) -> bool {
    let text =
        std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).unwrap_or_default();
    let mode = text.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    mode.is_none_or(|mode| mode.trim() != "0")
}

/// Each signal whose action is not the default, with its row.
fn ask(thread: &Borrowed, memory: &File) -> io::Result<Vec<(i32, [u64; WORDS])>> {
    const PAGE: u64 = 4096;
    let (access, kind) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let none = u64::MAX;
    let room = thread.call(libc::SYS_mmap, [0, PAGE, access as u64, kind as u64, none, 0])?;
    let mut rows = Vec::new();
    let asked = (1..=64)
        .filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal))
        .try_for_each(|signal| {
            thread.call(libc::SYS_rt_sigaction, [signal as u64, 0, room, 8, 0, 0])?;
            let mut bytes = [0; WORDS * 8];
            memory.read_exact_at(&mut bytes, room)?;
            let mut row = [0; WORDS];
            for (word, bytes) in row.iter_mut().zip(bytes.as_chunks().0) {
                *word = u64::from_ne_bytes(*bytes);
            }
            if row[0] != libc::SIG_DFL as u64 {
                rows.push((signal, row));
            }
            Ok(())
        });
    let unmapped = thread.call(libc::SYS_munmap, [room, PAGE, 0, 0, 0, 0]);
    asked.and(unmapped.map(|_| rows))
}

/// A stopped thread, which goes on as it was when this is dropped.
struct Borrowed {
    tid: i32,
    registers: libc::user_regs_struct,
    mask: u64,
    instruction: u64,
}

impl Borrowed {
    /// Stops a thread that is traced.
    fn stop(tid: i32, instruction: u64) -> io::Result<Self> {
        let stopped =
            |signal| io::Error::other(format!("is stopped by signal {signal}: continue it first"));
        trace::interrupt(tid)?;
        loop {
            match next(tid, Some(PATIENCE))? {
                Change::Event { event: libc::PTRACE_EVENT_STOP, signal: libc::SIGTRAP } => break,
                Change::Event { event: libc::PTRACE_EVENT_STOP, signal } => {
                    let _ = trace::detach(tid, 0);
                    return Err(stopped(signal));
                }
                Change::Event { .. } => trace::go_on(tid, 0)?,
                // Its own: its handler comes first.
                Change::Signal(signal) => trace::go_on(tid, signal)?,
                Change::Exited(_) | Change::Killed { .. } => return Err(ended(tid)),
            }
        }
        let read = || Some((trace::all_registers(tid).filter(is_native)?, trace::mask(tid).ok()?));
        let Some((registers, mask)) = read() else {
            let _ = trace::detach(tid, 0);
            return Err(io::Error::other("is a 32-bit program, which cannot be asked"));
        };
        let thread = Self { tid, registers, mask, instruction };
        trace::set_mask(tid, u64::MAX)?;
        Ok(thread)
    }

    /// Makes the thread call the kernel. Waits as long as that takes, another thread may hold the
    /// address space: whoever left now would leave the thread in the midst of it.
    fn call(&self, number: libc::c_long, arguments: [u64; 6]) -> io::Result<u64> {
        let mut registers = self.registers;
        set_call(&mut registers, self.instruction, number, arguments);
        trace::set_registers(self.tid, &registers)?;
        loop {
            trace::step(self.tid)?;
            match next(self.tid, None)? {
                Change::Signal(libc::SIGTRAP) => break,
                // Somebody has stopped the process: it stops when it goes on.
                Change::Event { .. } => {}
                Change::Signal(signal) => return Err(io::Error::other(format!("signal {signal}"))),
                Change::Exited(_) | Change::Killed { .. } => return Err(ended(self.tid)),
            }
            if self.pc()? != self.instruction {
                break;
            }
        }
        let result = trace::all_registers(self.tid).map(|registers| result(&registers));
        let result = result.ok_or_else(io::Error::last_os_error)?;
        if (-4095..0).contains(&result) {
            return Err(io::Error::from_raw_os_error(-result as i32));
        }
        Ok(result as u64)
    }

    fn pc(&self) -> io::Result<u64> {
        trace::all_registers(self.tid)
            .map(|registers| pc(&registers))
            .ok_or_else(io::Error::last_os_error)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let _ = trace::set_registers(self.tid, &self.registers);
        let _ = trace::set_mask(self.tid, self.mask);
        let _ = trace::detach(self.tid, 0);
    }
}

fn ended(tid: i32) -> io::Error {
    trace::reap(tid);
    io::Error::other("has ended meanwhile")
}

/// The thread's next change.
fn next(tid: i32, patience: Option<Duration>) -> io::Result<Change> {
    let start = Instant::now();
    while patience.is_none_or(|patience| start.elapsed() < patience) {
        match trace::now(tid)? {
            Some(change) => return Ok(change),
            None => std::thread::sleep(Duration::from_micros(50)),
        }
    }
    Err(io::Error::other("does not stop: it waits for a disk or a daemon"))
}

#[cfg(target_arch = "x86_64")]
fn is_native(registers: &libc::user_regs_struct) -> bool {
    registers.cs == 0x33
}

#[cfg(target_arch = "x86_64")]
fn set_call(
    registers: &mut libc::user_regs_struct,
    at: u64,
    number: libc::c_long,
    arguments: [u64; 6],
) {
    // No call of its own that would begin again now: that is for later.
    (registers.rip, registers.rax, registers.orig_rax) = (at, number as u64, u64::MAX);
    [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9] =
        arguments;
}

#[cfg(target_arch = "x86_64")]
fn result(registers: &libc::user_regs_struct) -> i64 {
    registers.rax as i64
}

#[cfg(target_arch = "x86_64")]
fn pc(registers: &libc::user_regs_struct) -> u64 {
    registers.rip
}

#[cfg(target_arch = "aarch64")]
fn is_native(_registers: &libc::user_regs_struct) -> bool {
    true
}

#[cfg(target_arch = "aarch64")]
fn set_call(
    registers: &mut libc::user_regs_struct,
    at: u64,
    number: libc::c_long,
    arguments: [u64; 6],
) {
    (registers.pc, registers.regs[8]) = (at, number as u64);
    registers.regs[..6].copy_from_slice(&arguments);
}

#[cfg(target_arch = "aarch64")]
fn result(registers: &libc::user_regs_struct) -> i64 {
    registers.regs[0] as i64
}

#[cfg(target_arch = "aarch64")]
fn pc(registers: &libc::user_regs_struct) -> u64 {
    registers.pc
}

/// This thread's signals wait: Ctrl-C, too.
struct Undisturbed(SigSet);

impl Undisturbed {
    fn begin() -> Self {
        Self(SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).unwrap_or(SigSet::empty()))
    }
}

impl Drop for Undisturbed {
    fn drop(&mut self) {
        let _ = self.0.thread_set_mask();
    }
}

//! `sigward watch PID…` and `sigward watch -- CMD…`.
//!
//! - `PTRACE_SEIZE` of all threads, until a pass over /proc/PID/task finds no new one: nothing
//!   stops, and threads that are made meanwhile come along.
//! - A signal stop is looked at and not reaped (`WNOWAIT`): when the watcher is killed the kernel
//!   has the signal still.
//! - Uninteresting signals go on at once: Go's SIGURG and profilers' SIGPROF come hundreds of times
//!   a second.
//! - Of a signal that may have a handler only the sender is asked for (`kept`).
//! - One system call waits for the next stop, and one lets it go on: what else a stop costs is the
//!   kernel's (benches/sight.rs). Ctrl-C calls us out of the wait (`waiting::Calls`).
//! - Text is made when the thread goes on: the stop takes ten microseconds, and a hundred or two
//!   where the signal is told.
//! - A group stop is listened to (`PTRACE_LISTEN`): Ctrl-Z and SIGCONT work as without us.
//! - At the end each thread is interrupted, and detached where it stops, with its signal: nothing
//!   is lost there either.

mod death;
mod kept;
mod process;
pub mod start;
mod story;
mod teller;

use crate::args::Watch;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::proc::{self, Status};
use crate::refused;
use crate::report::{Output, shown, threads};
use crate::trace::{self, Change};
use crate::waiting::{Call, Calls, Waiting};
use death::Death;
use kept::Kept;
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::{Pid, getpgid};
use process::Process;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use story::Story;
use teller::Teller;

/// Told, with everything about them.
const TOLD: [i32; 9] = [
    libc::SIGPIPE,
    libc::SIGBUS,
    libc::SIGSEGV,
    libc::SIGABRT,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGXFSZ,
    libc::SIGSYS,
    libc::SIGXCPU,
];
/// Kept for the case that they end the program: then the sender is told.
const KEPT: [i32; 7] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGALRM,
    libc::SIGUSR1,
    libc::SIGUSR2,
];
/// Threads that sleep in the kernel where no signal wakes them are left to themselves after that.
const PATIENCE: Duration = Duration::from_secs(5);

/// `sigward watch`
pub fn watch(request: &Watch, output: Output) -> Result<ExitCode, Failure> {
    let told = request.signals.clone().unwrap_or_else(|| TOLD.to_vec());
    let out: Box<dyn Write + Send> = match (&request.output, request.command.is_empty()) {
        (Some(path), _) => Box::new(File::create(path).map_err(|error| Failure::of(path, &error))?),
        (None, true) => Box::new(io::stdout()),
        (None, false) => Box::new(io::stderr()),
    };
    refused::unless_proc_is_ours()?;
    let waiting = Waiting::new();
    let mut watcher = Watcher {
        threads: HashMap::new(),
        processes: BTreeMap::new(),
        told,
        by_choice: request.signals.is_some(),
        children: request.children,
        leaving: None,
        stuck: None,
        teller: None,
        output,
        preloaded: request.preloaded,
        command: None,
        status: None,
    };
    if let [name, ..] = request.command.as_slice() {
        start::warn_of_privileges(name);
        let started = start::start(&request.command, &waiting, output)?;
        let pid = started.pid;
        watcher.seize(pid)?;
        watcher.command = Some(pid);
        started.release();
    }
    for id in &request.pids {
        watcher.seize(proc::process_of(*id))?;
    }
    if !request.pids.is_empty() && !output.json {
        // Whoever reads no stderr is not told.
        let _ = writeln!(io::stderr(), "sigward: watching {}; Ctrl-C detaches", watcher.whom());
    }
    // After the fork, which wants a process with one thread.
    watcher.teller = Some(Teller::new(out));
    let bad_news = watcher.run(&Calls::start(waiting));
    let deaf = watcher.teller.as_mut().map_or(0, Teller::end);
    Ok(match (watcher.status, deaf) {
        (Some(status), _) => ExitCode::from(status as u8),
        // Who reads no more has heard enough.
        (None, 0 | libc::EPIPE) => if bad_news { Exit::BadNews } else { Exit::Good }.into(),
        (None, _) => Exit::Failed.into(),
    })
}

/// Whether a terminal's signals go to a process as they go to us.
fn is_in_our_group(pid: i32) -> bool {
    getpgid(Some(Pid::from_raw(pid))) == getpgid(None)
}

struct Watcher {
    /// Of each thread its process.
    threads: HashMap<i32, i32>,
    processes: BTreeMap<i32, Process>,
    told: Vec<i32>,
    /// Whether the user has named them: then all are told.
    by_choice: bool,
    children: bool,
    /// Since when it detaches.
    leaving: Option<Instant>,
    /// A thread that could not be let go on the last time.
    stuck: Option<i32>,
    teller: Option<Teller>,
    output: Output,
    /// Whether the command has the library in it.
    preloaded: bool,
    command: Option<i32>,
    /// What the command has exited with.
    status: Option<i32>,
}

impl Watcher {
    /// Attaches to all threads of a process; nothing stops.
    fn seize(&mut self, pid: i32) -> Result<(), Failure> {
        /// A thread that executes a program ends all others, and those cannot be had meanwhile.
        const TRIES: u32 = 1000;
        let mut refused = None;
        for _ in 0..TRIES {
            let mut new = 0;
            for tid in proc::threads(pid) {
                if self.threads.contains_key(&tid) {
                    continue;
                }
                match trace::seize(tid, self.children) {
                    Ok(()) => new += 1,
                    Err(error) => {
                        // It has ended meanwhile, or was made by a thread that is ours already.
                        let own = std::process::id() as i32;
                        if Status::of(tid).is_none_or(|status| status.tracer != own) {
                            refused = Some(error);
                            continue;
                        }
                    }
                }
                self.know(tid, pid);
            }
            if new == 0 {
                let were_gone =
                    refused.as_ref().and_then(io::Error::raw_os_error) == Some(libc::ESRCH);
                let is_there = kill(Pid::from_raw(pid), None).is_ok();
                if self.processes.contains_key(&pid) || !were_gone || !is_there {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        if self.processes.contains_key(&pid) {
            return Ok(());
        }
        let none = io::Error::from_raw_os_error(libc::ESRCH);
        Err(refused::failure(pid, &refused.unwrap_or(none)))
    }

    /// Names, numbers and how many threads.
    fn whom(&self) -> String {
        let one = |(pid, process): (&i32, &Process)| {
            let count = self.threads.values().filter(|of| *of == pid).count();
            format!("{} (pid {pid}, {})", process.name, threads(count))
        };
        self.processes.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    fn know(&mut self, tid: i32, pid: i32) {
        self.threads.insert(tid, pid);
        self.processes.entry(pid).or_insert_with(|| Process::of(pid));
    }

    /// Until nobody is left. Says whether somebody has died.
    fn run(&mut self, calls: &Calls) -> bool {
        let mut bad_news = false;
        loop {
            match trace::next() {
                Ok((tid, change)) => bad_news |= self.change(tid, change),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nobody is left.
                Err(_) => return bad_news,
            }
            match calls.take() {
                Some(Call::Signal { signal, by_kernel }) => self.called(signal, by_kernel),
                // Nobody reads what is told.
                Some(Call::Second)
                    if self.command.is_none()
                        && self.teller.as_ref().is_some_and(|teller| teller.deaf() != 0) =>
                {
                    self.leave();
                }
                Some(Call::Second)
                    if self.leaving.is_some_and(|since| since.elapsed() > PATIENCE) =>
                {
                    return bad_news;
                }
                _ => {}
            }
        }
    }

    /// Somebody has sent us a signal, or the terminal has.
    fn called(&mut self, signal: i32, by_kernel: bool) {
        let of = |pid| Some((pid, self.processes.get(&pid)?));
        match self.command.and_then(of) {
            // The program has it as well, and decides. One that has stopped itself is left at the
            // next Ctrl-Z.
            Some((command, process)) if by_kernel && is_in_our_group(command) => {
                if signal == libc::SIGTSTP && process.is_stopped {
                    let _ = raise(Signal::SIGSTOP);
                }
            }
            Some((command, _)) => {
                // A child of ours, which nobody else reaps.
                let _ = kill(Pid::from_raw(command), Signal::try_from(signal).ok());
            }
            None if signal == libc::SIGTSTP => {}
            // Children of a command that has ended may be there still.
            None => self.leave(),
        }
    }

    fn leave(&mut self) {
        if self.leaving.is_none() {
            self.leaving = Some(Instant::now());
            for tid in self.threads.keys() {
                let _ = trace::interrupt(*tid);
            }
        }
    }

    /// One change of one thread; says whether somebody has died of a signal.
    fn change(&mut self, tid: i32, change: Change) -> bool {
        match change {
            Change::Signal(signal) => self.signal(tid, signal),
            Change::Event { event, signal } => {
                self.event(tid, event, signal);
                false
            }
            Change::Exited(status) => self.gone(tid, Err(status)),
            Change::Killed { signal, core } => self.gone(tid, Ok((signal, core))),
        }
    }

    /// Of one that is only kept for the death that may follow: it goes on at once.
    fn keep(&mut self, tid: i32, signal: i32) {
        let kept = Kept::of(tid);
        self.let_go(tid, signal);
        let Some((mut kept, pid)) = kept.zip(self.threads.get(&tid).copied()) else { return };
        if let Some(process) = self.processes.get_mut(&pid) {
            kept.complete(pid, process.own);
            process.kept.insert(signal, kept);
        }
    }

    fn signal(&mut self, tid: i32, signal: i32) -> bool {
        let is_told = self.told.contains(&signal);
        if !is_told && KEPT.contains(&signal) {
            self.keep(tid, signal);
            return false;
        }
        let process = self.threads.get(&tid).and_then(|pid| self.processes.get(pid));
        let ends_init = process.is_some_and(|process| process.ends_untraced(tid, signal));
        let story = is_told.then(|| Story::of(tid)).flatten();
        if ends_init {
            let _ = trace::detach(tid, signal);
        } else {
            self.let_go(tid, signal);
        }
        if let Some(story) = story.filter(|story| self.by_choice || !story.is_routine()) {
            self.keep_story(story);
        }
        ends_init && self.gone(tid, Ok((signal, false)))
    }

    /// Tells a story, and keeps it for the death that may follow.
    fn keep_story(&mut self, mut story: Story) {
        story.complete();
        self.tell("signal", &story);
        let pid = story.pid;
        self.know(story.tid, pid);
        if let Some(process) = self.processes.get_mut(&pid)
            && !process.last.as_ref().is_some_and(|last| last.is_behind(&story))
        {
            process.last = Some(story);
        }
    }

    /// Lets a thread go on, or go.
    fn let_go(&mut self, tid: i32, signal: i32) {
        let done = if self.leaving.is_some() {
            self.threads.remove(&tid);
            trace::detach(tid, signal)
        } else {
            trace::go_on(tid, signal)
        };
        if done.is_ok() {
            self.stuck = None;
        } else if self.stuck.replace(tid) == Some(tid) {
            // It will not go on, and would be reported for ever.
            trace::reap(tid);
        }
    }

    fn event(&mut self, tid: i32, event: i32, signal: i32) {
        match event {
            libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK => {
                let new = trace::message(tid).map(|new| new as i32);
                if let Some((new, status)) = new.and_then(|new| Some((new, Status::of(new)?)))
                    && self.follows(status.process)
                {
                    self.know(new, status.process);
                    if self.leaving.is_some() {
                        let _ = trace::interrupt(new);
                    }
                }
            }
            libc::PTRACE_EVENT_EXEC => {
                // The thread that called it has the leader's number from now on.
                if let Some(former) = trace::message(tid).map(|former| former as i32)
                    && former != tid
                {
                    self.threads.remove(&former);
                }
                self.know(tid, tid);
                if let Some(process) = self.processes.get_mut(&tid) {
                    let name = proc::name(tid).unwrap_or_default();
                    let before = std::mem::replace(&mut process.name, name);
                    let is_another = std::mem::replace(&mut process.has_begun, true);
                    process.last = None;
                    process.kept.clear();
                    if is_another
                        && self.command == Some(tid)
                        && std::mem::take(&mut self.preloaded)
                    {
                        self.tell_of_another(tid, &before);
                    }
                }
            }
            libc::PTRACE_EVENT_STOP => {
                if !self.threads.contains_key(&tid)
                    && let Some(status) = Status::of(tid)
                {
                    if !self.follows(status.process) {
                        let _ = trace::detach(tid, 0);
                        return;
                    }
                    self.know(tid, status.process);
                }
                let group =
                    [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&signal);
                if let Some(process) = self.processes.get_mut(&tid) {
                    process.is_stopped = group;
                }
                if group && self.leaving.is_none() {
                    let _ = trace::listen(tid);
                    if self.command == Some(tid) && signal != libc::SIGSTOP && is_in_our_group(tid)
                    {
                        // Ctrl-Z: whoever has started us waits for us, and continues both.
                        let _ = raise(Signal::SIGSTOP);
                    }
                    return;
                }
            }
            _ => {}
        }
        self.let_go(tid, 0);
    }

    /// Whether threads of a process are followed. The kernel takes a child for one that clone(2)
    /// has made with another signal than SIGCHLD.
    fn follows(&self, process: i32) -> bool {
        self.children || self.processes.contains_key(&process)
    }

    /// The library is in the program that was named, and in none that this executes in its place.
    fn tell_of_another(&mut self, pid: i32, before: &str) {
        let name = proc::name(pid).unwrap_or_default();
        let text = format!(
            "sigward: {before} (pid {pid}) goes on as {name}, which does not get the library and is only \
             watched: name {name} itself, if that is not what was meant"
        );
        if let Some(teller) = self.teller.as_mut().filter(|_| !self.output.json) {
            teller.tell(text);
        }
    }

    /// A thread is gone; with its leader, of which the kernel tells last, the process.
    fn gone(&mut self, tid: i32, how: Result<(i32, bool), i32>) -> bool {
        let pid = self.threads.remove(&tid).unwrap_or(tid);
        if let Some(process) = self.processes.get_mut(&pid) {
            for kept in process.kept.values_mut().filter(|kept| kept.tid == tid) {
                kept.thread = proc::name(tid).unwrap_or_default();
            }
        }
        trace::reap(tid);
        // A leader that had ended before we came is not ours: then the last thread tells.
        if tid != pid && self.threads.values().any(|of| *of == pid) {
            return false;
        }
        let Some(mut process) = self.processes.remove(&pid) else { return false };
        let is_command = self.command == Some(pid);
        if is_command {
            self.status = Some(how.map_or_else(|status| status, |(signal, _)| 128 + signal));
            if !process.has_begun {
                // It could not be started, and has said so itself.
                return false;
            }
        }
        let kept = how.ok().and_then(|(signal, _)| process.kept.remove(&signal));
        let kept = kept.map(|kept| kept.told(pid, process.own, &process.name));
        let mut death = Death::of(pid, process.name, how, kept.or(process.last));
        if death.signal.as_deref() == Some("SIGKILL") && death.of.is_none() {
            death.out_of_memory = process.killed_for_memory.is_some_and(|(events, before)| {
                proc::killed_for_memory(&events).is_some_and(|now| now > before)
            });
        }
        if death.is_news() || !is_command || self.output.json {
            self.tell("end", &death);
        }
        death.is_news()
    }

    /// Hands a line to whoever writes it.
    fn tell(&mut self, event: &'static str, what: &(impl Serialize + std::fmt::Display)) {
        #[derive(Serialize)]
        struct Line<'a, T> {
            event: &'static str,
            #[serde(flatten)]
            what: &'a T,
        }
        let text = if self.output.json {
            serde_json::to_string(&Line { event, what }).unwrap_or_default()
        } else {
            shown(format!("sigward: {what}"))
        };
        if let Some(teller) = &mut self.teller {
            teller.tell(text);
        }
    }
}

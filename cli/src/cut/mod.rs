//! `sigward cut PATH…`: who opens for writing, cuts or replaces files, as it happens.

mod fanotify;

use crate::args::Cut;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::proc;
use crate::registers::open_flags;
use crate::report::{Output, grouped, say, shown};
use crate::waiting::Waiting;
use fanotify::{Folder, Gate};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::statfs::statfs;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::fmt;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One line.
#[derive(Debug, Serialize)]
struct Found {
    #[serde(serialize_with = "crate::report::lossy")]
    path: PathBuf,
    /// `cut`, `written`, `opened`, `replaced`, `removed`, `made`, `closed`.
    what: &'static str,
    /// Its length before and now.
    before: Option<u64>,
    now: Option<u64>,
    /// The flags of the open(2), with `--exact`.
    flags: Option<String>,
    /// One of these, where it is more than one.
    by: Vec<Who>,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Who {
    pid: i32,
    command: String,
    user: Option<u32>,
    parent: Option<String>,
}

/// A file that is watched for.
struct Target {
    path: PathBuf,
    length: Option<u64>,
    /// Processes that have been told to write to it, and have not closed it yet.
    writers: HashSet<i32>,
    /// Processes that have been seen opening it with O_TRUNC (`--exact`).
    cutters: HashSet<i32>,
}

/// The files of one folder.
struct Watched {
    folder: Folder,
    gate: Option<Gate>,
    targets: BTreeMap<OsString, Target>,
}

/// `sigward cut PATH…`
pub fn cut(request: &Cut, output: Output) -> Result<Exit, Failure> {
    let waiting = Waiting::new();
    let mut all = Vec::new();
    for (folder, targets) in by_folder(&request.paths)? {
        let refused = |error: std::io::Error| refused(&folder, &error);
        let gate = request.exact.then(|| Gate::watch(&folder)).transpose().map_err(refused)?;
        all.push(Watched { folder: Folder::watch(&folder).map_err(refused)?, gate, targets });
    }
    if !fanotify::names_processes() {
        say(
            "sigward: without CAP_SYS_ADMIN the kernel does not say who it was: /proc is searched, and \
             a quick updater is seen and not named (sudo names it)",
        );
    }
    say("sigward: watching; Ctrl-C ends");
    let mut was_cut = false;
    loop {
        wait_for_any(&all);
        for watched in &mut all {
            for found in watched.look() {
                was_cut |= found.what == "cut";
                output.print(&found)?;
            }
        }
        if waiting.is_interrupted() || request.once && was_cut {
            return Ok(if was_cut { Exit::BadNews } else { Exit::Good });
        }
    }
}

fn by_folder(paths: &[PathBuf]) -> Result<BTreeMap<PathBuf, BTreeMap<OsString, Target>>, Failure> {
    let mut folders: BTreeMap<PathBuf, BTreeMap<OsString, Target>> = BTreeMap::new();
    for path in paths {
        // A symbolic link is another name: what counts is the file behind it.
        let whole = path.canonicalize().map_err(|error| Failure::of(path, &error))?;
        let (Some(folder), Some(name)) = (whole.parent(), whole.file_name()) else {
            return Err(Failure::new(path.display(), "a folder: name a file"));
        };
        if whole.is_dir() {
            return Err(Failure::new(path.display(), "a folder: name a file"));
        }
        if is_made_up(&whole) {
            let why = "the kernel makes what is in it when it is read, and tells nobody of changes: it cannot \
                       be watched, nor cut";
            return Err(Failure::new(path.display(), why));
        }
        let target = Target {
            path: path.clone(),
            length: length(&whole),
            writers: HashSet::new(),
            cutters: HashSet::new(),
        };
        folders.entry(folder.to_owned()).or_default().insert(name.to_owned(), target);
    }
    Ok(folders)
}

/// Whether a file is no file of a disk, but a view of the kernel's: /proc, /sys and what is below.
fn is_made_up(path: &Path) -> bool {
    // PROC_SUPER_MAGIC, SYSFS_MAGIC, then those below /sys: debugfs, tracefs, cgroup, cgroup2,
    // securityfs, selinuxfs, efivarfs, bpf (linux/magic.h).
    const KINDS: [u64; 10] = [
        0x9fa0,
        0x6265_6572,
        0x6462_6720,
        0x7472_6163,
        0x0027_e0eb,
        0x6367_7270,
        0x7363_6673,
        0xf97c_ff8c,
        0xde5e_81e4,
        0xcafe_4a11,
    ];
    statfs(path).is_ok_and(|system| KINDS.contains(&(system.filesystem_type().0 as u64)))
}

fn refused(folder: &Path, error: &std::io::Error) -> Failure {
    let errno = error.raw_os_error().unwrap_or(0);
    let message = match errno {
        libc::EPERM => {
            "the kernel tells nobody without CAP_SYS_ADMIN here: try sudo; in a container, on \
                        its host"
                .to_owned()
        }
        libc::ENOSYS | libc::EINVAL => {
            format!(
                "fanotify(7): {error}: needs Linux 5.9, --exact CONFIG_FANOTIFY_ACCESS_PERMISSIONS"
            )
        }
        libc::ENODEV | libc::EOPNOTSUPP | libc::EXDEV => {
            format!("this file system has no names for fanotify(7) ({error})")
        }
        _ => format!("fanotify(7): {error}"),
    };
    Failure::new(folder.display(), message).with_errno(errno)
}

fn wait_for_any(all: &[Watched]) {
    let folders = all.iter().map(|watched| watched.folder.as_fd());
    let gates = all.iter().filter_map(|watched| Some(watched.gate.as_ref()?.as_fd()));
    let asked = folders.chain(gates).map(|group| PollFd::new(group, PollFlags::POLLIN));
    let _ = poll(&mut asked.collect::<Vec<_>>(), 250_u8);
}

fn length(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|file| file.len())
}

impl Watched {
    fn look(&mut self) -> Vec<Found> {
        // First those who wait for an answer.
        let mut found = self.answer();
        // Until none comes any more after the lengths were looked at: then whoever has made a file
        // shorter is among them.
        let mut events: BTreeMap<OsString, Vec<(u64, i32)>> = BTreeMap::new();
        let mut lengths = BTreeMap::new();
        loop {
            let more = self.folder.events();
            if more.is_empty() {
                break;
            }
            for event in more {
                // Our own looks.
                if event.pid != std::process::id() as i32 {
                    events.entry(event.name).or_default().push((event.mask, event.pid));
                }
            }
            lengths = self
                .targets
                .iter()
                .map(|(name, target)| (name.clone(), length(&target.path)))
                .collect();
        }
        for (name, events) in events {
            if let Some(target) = self.targets.get_mut(&name) {
                let now = lengths.get(&name).copied().flatten();
                found.extend(target.judge(&events, now));
            }
        }
        found
    }

    fn answer(&mut self) -> Vec<Found> {
        let mut found = Vec::new();
        for question in self.gate.iter().flat_map(Gate::questions) {
            let call = std::fs::read_to_string(format!("/proc/{}/syscall", question.tid));
            let who = Who::of(question.tid);
            // Its length before: whoever opens it to cut it does so right after the answer.
            let file =
                question.file.try_clone().and_then(|file| std::fs::File::from(file).metadata());
            // The answer: it may go on.
            drop(question);
            let Some(flags) = call.ok().and_then(|call| flags_in(&call)) else { continue };
            if flags & (libc::O_ACCMODE | libc::O_TRUNC) == 0 {
                continue;
            }
            let Ok(file) = file else { continue };
            let named = self.targets.values_mut().find(|target| {
                std::fs::metadata(&target.path)
                    .is_ok_and(|named| (named.dev(), named.ino()) == (file.dev(), file.ino()))
            });
            if let Some(target) = named {
                if flags & libc::O_TRUNC != 0 && file.len() > 0 {
                    target.cutters.insert(who.pid);
                }
                found.push(Found {
                    path: target.path.clone(),
                    what: "opened",
                    before: target.length,
                    now: Some(file.len()),
                    flags: Some(open_flags(flags)),
                    by: vec![who],
                });
            }
        }
        found
    }
}

/// The flags of an open(2) that a thread is inside, from /proc/PID/syscall: the number, then the
/// arguments.
fn flags_in(call: &str) -> Option<i32> {
    let mut words = call.split_whitespace();
    let number: libc::c_long = words.next()?.parse().ok()?;
    let argument = match number {
        libc::SYS_openat => 2,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => 1,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_creat => return Some(libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC),
        _ => return None,
    };
    let word = words.nth(argument)?.strip_prefix("0x")?;
    u64::from_str_radix(word, 16).ok().map(|flags| flags as i32)
}

impl Target {
    /// What events say, of which the kernel may have merged several. The length is that after all
    /// of them: where more than one has written, any of them may have cut.
    fn judge(&mut self, events: &[(u64, i32)], now: Option<u64>) -> Vec<Found> {
        const NAMES: u64 =
            libc::FAN_MOVED_TO | libc::FAN_CREATE | libc::FAN_DELETE | libc::FAN_MOVED_FROM;
        let before = self.length;
        let of = |flag: u64| {
            let pids = events.iter().filter(move |(mask, _)| mask & flag != 0).map(|(_, pid)| *pid);
            pids.collect::<BTreeSet<i32>>()
        };
        let writers = of(libc::FAN_MODIFY);
        let is_another = events.iter().any(|(mask, _)| mask & NAMES != 0);
        let has_cut = writers.iter().any(|pid| self.cutters.remove(pid));
        let is_shorter = now.zip(before).is_some_and(|(now, before)| now < before);
        let is_cut = !writers.is_empty() && !is_another && (is_shorter || has_cut);
        if is_another || !writers.is_empty() {
            self.length = now;
        }
        let mut whats = vec![
            ("replaced", of(libc::FAN_MOVED_TO)),
            ("made", of(libc::FAN_CREATE)),
            ("removed", of(libc::FAN_DELETE | libc::FAN_MOVED_FROM)),
        ];
        if is_cut {
            whats.push(("cut", writers.clone()));
        }
        let new = writers.into_iter().filter(|pid| self.writers.insert(*pid) && !is_cut).collect();
        whats.push(("written", new));
        let closed = of(libc::FAN_CLOSE_WRITE);
        self.writers.retain(|pid| !closed.contains(pid));
        whats.push(("closed", closed));
        let path = &self.path;
        let told = whats.into_iter().filter(|(_, pids)| !pids.is_empty());
        told.map(|(what, pids)| {
            let by = if pids.contains(&0) {
                who_writes(path)
            } else {
                pids.into_iter().map(Who::of).collect()
            };
            Found { path: path.clone(), what, before, now, flags: None, by }
        })
        .collect()
    }
}

/// Who has a file open for writing, as far as /proc may be read.
fn who_writes(path: &Path) -> Vec<Who> {
    let Ok(file) = std::fs::metadata(path) else { return Vec::new() };
    let writes = |pid: &i32| {
        proc::open_for_writing(*pid)
            .any(|found| (found.dev(), found.ino()) == (file.dev(), file.ino()))
    };
    let own = std::process::id() as i32;
    let others = proc::processes().into_iter().filter(|pid| *pid != own);
    others.filter(writes).map(Who::of).collect()
}

impl Who {
    /// Of a process or thread, also of one that has just ended.
    fn of(id: i32) -> Self {
        let status = proc::Status::of(id).unwrap_or_default();
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        let words: Vec<_> = words.map(String::from_utf8_lossy).collect();
        let command = if words.is_empty() { status.name.clone() } else { words.join(" ") };
        let known = status.process != 0;
        Self {
            pid: if known { status.process } else { id },
            command,
            user: known.then_some(status.users[1]),
            parent: proc::name(status.parent).map(|name| format!("{} ({name})", status.parent)),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: ", shown(&self.path))?;
        let [before, now] = [self.before, self.now].map(|length| grouped(length.unwrap_or(0)));
        match self.what {
            "cut" => write!(out, "CUT ({before} bytes before, {now} now)")?,
            "written" => {
                write!(out, "written in place, or cut and written anew ({now} bytes now)")?;
            }
            "opened" => {
                write!(out, "is being opened with {}", self.flags.as_deref().unwrap_or_default())?;
            }
            "replaced" => write!(out, "replaced by rename (harmless; {now} bytes now)")?,
            "closed" => write!(out, "closed after writing ({now} bytes now)")?,
            what => out.write_str(what)?,
        }
        if self.by.is_empty() {
            return out.write_str(" by somebody who was gone before /proc was searched");
        }
        for (at, who) in self.by.iter().enumerate() {
            out.write_str(if at > 0 { ", or" } else { "" })?;
            write!(out, " by pid {} {:?}", who.pid, who.command)?;
            if let Some(user) = who.user {
                write!(out, ", user {user}")?;
            }
            if let Some(parent) = &who.parent {
                write!(out, ", child of {parent}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::flags_in;

    #[test]
    fn flags_are_read_from_the_call_that_a_thread_is_inside() {
        let number = libc::SYS_openat;
        let call = format!("{number} 0xffffffffffffff9c 0x7f00 0x241 0x1b6 0x0 0x0 0x7ffe 0x7f01");
        assert_eq!(flags_in(&call), Some(0x241));
        for other in ["running", "-1 0x7f 0x7f", "0 0x3 0x7f00 0x10", "", "257 zz"] {
            assert_eq!(flags_in(other), None, "{other}");
        }
    }
}

//! Starting a program so that it is watched from its first instruction, with everything that it
//! would have inherited from whoever started us.

use crate::failure::Failure;
use crate::report::{Output, say, shown};
use crate::waiting::Waiting;
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getegid, geteuid, pipe2};
use std::ffi::{CString, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What SIGPIPE's disposition was before Rust's runtime ignored it.
static INHERITED: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);

#[used]
// SAFETY: the loader calls what is listed there before `main`, with arguments that we ignore.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = note_disposition;

extern "C" fn note_disposition() {
    let mut found = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is set, and there is room for the answer.
    unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), found.as_mut_ptr()) };
    // SAFETY: zeroed is a valid value.
    let found = unsafe { found.assume_init() };
    INHERITED.store(found.sa_sigaction, Ordering::Relaxed);
}

/// A program that waits for leave to start; without it there never was one.
pub struct Started {
    /// Its process.
    pub pid: i32,
    leave: Option<OwnedFd>,
}

impl Started {
    /// Lets it start.
    pub fn release(mut self) {
        self.leave = None;
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.leave.is_some() {
            // A child of ours, which nobody else waits for.
            let child = Pid::from_raw(self.pid);
            let _ = kill(child, Signal::SIGKILL);
            let _ = waitpid(child, None);
        }
    }
}

/// Forks a child that waits, and then becomes `command`.
pub fn start(command: &[OsString], waiting: &Waiting, output: Output) -> Result<Started, Failure> {
    let failed = |what: &str| Failure::of(what.as_ref(), &std::io::Error::last_os_error());
    let words: Vec<CString> = command
        .iter()
        .map(|word| CString::new(word.as_bytes()))
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::new("the command", error))?;
    let mut pointers: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let (wait, leave) = pipe2(OFlag::O_CLOEXEC).map_err(|_| failed("pipe"))?;
    // SAFETY: the command has one thread, so the child may call anything.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(failed("fork")),
        0 => {
            drop(leave);
            let (failure, code) = become_it(&wait, &pointers, waiting, &command[0]);
            failure.tell(output);
            // SAFETY: ends the child without the parent's destructors.
            unsafe { libc::_exit(code) }
        }
        pid => Ok(Started { pid, leave: Some(leave) }),
    }
}

/// Says why it could not, and with what to exit.
fn become_it(
    wait: &OwnedFd,
    words: &[*const libc::c_char],
    waiting: &Waiting,
    name: &OsString,
) -> (Failure, i32) {
    // The end of the pipe is the leave to start.
    let _ = nix::unistd::read(wait, &mut [0]);
    // SAFETY: the disposition that was there before `main`: default or ignored, as after any exec.
    unsafe { libc::signal(libc::SIGPIPE, INHERITED.load(Ordering::Relaxed)) };
    // SAFETY: likewise.
    unsafe { libc::signal(libc::SIGCHLD, waiting.on_child) };
    let _ = waiting.inherited.thread_set_mask();
    // SAFETY: terminated strings, and a terminated list of them.
    unsafe { libc::execvp(words[0], words.as_ptr()) };
    let error = std::io::Error::last_os_error();
    let is_path = name.as_bytes().contains(&b'/');
    let (code, advice) = match error.raw_os_error() {
        Some(libc::ENOENT) if is_path => {
            (127, "look at the name, and at its first line if it is a script")
        }
        Some(libc::ENOENT) => (127, "it is in no folder of PATH"),
        Some(libc::EACCES) if Path::new(name).is_dir() => (126, "a folder: name a program"),
        Some(libc::EACCES) => {
            (126, "it may not be executed: chmod +x, or is its disk mounted with noexec?")
        }
        Some(libc::ENOEXEC) => (126, "no program of this machine's, and no script"),
        _ => (126, "it was not started"),
    };
    let failure = Failure::new(name.display(), format!("{error}: {advice}"));
    (failure.with_errno(error.raw_os_error().unwrap_or(0)), code)
}

/// Warns of a program whose privileges the kernel leaves out while we watch it.
pub fn warn_of_privileges(command: &OsString) {
    let Some(path) = find(command).filter(|_| !geteuid().is_root()) else { return };
    if let Some(privileges) = privileges(&path) {
        say(format!(
            "sigward: {} is {privileges}, and the kernel leaves its privileges out while an ordinary \
             user watches it: start it by itself, then `sudo sigward watch PID`",
            shown(&path)
        ));
    }
}

/// What gives a program more than whoever starts it has: then no library is preloaded, either.
pub fn privileges(path: &Path) -> Option<&'static str> {
    let file = path.metadata().ok()?;
    let has = |bit| file.permissions().mode() & bit != 0;
    if has(libc::S_ISUID) && file.uid() != geteuid().as_raw() {
        return Some("set-user-ID");
    }
    if has(libc::S_ISGID) && file.gid() != getegid().as_raw() {
        return Some("set-group-ID");
    }
    (!geteuid().is_root() && has_capabilities(path)).then_some("given capabilities (setcap(8))")
}

fn has_capabilities(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    let (name, none) = (c"security.capability", std::ptr::null_mut());
    // SAFETY: terminated strings, and no room for the value.
    unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), none, 0) > 0 }
}

/// The file that execvp(3) takes.
pub fn find(command: &OsString) -> Option<PathBuf> {
    if command.as_bytes().contains(&b'/') {
        return Some(command.into());
    }
    let folders = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&folders).map(|folder| folder.join(command)).find(is_program)
}

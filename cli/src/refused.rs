//! Why a process may not be watched or looked at, and what to do then.

use crate::failure::Failure;
use crate::proc::{self, Status};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{Pid, geteuid};
use std::io;

/// Of one that is a zombie.
pub const ENDED: &str =
    "it has ended, and its parent has not asked for that yet: sigward explain PID";
/// Of a thread of the kernel's.
pub const KERNEL: &str = "a thread of the kernel's, which no signal ends: name a program's process";

/// Without /proc there is no answer, and that of another namespace has other processes' answers.
pub fn unless_proc_is_ours() -> Result<(), Failure> {
    let own = std::fs::read_link("/proc/self").ok();
    if own.is_some_and(|own| own.as_os_str() == std::process::id().to_string().as_str()) {
        return Ok(());
    }
    let message = "is not mounted here, or is that of another pid namespace, and the answers come from \
                   there: mount -t proc proc /proc";
    Err(Failure::new("/proc", message))
}

/// Of a number that no process has, or none that is shown.
pub fn nobody(pid: i32) -> &'static str {
    if matches!(kill(Pid::from_raw(pid), None), Ok(()) | Err(Errno::EPERM)) {
        "/proc does not show it to this user (it is mounted with hidepid): try sudo"
    } else {
        "there is none with this number"
    }
}

/// What a refused `PTRACE_SEIZE` means.
pub fn failure(pid: i32, error: &io::Error) -> Failure {
    let about = format!("process {pid}");
    let errno = error.raw_os_error().unwrap_or(0);
    let Some(status) = Status::of(pid) else {
        return Failure::new(about, nobody(pid)).with_errno(errno);
    };
    if proc::ended(pid).is_some() {
        return Failure::new(about, ENDED).with_errno(errno);
    }
    if errno == libc::ESRCH {
        return Failure::new(about, "it has ended").with_errno(errno);
    }
    let message = if status.process == std::process::id() as i32 {
        "is this command itself, which cannot follow itself".to_owned()
    } else if status.tracer != 0 {
        let name = proc::name(status.tracer).unwrap_or_default();
        format!("is traced by pid {} ({name}) already, and one tracer is the most", status.tracer)
    } else if proc::is_kernels(pid) {
        KERNEL.to_owned()
    } else {
        yama().unwrap_or_else(|| format!("may not be traced: {}", who_may(&status)))
    };
    Failure::new(about, message).with_errno(errno)
}

/// Why maps and descriptors of a process may not be read.
pub fn unreadable(status: &Status) -> String {
    format!("its maps and descriptors may not be read: {}", who_may(status))
}

/// Whose process it is, and who may look into it.
fn who_may(status: &Status) -> String {
    match geteuid().as_raw() {
        0 => "needs CAP_SYS_PTRACE, which this container may lack: --cap-add=SYS_PTRACE, or on its host"
            .to_owned(),
        own if status.users == [own, own] => {
            "it has made itself undumpable (prctl(2)), or has more privileges: needs CAP_SYS_PTRACE, try sudo"
                .to_owned()
        }
        _ => format!("it belongs to user {}: needs CAP_SYS_PTRACE, try sudo", status.users[1]),
    }
}

/// The kernel's restriction of ptrace(2), where it is on.
fn yama() -> Option<String> {
    scope(&std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok()?)
}

/// What the file's text means.
fn scope(text: &str) -> Option<String> {
    Some(match text.trim() {
        "1" => "may not be traced, as kernel.yama.ptrace_scope=1 allows descendants only: \
                `sigward watch -- COMMAND` starts one, else try sudo"
            .to_owned(),
        "2" => "needs CAP_SYS_PTRACE (kernel.yama.ptrace_scope=2): try sudo".to_owned(),
        "3" => "kernel.yama.ptrace_scope=3 forbids tracing until the next boot".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::scope;

    #[test]
    fn each_restriction_is_named_with_what_to_do() {
        for (text, named, advice) in [
            ("1\n", "ptrace_scope=1", "sigward watch -- COMMAND"),
            ("2\n", "CAP_SYS_PTRACE", "try sudo"),
            ("3\n", "ptrace_scope=3", "until the next boot"),
        ] {
            let said = scope(text).unwrap_or_default();
            assert!(said.contains(named) && said.contains(advice), "{text:?}: {said}");
        }
        assert_eq!([scope("0\n"), scope("")], [None, None]);
    }
}

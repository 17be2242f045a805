//! Why a process may not be watched, and what to do then.

use crate::failure::Failure;
use crate::proc::{self, Status};
use std::io;

/// What a refused `PTRACE_SEIZE` means.
pub fn failure(pid: i32, error: &io::Error) -> Failure {
    let about = format!("process {pid}");
    let errno = error.raw_os_error().unwrap_or(0);
    if errno == libc::ESRCH {
        return Failure::new(about, "there is none with this number").with_errno(errno);
    }
    let Some(status) = Status::of(pid) else {
        return Failure::new(about, "it has ended").with_errno(errno);
    };
    let message = if status.tracer != 0 {
        let name = proc::name(status.tracer).unwrap_or_default();
        format!("is traced by pid {} ({name}) already, and one tracer is the most", status.tracer)
    } else if let Some(reason) = yama() {
        reason
    } else {
        // SAFETY: asks for a number.
        let own = unsafe { libc::geteuid() };
        if own != 0 && status.users != [own, own] {
            format!("belongs to user {}: needs CAP_SYS_PTRACE, try sudo", status.users[1])
        } else {
            "may not be traced: it has made itself undumpable (prctl(2)), is a kernel thread, or a \
             container forbids ptrace(2): try sudo on the host, or --cap-add=SYS_PTRACE"
                .to_owned()
        }
    };
    Failure::new(about, message).with_errno(errno)
}

/// The kernel's restriction of ptrace(2), where it is on.
fn yama() -> Option<String> {
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok()?;
    Some(match scope.trim() {
        "1" => "may not be traced, as kernel.yama.ptrace_scope=1 allows descendants only: \
                `sigward watch -- COMMAND` starts one, else try sudo"
            .to_owned(),
        "2" => "needs CAP_SYS_PTRACE (kernel.yama.ptrace_scope=2): try sudo".to_owned(),
        "3" => "kernel.yama.ptrace_scope=3 forbids tracing until the next boot".to_owned(),
        _ => return None,
    })
}

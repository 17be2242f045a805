//! What is said of SIGABRT, SIGFPE, SIGILL, SIGXFSZ and SIGSYS before they go on to what may end
//! the process. Signal-safe.

use crate::chain::{Delivery, Verdict};
use crate::observe::in_handler::link_of;
use crate::observe::last_words::in_handler::{Subject, Told, by, report};
use crate::observe::text::Text;
use crate::sys::wiped;
use std::ffi::c_int;
use std::mem::MaybeUninit;

/// Nothing ends here.
pub(super) fn decide(_delivery: &Delivery<'_>) -> Verdict {
    Verdict::PassOn
}

/// Before the default action, or before the handler at this address gets it.
pub(super) fn farewell(delivery: &Delivery<'_>, handler: Option<usize>) {
    let code = delivery.code();
    let fault = matches!(delivery.signal, libc::SIGFPE | libc::SIGILL | libc::SIGSYS);
    let subject = Subject {
        signal: delivery.signal,
        code,
        address: delivery.address().filter(|_| fault),
        sender: delivery.sender(),
        handler,
    };
    report(&subject, &mut |line| tell(line, delivery));
}

fn tell(line: &mut Text<'_>, delivery: &Delivery<'_>) -> Told {
    let code = delivery.code().unwrap_or(0);
    let own = delivery.sender().is_some_and(wiped::is_own_process);
    match (delivery.signal, code) {
        (libc::SIGFPE, 1..) => cause(line, delivery, arithmetic(code)),
        (libc::SIGILL, 1..) => cause(line, delivery, instruction(code)),
        // tgkill(2) by the thread itself: abort(3), raise(3).
        (libc::SIGABRT, libc::SI_TKILL) if own => {
            line.push(b"aborted");
            caller(line, delivery);
            line.push(
                b": the process has ended itself (a failed assertion, a panic, an exception that ",
            );
            line.push(b"nobody has caught); what it wrote before says more");
            Told::Cause
        }
        (libc::SIGXFSZ, 0) if own => too_long(line, delivery),
        (libc::SIGSYS, 1..) => forbidden(line, delivery, code),
        _ => Told::Nothing,
    }
}

/// ` by LIBRARY: ` what the code says.
fn cause(line: &mut Text<'_>, delivery: &Delivery<'_>, (what, why): (&[u8], &[u8])) -> Told {
    line.push(what);
    caller(line, delivery);
    line.push(b": ");
    line.push(why);
    Told::Cause
}

fn caller(line: &mut Text<'_>, delivery: &Delivery<'_>) {
    if let Some(site) = delivery.site() {
        by(line, site.pc, site.stack, site.link);
    }
}

fn arithmetic(code: c_int) -> (&'static [u8], &'static [u8]) {
    let why: &[u8] = match code {
        1 => b"divided by zero, or the result does not fit",
        2 => b"the result does not fit",
        3 => b"a floating-point number divided by zero",
        4 | 5 => b"a floating-point result is too large or too small",
        6 => b"a floating-point result is not exact, and the program has asked for an exception",
        7 => b"a floating-point operation that has no result",
        _ => b"an arithmetic exception",
    };
    (b"arithmetic", why)
}

fn instruction(code: c_int) -> (&'static [u8], &'static [u8]) {
    let why: &[u8] = match code {
        5 | 6 => b"only the kernel may execute it",
        _ => {
            b"the processor does not know it: a trap that a compiler has put where nobody comes, \
              code for another processor, or a jump to what is no code"
        }
    };
    (b"an instruction", why)
}

/// `write to fd N (PATH) by LIBRARY: the file may have N bytes at most (RLIMIT_FSIZE)`
fn too_long(line: &mut Text<'_>, delivery: &Delivery<'_>) -> Told {
    let Some(registers) = delivery.registers().filter(|it| it.result == -i64::from(libc::EFBIG))
    else {
        return Told::Nothing;
    };
    let call = registers.number.and_then(|number| libc::c_long::try_from(number).ok());
    // Of these the first argument is what was written to.
    let name: Option<&[u8]> = match call {
        Some(libc::SYS_write) => Some(b"write"),
        Some(libc::SYS_writev) => Some(b"writev"),
        Some(libc::SYS_pwrite64) => Some(b"pwrite"),
        Some(libc::SYS_pwritev) => Some(b"pwritev"),
        Some(libc::SYS_pwritev2) => Some(b"pwritev2"),
        Some(libc::SYS_ftruncate) => Some(b"ftruncate"),
        Some(libc::SYS_fallocate) => Some(b"fallocate"),
        Some(libc::SYS_sendfile) => Some(b"sendfile"),
        _ => None,
    };
    line.push(name.unwrap_or(b"a write"));
    let first = || {
        registers.arguments.map(|[first, ..]| first as u32).or_else(|| delivery.first_argument())
    };
    match name.and_then(|_| first()).and_then(|fd| c_int::try_from(fd).ok()) {
        Some(fd) => {
            let mut path = [0_u8; 512];
            let length = link_of(fd, &mut path);
            line.push(b" to fd ");
            line.number(fd.unsigned_abs().into(), 10);
            line.push(b" (");
            line.push_name(path.get(..length).unwrap_or_default());
            line.push(b")");
        }
        None => line.push(b" to an unknown fd"),
    }
    by(line, registers.pc, registers.stack, registers.link.unwrap_or(0));
    line.push(b": the file may not be longer than ");
    line.grouped(limit());
    line.push(b" bytes (RLIMIT_FSIZE, ulimit -f)");
    Told::Cause
}

/// `RLIMIT_FSIZE`.
fn limit() -> u64 {
    let mut limit = MaybeUninit::<libc::rlimit>::zeroed();
    // SAFETY: room for one struct; a plain system call.
    unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, limit.as_mut_ptr()) };
    // SAFETY: numbers, zero or filled.
    unsafe { limit.assume_init() }.rlim_cur
}

/// `system call N by LIBRARY: a seccomp filter forbids it`
fn forbidden(line: &mut Text<'_>, delivery: &Delivery<'_>, code: c_int) -> Told {
    line.push(b"system call ");
    match delivery.system_call() {
        Some(number) => line.signed(number.into()),
        None => line.push(b"of unknown number"),
    }
    caller(line, delivery);
    line.push(if code == 1 {
        b": a seccomp filter forbids it"
    } else {
        b": it was given to the program itself"
    });
    Told::Cause
}

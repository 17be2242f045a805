//! Names of signals and of what their codes mean, as signal(7) and sigaction(2) have them.

use sigward::audit::outside::NAMES;
pub use sigward::audit::outside::name;

/// The fields of a siginfo that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// The signal's number.
    pub signal: i32,
    /// `si_code`.
    pub code: i32,
    /// `si_addr`, of a fault.
    pub address: u64,
    /// `si_pid`, of a signal that somebody has sent.
    pub sender: i32,
}

impl Info {
    /// From the kernel's bytes (`siginfo_t` of a 64-bit system); none if there are too few.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(i32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let address = u64::from_le_bytes(bytes.get(16..24)?.try_into().ok()?);
        Some(Self { signal: word(0)?, code: word(8)?, address, sender: word(16)? })
    }

    /// Whether the processor or the kernel raised it for what the thread did, at `address`.
    pub fn is_fault(&self) -> bool {
        let faults = [libc::SIGBUS, libc::SIGSEGV, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP];
        faults.contains(&self.signal) && self.code > 0
    }

    /// Whether somebody has sent it, who is named then.
    pub fn is_sent(&self) -> bool {
        matches!(self.code, 0 | -1 | -6)
    }

    /// What the code says, in words.
    pub fn meaning(&self) -> &'static str {
        match (self.signal, self.code) {
            (_, 0) => "sent by kill(2), or by the kernel after a failed write",
            (_, -1) => "sent by sigqueue(3)",
            (_, -6) => "sent to this thread by tgkill(2): raise(3), abort(3)",
            (_, -2) => "a timer (timer_create(2))",
            (libc::SIGCHLD, _) => "a child has ended, was stopped or goes on",
            (_, 0x80) => "sent by the kernel (SI_KERNEL)",
            (libc::SIGBUS, 1) => "wrong alignment (BUS_ADRALN)",
            (libc::SIGBUS, 2) => "a page of a mapped file that is not there (BUS_ADRERR)",
            (libc::SIGBUS, 3) => "an error of the object (BUS_OBJERR)",
            (libc::SIGBUS, 4 | 5) => "damaged memory (BUS_MCEERR)",
            (libc::SIGSEGV, 1) => "no memory there (SEGV_MAPERR)",
            (libc::SIGSEGV, 2) => "the memory may not be accessed so (SEGV_ACCERR)",
            (libc::SIGFPE, 1) => "integer divided by zero (FPE_INTDIV)",
            (libc::SIGILL, _) => "an instruction that the processor does not know",
            (libc::SIGSYS, 1) => "a system call that seccomp forbids (SYS_SECCOMP)",
            _ => "",
        }
    }
}

/// A signal that the command is to tell of.
pub fn parse(text: &str) -> Result<i32, &'static str> {
    match number(text) {
        Some(libc::SIGKILL) => Err("no watcher sees it come; a death of it is told anyway"),
        Some(signal) => Ok(signal),
        None => Err("no signal: try PIPE, SIGPIPE or 13; real-time signals have numbers only"),
    }
}

/// The number of `SIGBUS`, `bus` or `7`.
pub fn number(text: &str) -> Option<i32> {
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let by_name = NAMES.iter().position(|name| &name[3..] == bare).map(|at| at as i32 + 1);
    by_name.or_else(|| text.parse().ok().filter(|number| (1..=64).contains(number)))
}

#[cfg(test)]
mod tests {
    use super::{Info, name, number};

    #[test]
    fn names_and_numbers_belong_together() {
        for (signal, text) in [
            (libc::SIGBUS, "SIGBUS"),
            (libc::SIGPIPE, "SIGPIPE"),
            (libc::SIGXFSZ, "SIGXFSZ"),
            (libc::SIGSYS, "SIGSYS"),
            (libc::SIGURG, "SIGURG"),
        ] {
            assert_eq!((name(signal).as_str(), number(text)), (text, Some(signal)));
        }
        assert_eq!(
            [number("bus"), number("40"), number("SIGNO"), number("65")],
            [Some(7), Some(40), None, None]
        );
        assert_eq!(name(35), "signal 35");
        assert_eq!(Info::read(&[0; 23]), None);
    }
}

//! What only the process itself can see: handlers, their flags and owners, and how our seats stand.

use crate::Error;
use crate::chain::{self, Disposition, SIGNALS};
use crate::status::{Standing, status};

/// What only the process itself can see.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Own {
    /// How it stands with SIGPIPE.
    pub sigpipe: Standing,
    /// How it stands with SIGBUS.
    pub sigbus: Standing,
    /// How many maps are guarded.
    pub guarded: u64,
    /// Whether a Go runtime is in the process, be it in a library.
    pub has_go: bool,
    /// The signals that do not have their default action.
    pub rows: Vec<Row>,
}

/// A signal that does not have its default action.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// The signal.
    pub signal: i32,
    /// What the kernel calls.
    pub handler: Handler,
    /// Who comes after it, as far as that goes by seats of ours; what is beneath a handler of
    /// somebody else's is called only if that passes signals on.
    pub line: Vec<Handler>,
}

/// What is called for a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handler {
    /// SIG_DFL (0), SIG_IGN (1) or the address of a function.
    pub address: usize,
    /// The file name of the library or executable that holds the function, if that is known.
    pub library: Option<String>,
    /// The `SA_` flags.
    pub flags: i32,
    /// Whether it is an entry point of this library.
    pub is_ours: bool,
}

impl Own {
    pub(super) fn read() -> Result<Self, Error> {
        let status = status()?;
        let rows = (1..=SIGNALS as i32)
            .filter_map(|signal| Row::of(signal, &Disposition::read(signal).ok()?));
        Ok(Self {
            sigpipe: status.sigpipe,
            sigbus: status.sigbus,
            guarded: crate::mapping::guarded(),
            has_go: crate::sigpipe::has_go(),
            rows: rows.collect(),
        })
    }
}

impl Row {
    fn of(signal: i32, top: &Disposition) -> Option<Self> {
        let mut line = Vec::new();
        chain::line(signal, top, &mut |row| line.push(Handler::of(row)));
        let handler = line.remove(0);
        (handler.address != libc::SIG_DFL || !line.is_empty()).then_some(Self {
            signal,
            handler,
            line,
        })
    }
}

impl Row {
    /// As the kernel has it; of another process.
    #[doc(hidden)]
    #[must_use]
    pub fn of_kernel(signal: i32, address: usize, flags: i32, library: Option<String>) -> Self {
        Self {
            signal,
            handler: Handler { address, library, flags, is_ours: false },
            line: Vec::new(),
        }
    }
}

impl Handler {
    fn of(row: &Disposition) -> Self {
        Self {
            address: row.handler,
            library: Standing::owner_of(row.handler),
            flags: row.flags,
            is_ours: chain::is_ours(row.handler),
        }
    }

    /// Whether it is neither SIG_DFL nor SIG_IGN.
    #[must_use]
    pub fn is_function(&self) -> bool {
        self.address > libc::SIG_IGN
    }

    /// Whether it runs on a thread's alternate stack.
    #[must_use]
    pub fn is_on_stack(&self) -> bool {
        self.flags & libc::SA_ONSTACK != 0
    }

    /// Its flags, by their names.
    #[must_use]
    pub fn flag_names(&self) -> Vec<&'static str> {
        let known = [
            (libc::SA_NOCLDSTOP, "SA_NOCLDSTOP"),
            (libc::SA_NOCLDWAIT, "SA_NOCLDWAIT"),
            (libc::SA_SIGINFO, "SA_SIGINFO"),
            (libc::SA_ONSTACK, "SA_ONSTACK"),
            (libc::SA_RESTART, "SA_RESTART"),
            (libc::SA_NODEFER, "SA_NODEFER"),
            (libc::SA_RESETHAND, "SA_RESETHAND"),
        ];
        known.into_iter().filter(|(flag, _)| self.flags & flag != 0).map(|(_, name)| name).collect()
    }
}

impl std::fmt::Display for Handler {
    /// `libjvm.so (SA_SIGINFO SA_RESTART)`
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.address, &self.library) {
            (libc::SIG_DFL, _) => return out.write_str("default"),
            (libc::SIG_IGN, _) => return out.write_str("ignored"),
            _ if self.is_ours => out.write_str("sigward")?,
            (_, Some(library)) => out.write_str(library)?,
            (address, None) => write!(out, "{address:#x}")?,
        }
        write!(out, " ({})", self.flag_names().join(" "))
    }
}

//! A thread's registers, as ptrace(2) and core files have them, and the system call in them.

use std::fmt::Write;

/// The processor that the registers are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// x86-64
    X86_64,
    /// 64-bit ARM
    Aarch64,
}

/// This very machine.
pub const NATIVE: Option<Machine> = if cfg!(target_arch = "x86_64") {
    Some(Machine::X86_64)
} else if cfg!(target_arch = "aarch64") {
    Some(Machine::Aarch64)
} else {
    None
};

/// What is used of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registers {
    /// The processor.
    pub machine: Machine,
    /// The system call that the thread is in or has just left; none outside of one.
    pub call: Option<u64>,
    /// Its arguments; the first of one that has returned is lost on aarch64.
    pub arguments: [u64; 6],
    /// What it has returned.
    pub result: i64,
    /// The next instruction.
    pub pc: u64,
    /// The stack pointer.
    pub stack: u64,
}

impl Registers {
    /// How many bytes the kernel's structure has.
    pub const fn size(machine: Machine) -> usize {
        match machine {
            Machine::X86_64 => 27 * 8,
            Machine::Aarch64 => 34 * 8,
        }
    }

    /// From `struct user_regs_struct`, `struct user_pt_regs`. Where the number of the call is not
    /// among the registers (aarch64), it is given.
    pub fn read(machine: Machine, bytes: &[u8], call: Option<i32>) -> Option<Self> {
        let all = bytes.get(..Self::size(machine))?;
        let word = |at: usize| {
            all.get(at * 8..at * 8 + 8)
                .and_then(|word| word.try_into().ok())
                .map_or(0, u64::from_le_bytes)
        };
        Some(match machine {
            Machine::X86_64 => Self {
                machine,
                call: (word(15) as i64 >= 0).then(|| word(15)),
                arguments: [14, 13, 12, 7, 9, 8].map(word),
                result: word(10) as i64,
                pc: word(16),
                stack: word(19),
            },
            Machine::Aarch64 => Self {
                machine,
                call: call.and_then(|call| u64::try_from(call).ok()),
                arguments: [0, 1, 2, 3, 4, 5].map(word),
                result: word(0) as i64,
                pc: word(32),
                stack: word(31),
            },
        })
    }

    /// The name of the system call, where this machine knows it.
    pub fn call_name(&self) -> Option<String> {
        let call = self.call.filter(|_| Some(self.machine) == NATIVE)?;
        Some(name(call).map_or_else(|| format!("system call {call}"), str::to_owned))
    }
}

/// A system call that opens, cuts, replaces or removes files: where its paths and flags are.
#[derive(Debug, Clone, Copy)]
pub struct Changes {
    /// Arguments that are paths.
    pub paths: &'static [usize],
    /// The argument with the flags of open(2).
    flags: Option<usize>,
    /// The argument that is a descriptor.
    pub descriptor: Option<usize>,
}

/// What a call changes, if it is one of those.
pub fn changes(call: u64) -> Option<Changes> {
    let of = |paths, flags, descriptor| Some(Changes { paths, flags, descriptor });
    #[cfg(target_arch = "x86_64")]
    match call as libc::c_long {
        libc::SYS_open => return of(&[0], Some(1), None),
        libc::SYS_creat | libc::SYS_unlink => return of(&[0], None, None),
        libc::SYS_rename => return of(&[0, 1], None, None),
        _ => {}
    }
    match call as libc::c_long {
        libc::SYS_openat => of(&[1], Some(2), None),
        libc::SYS_openat2 | libc::SYS_unlinkat => of(&[1], None, None),
        libc::SYS_truncate => of(&[0], None, None),
        libc::SYS_renameat | libc::SYS_renameat2 => of(&[1, 3], None, None),
        libc::SYS_ftruncate | libc::SYS_fallocate => of(&[], None, Some(0)),
        libc::SYS_copy_file_range => of(&[], None, Some(2)),
        _ => None,
    }
}

/// `openat("/data/x", O_WRONLY|O_TRUNC)`; `path` reads a text of the thread's memory.
pub fn describe(registers: &Registers, path: impl Fn(u64) -> Option<String>) -> Option<String> {
    let changes = changes(registers.call?)?;
    let mut text = format!("{}(", registers.call_name()?);
    for (at, place) in changes.paths.iter().enumerate() {
        let comma = if at > 0 { ", " } else { "" };
        let path =
            path(registers.arguments[*place]).map_or("?".to_owned(), |path| format!("{path:?}"));
        let _ = write!(text, "{comma}{path}");
    }
    if let Some(place) = changes.flags {
        let _ = write!(text, ", {}", open_flags(registers.arguments[place] as i32));
    }
    if let Some(place) = changes.descriptor {
        let _ = write!(text, "fd {}", registers.arguments[place] as i32);
    }
    text.push(')');
    Some(text)
}

/// The flags of open(2) that change files.
pub fn open_flags(flags: i32) -> String {
    let access = match flags & libc::O_ACCMODE {
        libc::O_RDONLY => "O_RDONLY",
        libc::O_WRONLY => "O_WRONLY",
        _ => "O_RDWR",
    };
    let more = [
        (libc::O_CREAT, "|O_CREAT"),
        (libc::O_EXCL, "|O_EXCL"),
        (libc::O_TRUNC, "|O_TRUNC"),
        (libc::O_APPEND, "|O_APPEND"),
    ];
    let set = more.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, name)| *name);
    std::iter::once(access).chain(set).collect()
}

fn name(call: u64) -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    match call as libc::c_long {
        libc::SYS_open => return Some("open"),
        libc::SYS_creat => return Some("creat"),
        libc::SYS_unlink => return Some("unlink"),
        libc::SYS_rename => return Some("rename"),
        libc::SYS_poll => return Some("poll"),
        libc::SYS_select => return Some("select"),
        libc::SYS_pause => return Some("pause"),
        libc::SYS_epoll_wait => return Some("epoll_wait"),
        _ => {}
    }
    Some(match call as libc::c_long {
        libc::SYS_read => "read",
        libc::SYS_write => "write",
        libc::SYS_readv => "readv",
        libc::SYS_writev => "writev",
        libc::SYS_pread64 => "pread64",
        libc::SYS_pwrite64 => "pwrite64",
        libc::SYS_pwritev => "pwritev",
        libc::SYS_pwritev2 => "pwritev2",
        libc::SYS_sendto => "sendto",
        libc::SYS_sendmsg => "sendmsg",
        libc::SYS_sendmmsg => "sendmmsg",
        libc::SYS_recvfrom => "recvfrom",
        libc::SYS_recvmsg => "recvmsg",
        libc::SYS_accept4 => "accept4",
        libc::SYS_sendfile => "sendfile",
        libc::SYS_splice => "splice",
        libc::SYS_tee => "tee",
        libc::SYS_vmsplice => "vmsplice",
        libc::SYS_io_submit => "io_submit",
        libc::SYS_io_uring_enter => "io_uring_enter",
        libc::SYS_openat => "openat",
        libc::SYS_openat2 => "openat2",
        libc::SYS_unlinkat => "unlinkat",
        libc::SYS_truncate => "truncate",
        libc::SYS_ftruncate => "ftruncate",
        libc::SYS_fallocate => "fallocate",
        libc::SYS_copy_file_range => "copy_file_range",
        libc::SYS_renameat => "renameat",
        libc::SYS_renameat2 => "renameat2",
        libc::SYS_futex => "futex",
        libc::SYS_ppoll => "ppoll",
        libc::SYS_pselect6 => "pselect6",
        libc::SYS_epoll_pwait => "epoll_pwait",
        libc::SYS_nanosleep => "nanosleep",
        libc::SYS_clock_nanosleep => "clock_nanosleep",
        libc::SYS_wait4 => "wait4",
        libc::SYS_waitid => "waitid",
        libc::SYS_rt_sigtimedwait => "rt_sigtimedwait",
        libc::SYS_rt_sigsuspend => "rt_sigsuspend",
        libc::SYS_rt_sigreturn => "rt_sigreturn",
        libc::SYS_kill => "kill",
        libc::SYS_tkill => "tkill",
        libc::SYS_tgkill => "tgkill",
        libc::SYS_rt_sigprocmask => "rt_sigprocmask",
        _ => return None,
    })
}

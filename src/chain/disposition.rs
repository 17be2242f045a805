//! What the kernel does with a signal now: read without changing it, compare, write.

use crate::error::Error;
use std::ffi::c_int;
use std::mem::MaybeUninit;

/// One row of the kernel's table of signal actions, as sigaction(2) shows it.
///
/// # References
/// sigaction(2); `struct k_sigaction` in the kernel's `include/linux/signal_types.h`.
#[derive(Clone, Copy)]
pub struct Disposition {
    /// `SIG_DFL` (0), `SIG_IGN` (1) or the address of a function.
    pub handler: usize,
    /// `SA_*` flags, without the C library's own `SA_RESTORER`.
    pub flags: c_int,
    /// Signals that are blocked while the handler runs, besides the signal itself.
    pub mask: libc::sigset_t,
}

/// The three things a disposition can be. `SIG_DFL` and `SIG_IGN` are looked for before any flag:
/// Go leaves `SA_SIGINFO` set on both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `SIG_DFL`: the default action of signal(7).
    Default,
    /// `SIG_IGN`: the kernel drops the signal.
    Ignore,
    /// A function at this address; with three arguments if `siginfo`.
    Handler {
        /// Address of the function.
        address: usize,
        /// Whether it takes `(signal, info, context)` rather than `(signal)`.
        siginfo: bool,
    },
}

impl Disposition {
    /// `SIG_DFL` without flags.
    #[must_use]
    pub fn default_action() -> Self {
        Self::plain(libc::SIG_DFL)
    }

    /// `SIG_IGN` without flags.
    #[must_use]
    pub fn ignore() -> Self {
        Self::plain(libc::SIG_IGN)
    }

    fn plain(handler: usize) -> Self {
        Self { handler, flags: 0, mask: empty_set() }
    }

    /// Reads the disposition of `signal` and changes nothing.
    ///
    /// Signal-safe, thread-safe, and the same in a forked child.
    ///
    /// # Errors
    /// `System(EINVAL)` for a number that is no signal; what a seccomp filter answers.
    #[doc(alias = "sigaction")]
    pub fn read(signal: c_int) -> Result<Self, Error> {
        Self::exchange(signal, None)
    }

    /// Writes `self` as the disposition of `signal` and returns what stood there.
    pub(super) fn write(&self, signal: c_int) -> Result<Self, Error> {
        Self::exchange(signal, Some(self))
    }

    fn exchange(signal: c_int, new: Option<&Self>) -> Result<Self, Error> {
        let new = new.map(|new| new.to_libc());
        let new = new.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let mut old = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: `new` is null or points to a whole struct; `old` has room for one.
        if unsafe { libc::sigaction(signal, new, old.as_mut_ptr()) } != 0 {
            return Err(Error::last());
        }
        // SAFETY: sigaction(2) returned 0, so it filled `old`.
        let old = unsafe { old.assume_init() };
        Ok(Self { handler: old.sa_sigaction, flags: old.sa_flags & !RESTORER, mask: old.sa_mask })
    }

    fn to_libc(self) -> libc::sigaction {
        // SAFETY: all fields are numbers, sets of bits or an optional function: zero is valid for
        // each.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = self.handler;
        action.sa_flags = self.flags;
        action.sa_mask = self.mask;
        action
    }

    /// Which of the three things this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.handler {
            libc::SIG_DFL => Kind::Default,
            libc::SIG_IGN => Kind::Ignore,
            address => Kind::Handler { address, siginfo: self.flags & libc::SA_SIGINFO != 0 },
        }
    }

    /// Whether both would make the kernel do the same.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.handler == other.handler
            && (self.handler <= libc::SIG_IGN
                || self.flags == other.flags && same_set(&self.mask, &other.mask))
    }
}

impl std::fmt::Debug for Disposition {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Disposition")
            .field("kind", &self.kind())
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

/// glibc shows this flag in `old` though no caller sets it (`SA_RESTORER`, asm/signal.h).
#[cfg(target_os = "linux")]
const RESTORER: c_int = 0x0400_0000;
#[cfg(not(target_os = "linux"))]
const RESTORER: c_int = 0;

pub(super) fn empty_set() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `set` has room for one set; sigemptyset(3) cannot fail.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: zeroed and then emptied: a set of numbers.
    unsafe { set.assume_init() }
}

/// Compares what the kernel knows: signals 1 to 64 (fewer elsewhere; those read as absent). SIGKILL
/// and SIGSTOP are in no mask: the kernel leaves them out of what it is given.
pub(super) fn same_set(one: &libc::sigset_t, other: &libc::sigset_t) -> bool {
    // SAFETY: both point to initialised sets; an out-of-range number gives -1 for both.
    let holds = |set: &libc::sigset_t, signal| unsafe { libc::sigismember(set, signal) } == 1;
    let counts = |signal: &c_int| ![libc::SIGKILL, libc::SIGSTOP].contains(signal);
    (1..=64).filter(counts).all(|signal| holds(one, signal) == holds(other, signal))
}

/// The kernel's own row: handler, flags, trampoline, mask (asm/signal.h), 8 bytes each. None if it
/// cannot be asked. Signal-safe.
#[cfg(target_os = "linux")]
pub(super) fn in_kernel(signal: c_int) -> Option<[usize; 4]> {
    let mut raw = [0_usize; 4];
    // SAFETY: a null `act` changes nothing; `raw` is as large as the kernel's struct.
    let status = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            std::ptr::null::<usize>(),
            raw.as_mut_ptr(),
            8_usize,
        )
    };
    (status == 0).then_some(raw)
}

/// Whether something between us and the kernel (libjsig's `sigaction`) answers in its place: then
/// an answer of "default" must not be believed.
#[cfg(target_os = "linux")]
#[cold]
pub(crate) fn interposed(signal: c_int) -> bool {
    let Some([handler, ..]) = in_kernel(signal) else { return false };
    Disposition::read(signal).is_ok_and(|answer| answer.handler != handler)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn interposed(_signal: c_int) -> bool {
    false
}

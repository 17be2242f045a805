//! What an entry point was entered with: by the kernel, or by a handler above that passes a signal
//! on.
//!
//! Neither can be believed as it stands. A library that puts back with signal(3) what signal(3) had
//! returned drops `SA_SIGINFO` from our row: then the kernel calls us all the same, and the siginfo
//! is whatever lay on the stack. A handler above with one argument calls us with one: the other two
//! are whatever was in the registers. So the arguments are compared with the stack pointer first;
//! on x86-64 the kernel's frame lies right there, whatever the flags (`x64_setup_rt_frame`,
//! arch/x86/kernel/signal_64.c).

#[cfg(target_os = "linux")]
use super::frame;
#[cfg(target_os = "linux")]
use crate::observe::without_events;
use crate::sys::mask::Mask;
#[cfg(target_os = "linux")]
use crate::sys::memory::is_there;
#[cfg(target_os = "linux")]
use crate::sys::pages::LEAST_PAGE as PAGE;
use std::ffi::{c_int, c_void};

/// The arguments of one delivery, as far as they can be believed.
#[derive(Clone, Copy)]
pub(in crate::chain) struct Arrival {
    pub(super) signal: c_int,
    /// Null where nothing is known to be a siginfo of this signal.
    pub(super) info: *mut libc::siginfo_t,
    /// Null where nothing is known to be a context.
    pub(super) context: *mut c_void,
    /// Whether the kernel called, so that its row for the signal was ours at that moment.
    pub(super) by_kernel: bool,
    /// Off where nobody has written into `info` who sent the signal, or there is none.
    pub(super) filled: bool,
    /// The signal mask that the entry point was called with, where it has been changed since.
    pub(super) called_with: Option<Mask>,
    /// The stack pointer at the entry point, whatever stack the handler goes on with.
    pub(super) stack: usize,
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
impl Arrival {
    /// What an entry point was entered with: its arguments, and the stack pointer.
    pub(super) fn of(
        signal: c_int,
        info: *mut libc::siginfo_t,
        context: *mut c_void,
        stack: usize,
    ) -> Self {
        let by_kernel =
            context.addr() == stack + frame::CONTEXT && info.addr() == stack + frame::INFO;
        let arrival =
            Self { signal, info, context, by_kernel, filled: true, called_with: None, stack };
        if by_kernel { arrival } else { arrival.passed_on(stack, 0) }
    }
}

impl Arrival {
    /// The kernel has called without filling the siginfo: what was there before goes, and whoever
    /// comes next finds one that says nothing but the signal's number.
    pub(super) fn unfilled(self) -> Self {
        if let Some(info) = std::ptr::NonNull::new(self.info) {
            // SAFETY: room for a siginfo in the kernel's frame.
            unsafe { info.write_bytes(0, 1) };
            // SAFETY: as above; the number comes first.
            unsafe { info.cast::<c_int>().write(self.signal) };
        }
        Self { filled: false, ..self }
    }

    /// What is left of arguments that a handler above has passed, or left in the registers. Its
    /// line of frame records begins at `record`.
    #[cfg(target_os = "linux")]
    pub(super) fn passed_on(mut self, stack: usize, record: usize) -> Self {
        let errno = super::Errno::save();
        if !is_readable(self.info.addr(), size_of::<libc::siginfo_t>(), stack)
            // SAFETY: it can be read.
            || unsafe { self.info.cast::<c_int>().read_volatile() } != self.signal
        {
            self.info = std::ptr::null_mut();
            self.filled = false;
        }
        if !is_readable(self.context.addr(), size_of::<libc::ucontext_t>(), stack)
            // SAFETY: it can be read.
            || !unsafe { looks_like_context(self.context) }
        {
            self.context = std::ptr::null_mut();
        }
        // Dropped by a handler that passes on the number alone: the kernel's frame lies under that
        // handler's own.
        if self.info.is_null()
            && let Some((info, context)) = frame::search(stack, record, self.signal)
        {
            (self.info, self.context) = (info, context);
            self.filled = !info.is_null();
        }
        errno.restore();
        self
    }
}

/// The delivery of a fault whose handler is at work on this stack, on which the line of frame
/// records begins at `record`. A handler without `SA_SIGINFO` has no siginfo in its frame: then the
/// registers there have to do.
#[cfg(target_os = "linux")]
pub(super) fn fault_above(stack: usize, record: usize, signal: c_int) -> Option<Arrival> {
    let (info, context) = frame::search(stack, record, signal)?;
    // SAFETY: null, or a siginfo in a frame that can be read.
    let fault = unsafe { info.as_ref() }.is_some_and(|info| info.si_code > 0);
    let info = if fault { info } else { std::ptr::null_mut() };
    Some(Arrival {
        signal,
        info,
        context,
        by_kernel: false,
        filled: fault,
        called_with: None,
        stack,
    })
}

#[cfg(not(target_os = "linux"))]
pub(super) fn fault_above(_stack: usize, _record: usize, _signal: c_int) -> Option<Arrival> {
    None
}

/// Whether a thread's stack goes on for `length` bytes below `here`: each page of it is there, up
/// to as many as no frame of a sane function takes. errno stays. Signal-safe.
#[cfg(target_os = "linux")]
pub(super) fn goes_on_below(here: usize, length: usize) -> bool {
    const MOST: usize = 64 * PAGE;
    let errno = super::Errno::save();
    let pages = (PAGE..length.min(MOST) + PAGE).step_by(PAGE);
    let all = pages.into_iter().all(|below| is_there((here & !7).saturating_sub(below)));
    errno.restore();
    all
}

#[cfg(not(target_os = "linux"))]
pub(super) fn goes_on_below(_here: usize, _length: usize) -> bool {
    true
}

/// Whether these bytes are there. The page of the stack pointer is; of other places the kernel is
/// asked: a handler above may pass on anything, and a stack ends where it ends. Where no system
/// call may be made, what lies a little above is believed to be what the kernel has put there.
#[cfg(target_os = "linux")]
fn is_readable(address: usize, length: usize, stack: usize) -> bool {
    const NEAR: usize = 32 << 10;
    if address == 0 || !address.is_multiple_of(8) {
        return false;
    }
    let Some(last) = address.checked_add(length - 8) else { return false };
    let near = stack..stack.saturating_add(NEAR);
    let believed = |place: usize| {
        place / PAGE == stack / PAGE || without_events::is_on() && near.contains(&place)
    };
    [address, last].into_iter().all(|place| believed(place) || is_there(place))
}

/// # Safety
/// A ucontext can be read there.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(super) unsafe fn looks_like_context(context: *mut c_void) -> bool {
    /// The segment of 64-bit user code (`__USER_CS`, arch/x86/include/asm/segment.h).
    const USER_CODE: i64 = 0x33;
    // SAFETY: by this function's contract; its fields are numbers.
    let machine = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    machine.gregs[libc::REG_CSGSFS as usize] & 0xffff == USER_CODE
}

/// # Safety
/// A ucontext can be read there.
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
unsafe fn looks_like_context(context: *mut c_void) -> bool {
    /// The head of the first extension, the vector registers (`FPSIMD_MAGIC`, and the size of that
    /// record).
    const VECTORS: u64 = 528 << 32 | 0x4650_8001;
    // SAFETY: by this function's contract.
    unsafe { context.cast::<u64>().wrapping_byte_add(464).read_volatile() == VECTORS }
}

#[cfg(all(target_os = "linux", not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
unsafe fn looks_like_context(_context: *mut c_void) -> bool {
    true
}

/// What an entry point goes on with elsewhere: nobody has looked at what such systems leave in the
/// registers.
///
/// # Safety
/// The arguments are those of an `SA_SIGINFO` handler; `info` and `context` may be null.
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub(in crate::chain) unsafe fn arrive(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
    index: usize,
) {
    let stack = std::ptr::from_ref(&signal).addr();
    let filled = !info.is_null();
    let arrival =
        Arrival { signal, info, context, by_kernel: false, filled, called_with: None, stack };
    // SAFETY: by this function's contract.
    unsafe { super::deliver(index, arrival) }
}

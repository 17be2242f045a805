//! The kernel's frame of a handler that is at work, looked for on its stack.
//!
//! A handler above ours may hand on less than it got. The siginfo and the registers lie under its
//! own frame all the same.

#[cfg(any(target_arch = "aarch64", test))]
mod aarch64;
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(super) use aarch64::{CONTEXT, Entered, Own};
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
pub(super) use x86_64::{CONTEXT, INFO};

/// How far up the stack it is looked for: handlers that drop the siginfo are small ones.
#[cfg(any(
    target_arch = "aarch64",
    all(target_arch = "x86_64", target_pointer_width = "64"),
    test
))]
const REACH: usize = 32 << 10;

/// The innermost frame on the stack above `stack`, where the line of frame records begins at
/// `record`: its siginfo, null if the kernel has filled none, and its context.
#[cfg(any(target_arch = "aarch64", all(target_arch = "x86_64", target_pointer_width = "64")))]
#[cold]
#[inline(never)]
pub(super) fn search(
    stack: usize,
    record: usize,
    signal: std::ffi::c_int,
) -> Option<(*mut libc::siginfo_t, *mut std::ffi::c_void)> {
    let [_, flags, trampoline, _] = crate::chain::disposition::in_kernel(signal)?;
    #[cfg(target_arch = "x86_64")]
    let (info, context) = {
        let _ = record;
        let frame = x86_64::innermost(stack, trampoline)?;
        (frame + INFO, frame + CONTEXT)
    };
    #[cfg(target_arch = "aarch64")]
    let (info, context) = {
        let _ = trampoline;
        let frame = aarch64::innermost(stack, record, &Own)?;
        (frame, frame + CONTEXT)
    };
    let info = info as *mut libc::siginfo_t;
    let filled = flags & libc::SA_SIGINFO as usize != 0
        // SAFETY: in a frame that can be read; the number comes first.
        && unsafe { info.cast::<std::ffi::c_int>().read_volatile() } == signal;
    Some((if filled { info } else { std::ptr::null_mut() }, context as *mut std::ffi::c_void))
}

/// On other processors nobody has looked at what such a frame is like.
#[cfg(not(any(
    target_arch = "aarch64",
    all(target_arch = "x86_64", target_pointer_width = "64")
)))]
pub(super) fn search(
    _stack: usize,
    _record: usize,
    _signal: std::ffi::c_int,
) -> Option<(*mut libc::siginfo_t, *mut std::ffi::c_void)> {
    None
}

//! `struct rt_sigframe` of x86-64, known by the trampoline that its handler returns to.

use super::super::arrival::looks_like_context;
use super::REACH;
use crate::sys::memory::is_there;
use crate::sys::pages::LEAST_PAGE as PAGE;
use std::ffi::c_void;

/// A return address, then the ucontext, then the siginfo (arch/x86/include/asm/sigframe.h).
pub(in super::super) const CONTEXT: usize = 8;
pub(in super::super) const INFO: usize = CONTEXT + 304;
const END: usize = INFO + size_of::<libc::siginfo_t>();

/// The frame of the handler at work on the stack above `stack`: the innermost that is not left from
/// an earlier handler, in a buffer that nobody has written to since.
///
/// Below the stack pointer that a frame notes nothing was in use when it was made. So where there
/// is another one, that one came later, and the first is left over.
pub(super) fn innermost(stack: usize, trampoline: usize) -> Option<usize> {
    if trampoline == 0 {
        return None;
    }
    let all = stack.checked_add(2 * REACH)?;
    let mut frame = first(stack, stack + REACH, trampoline)?;
    while let Some(later) = first(frame + 8, unused_below(frame).min(all), trampoline) {
        frame = later;
    }
    Some(frame)
}

/// The first frame that begins at `from` or above and ends at `to` or below.
fn first(from: usize, to: usize, trampoline: usize) -> Option<usize> {
    // At a handler's entry the stack pointer is that of a function that was just called.
    let places = (from.next_multiple_of(16) + 8..to).step_by(16);
    places.take_while(|place| reaches(*place)).find(|place| {
        // SAFETY: aligned, and in a page that can be read.
        let word = unsafe { (*place as *const usize).read_volatile() };
        word == trampoline
            && place + END <= to
            && is_there(place + END - 8)
            // SAFETY: the whole frame can be read.
            && unsafe { looks_like_context((place + CONTEXT) as *mut c_void) }
    })
}

/// Where the stack ends that was not in use when the kernel made this frame.
fn unused_below(frame: usize) -> usize {
    // SAFETY: the whole frame can be read.
    let context = unsafe { &*((frame + CONTEXT) as *const libc::ucontext_t) };
    let interrupted = context.uc_mcontext.gregs[libc::REG_RSP as usize] as usize;
    let start = context.uc_stack.ss_sp.addr();
    let alternate = start..start.saturating_add(context.uc_stack.ss_size);
    let switched = alternate.contains(&frame) && !alternate.contains(&interrupted);
    if switched { alternate.end } else { interrupted }
}

/// Whether `place` can be read, if all places before it could: asked once for each page.
fn reaches(place: usize) -> bool {
    place % PAGE >= 16 || is_there(place & !7)
}

//! Work on a stack of one's own, where a handler's may be too small for it.

use std::cell::UnsafeCell;
use std::ffi::c_void;

/// Memory for a stack, which nobody touches before it is needed.
#[repr(C, align(64))]
pub(crate) struct Stack<const SIZE: usize>(UnsafeCell<[u8; SIZE]>);

// SAFETY: only its address is made here; who runs on it is alone, by the contract of `run`.
unsafe impl<const SIZE: usize> Sync for Stack<SIZE> {}

impl<const SIZE: usize> Stack<SIZE> {
    pub(crate) const fn new() -> Self {
        const { assert!(SIZE.is_multiple_of(64)) };
        Self(UnsafeCell::new([0; SIZE]))
    }

    /// Does `work` there and comes back. Signal-safe. Where the processor is none of those known
    /// here, on the stack that there is.
    ///
    /// # Safety
    /// Nobody else is on this stack, no signal is let in meanwhile, and `work` does not unwind.
    pub(crate) unsafe fn run(&'static self, mut work: &mut dyn FnMut()) {
        let top = self.0.get().wrapping_add(1).cast::<c_void>();
        // SAFETY: the end of memory that only this call uses, aligned; the function takes this
        // argument.
        unsafe { call_on(top, work_on, (&raw mut work).cast()) }
    }
}

/// # Safety
/// `work` points to what [`Stack::run`] was given.
unsafe extern "C" fn work_on(work: *mut c_void) {
    // SAFETY: by this function's contract.
    let work = unsafe { &mut *work.cast::<&mut dyn FnMut()>() };
    work();
}

/// Calls `function` with the stack pointer at `top`.
///
/// # Safety
/// `top` is the end of a stack that is free, aligned to 16 bytes; `function` takes `argument`.
#[cfg(target_arch = "x86_64")]
unsafe fn call_on(
    top: *mut c_void,
    function: unsafe extern "C" fn(*mut c_void),
    argument: *mut c_void,
) {
    // SAFETY: by this function's contract; R12 is kept by the function that is called.
    unsafe {
        std::arch::asm!(
            "xchg rsp, r12",
            "call {function}",
            "mov rsp, r12",
            function = in(reg) function,
            in("rdi") argument,
            inout("r12") top => _,
            clobber_abi("C"),
        );
    }
}

/// # Safety
/// As on x86-64.
#[cfg(target_arch = "aarch64")]
unsafe fn call_on(
    top: *mut c_void,
    function: unsafe extern "C" fn(*mut c_void),
    argument: *mut c_void,
) {
    // SAFETY: by this function's contract; X20 is kept by the function that is called.
    unsafe {
        std::arch::asm!(
            "mov x20, sp",
            "mov sp, {top}",
            "blr {function}",
            "mov sp, x20",
            top = in(reg) top,
            function = in(reg) function,
            in("x0") argument,
            out("x20") _,
            clobber_abi("C"),
        );
    }
}

/// # Safety
/// `function` takes `argument`.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn call_on(
    _top: *mut c_void,
    function: unsafe extern "C" fn(*mut c_void),
    argument: *mut c_void,
) {
    // SAFETY: by this function's contract.
    unsafe { function(argument) }
}

#[cfg(test)]
mod tests {
    use super::Stack;

    #[test]
    fn work_is_done_there() {
        static STACK: Stack<{ 16 << 10 }> = Stack::new();
        let (mut here, number) = (0, 7);
        // SAFETY: this test alone uses it, and has no signal handlers.
        unsafe {
            STACK.run(&mut || {
                let local = number;
                here = std::ptr::from_ref(std::hint::black_box(&local)).addr();
            });
        }
        let start = STACK.0.get().addr();
        let known = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
        assert_eq!((start..start + (16 << 10)).contains(&here), known);
    }
}

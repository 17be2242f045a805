//! Keeps pthread_cancel(3) from taking effect while the library holds something.
//!
//! open(2), read(2), close(2), fsync(2) and many more are cancellation points, and with asynchronous
//! cancellation every instruction is one. A thread that ends in the middle of a call would leave locks
//! taken and descriptors open for ever. So a call disables cancellation first, and a request that came
//! meanwhile takes effect when the previous state is back.
//!
//! # References
//! pthread_setcancelstate(3), pthreads(7) "Cancellation points".

#[cfg(any(target_env = "gnu", target_env = "musl", target_vendor = "apple", target_os = "freebsd"))]
mod state {
    use std::ffi::c_int;

    unsafe extern "C" {
        fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    }

    /// `PTHREAD_CANCEL_DISABLE` of pthread.h.
    #[cfg(not(target_vendor = "apple"))]
    const DISABLED: c_int = 1;
    #[cfg(target_vendor = "apple")]
    const DISABLED: c_int = 2;

    pub(super) fn disable() -> c_int {
        let mut before = DISABLED;
        // SAFETY: a valid state and room for the old one; the call cannot fail then.
        unsafe { pthread_setcancelstate(DISABLED, &raw mut before) };
        before
    }

    pub(super) fn restore(before: c_int) {
        // SAFETY: the state came from `disable`.
        unsafe { pthread_setcancelstate(before, std::ptr::null_mut()) };
    }
}

/// Systems without cancellation.
#[cfg(not(any(target_env = "gnu", target_env = "musl", target_vendor = "apple", target_os = "freebsd")))]
mod state {
    pub(super) fn disable() -> std::ffi::c_int {
        0
    }

    pub(super) fn restore(_before: std::ffi::c_int) {}
}

/// The calling thread cannot be cancelled while this lives. Guards nest. Signal-safe.
///
/// In a thread of *asynchronous* type a pending request takes effect inside `drop`: the guard must be
/// the first thing that a call makes and the last that it drops.
#[must_use = "cancellation is disabled only while the guard lives"]
pub(crate) struct Uncancelled(std::ffi::c_int);

impl Uncancelled {
    pub(crate) fn enter() -> Self {
        Self(state::disable())
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        state::restore(self.0);
    }
}

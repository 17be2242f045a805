//! Keeps pthread_cancel(3) from taking effect while the library holds something.
//!
//! open(2), read(2), close(2), fsync(2) and many more are cancellation points, and with
//! asynchronous cancellation every instruction is one. A thread that ends in the middle of a call
//! would leave locks taken and descriptors open for ever. So a call disables cancellation first,
//! and a request that came meanwhile takes effect when the previous state is back.
//!
//! To disable it is not enough in a thread of asynchronous type: glibc's pthread_cancel(3) looks at
//! the state, then sends a signal whose handler looks at the type alone. A thread that disables
//! cancellation between the two ends inside what it wanted whole. So the type is deferred
//! meanwhile.
//!
//! # References
//! pthread_setcancelstate(3), pthreads(7) "Cancellation points"; `sigcancel_handler` in glibc's
//! nptl/pthread_cancel.c (2.36), `cancel_handler` in musl's
//! src/thread/pthread_cancel.c (1.2.3).

#[cfg(not(target_os = "android"))]
mod cancellation {
    use std::ffi::c_int;

    // SAFETY: both take any value of the first argument, and room for the old one.
    unsafe extern "C" {
        safe fn pthread_setcancelstate(state: c_int, before: &mut c_int) -> c_int;
        safe fn pthread_setcanceltype(kind: c_int, before: &mut c_int) -> c_int;
    }

    /// `PTHREAD_CANCEL_DISABLE` and `PTHREAD_CANCEL_DEFERRED` of pthread.h.
    #[cfg(not(target_vendor = "apple"))]
    const WHOLE: Before = Before { state: 1, kind: 0 };
    #[cfg(target_vendor = "apple")]
    const WHOLE: Before = Before { state: 2, kind: 2 };

    pub(super) struct Before {
        state: c_int,
        kind: c_int,
    }

    pub(super) fn disable() -> Before {
        let mut before = WHOLE;
        pthread_setcancelstate(WHOLE.state, &mut before.state);
        pthread_setcanceltype(WHOLE.kind, &mut before.kind);
        before
    }

    /// The type last: with it a request takes effect where it is asynchronous. musl looks for none
    /// when the state is changed, and its handler has passed over one that came meanwhile.
    pub(super) fn restore(before: &Before) {
        let mut ours = WHOLE;
        pthread_setcancelstate(before.state, &mut ours.state);
        pthread_setcanceltype(before.kind, &mut ours.kind);
    }
}

/// Its C library has no cancellation.
#[cfg(target_os = "android")]
mod cancellation {
    pub(super) struct Before;

    pub(super) fn disable() -> Before {
        Before
    }

    pub(super) fn restore(_before: &Before) {}
}

/// The calling thread cannot be cancelled while this lives. Guards nest. Signal-safe.
///
/// In a thread of *asynchronous* type a pending request takes effect inside `drop`: the guard must
/// be the first thing that a call makes and the last that it drops.
#[must_use = "cancellation is disabled only while the guard lives"]
pub(crate) struct Uncancelled(cancellation::Before);

impl Uncancelled {
    pub(crate) fn enter() -> Self {
        Self(cancellation::disable())
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        cancellation::restore(&self.0);
    }
}

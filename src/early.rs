//! The constructor: takes the seat beneath before a runtime that starts later looks at what stands there.
//!
//! Priority 101 is the first that programs may use, and comes before Go's own constructor in every build
//! mode. In a static library nothing refers to a constructor, so a linker may leave its object out: every
//! C function of this library therefore reads [`ANCHOR`], which lies beside it.

use std::sync::atomic::{AtomicU8, Ordering};

static ANCHOR: AtomicU8 = AtomicU8::new(0);

/// Keeps the constructor in whatever links the caller.
pub(crate) fn anchor() {
    // SAFETY: a live static. Volatile, so that the read, and with it the object, stays.
    let _ = unsafe { std::ptr::from_ref(&ANCHOR).read_volatile() }.load(Ordering::Relaxed);
}

#[ctor::ctor(unsafe, priority = 101)]
fn before_any_runtime() {
    crate::sigpipe::beneath();
}

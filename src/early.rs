//! The constructors: a seat before any runtime starts, and none where Go would mistake it for
//! somebody's.
//!
//! In an executable Go starts after all constructors and keeps what it finds: the seat beneath. In
//! a c-shared or c-archive library Go has a constructor of its own, without a priority, and host
//! threads are running already. If it found our seat there, undoing that (`arm` in go/warded.go)
//! would open a window for them. So in an object that Go has linked the seat is left just before
//! constructors without a priority and taken again after Go's:
//!
//! | constructor | what it does |
//! |---|---|
//! | priority 101, the first that programs may use | takes the seat |
//! | priority 65535, the last | leaves it, in an object that Go's linker made |
//! | without priority; the archive comes after Go's objects on the linker's line | takes it: in an executable still beneath, in a library on top |
//!
//! In a static library nothing refers to a constructor, so a linker may leave its object out: every
//! C function of this library therefore reads [`ANCHOR`], which lies beside them.

use std::sync::atomic::{AtomicU8, Ordering};

static ANCHOR: AtomicU8 = AtomicU8::new(0);

/// Keeps the constructors in whatever links the caller.
pub(crate) fn anchor() {
    // SAFETY: a live static. Volatile, so that the read, and with it the object, stays.
    let _ = unsafe { std::ptr::from_ref(&ANCHOR).read_volatile() }.load(Ordering::Relaxed);
}

#[ctor::ctor(unsafe, priority = 101)]
fn before_any_runtime() {
    crate::sigpipe::beneath();
}

#[cfg(target_os = "linux")]
#[ctor::ctor(unsafe, priority = 65535)]
fn before_go_in_a_library() {
    crate::sigpipe::step_aside(before_go_in_a_library as *const () as usize);
}

/// `ctor` gives every constructor a priority; this one must have none.
#[cfg(target_os = "linux")]
#[used]
// SAFETY: an array of functions without arguments that matter, called once each by the loader.
#[unsafe(link_section = ".init_array")]
static AFTER_GO_IN_A_LIBRARY: extern "C" fn() = after_go_in_a_library;

#[cfg(target_os = "linux")]
extern "C" fn after_go_in_a_library() {
    crate::sigpipe::beneath();
}

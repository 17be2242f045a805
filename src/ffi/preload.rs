//! What the loader calls in `libsigward.so`; not in the header.

/// `DT_INIT` of `libsigward.so`: does what SIGWARD in the environment says, and nothing without it.
/// In a static library nobody calls it.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_preloaded() {
    #[cfg(target_os = "linux")]
    crate::preload::from_environment();
}

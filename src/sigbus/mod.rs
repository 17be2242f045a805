//! The wing of SIGBUS: the seat, which addresses are guarded, what becomes of a fault in them, and
//! the copy that faults may end. [`crate::mapping`] is the API.

#[cfg_attr(not(target_os = "linux"), path = "adopted/unsupported.rs")]
pub(crate) mod adopted;
pub(crate) mod copy;
pub(crate) mod exclusive;
pub(crate) mod fault;
pub(crate) mod fetch;
pub(crate) mod guarding;
pub(crate) mod handler;
pub(crate) mod identity;
pub(crate) mod kept;
#[doc(hidden)]
pub mod outside;
pub(crate) mod registry;
pub(crate) mod seat;
pub(crate) mod segv;
pub(crate) mod spare;
mod sync;

/// Whether a fault at `address` would be looked after. Signal-safe. Of a map some nanoseconds;
/// else, where anything is adopted, the kernel is asked which file is mapped there.
#[must_use]
pub fn is_guarded(address: *const u8) -> bool {
    registry::find(address.addr()).is_some() || adopted::is_guarded(address.addr())
}

//! The atomics of the protocol between faults and closing: std's, or under `--cfg sigward_loom`
//! those of the model checker.

#[cfg(sigward_loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(sigward_loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

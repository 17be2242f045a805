//! `libsigward.a` and `libsigward.so`: the C names of `include/sigward.h`, and nothing else.
//!
//! The functions live in the crate `sigward`; naming them here is what keeps them, and the early
//! constructor, in both libraries.

pub use sigward::ffi::*;

//! `libsigward.a` and `libsigward.so`: the C names of `include/sigward.h`, and nothing else.
//!
//! The functions live in the crate `sigward`; naming them here is what keeps them in both
//! libraries. With the feature `early` they have the constructors as well: that is the archive that
//! Go links.

pub use sigward::ffi::*;

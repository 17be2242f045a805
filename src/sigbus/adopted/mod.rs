//! Mappings that others made and that are guarded by their file: what is noted of each, and what
//! becomes of a fault in them. The API is `mapping/adopted`.

pub(crate) mod descriptors;
pub(crate) mod entry;
pub(crate) mod handler;
pub(crate) mod kept;
pub(crate) mod list;
pub(crate) mod name;

pub(super) use handler::{is_any, is_guarded, settle};

//! `extern "C"`: convert, call, convert. The header `include/sigward.h` is made from this folder.
//!
//! A Rust staticlib of yours that a Go or C program links can hand these on: `pub use
//! sigward::ffi::*;`.

// The C names are the contract, and C's reader has the header, not rustdoc.
#![allow(non_camel_case_types, reason = "the types have their C names")]
#![allow(
    clippy::missing_safety_doc,
    reason = "each pointer's rule stands in the header text of its function"
)]

mod adopted;
mod audit;
mod copy;
mod file;
mod handle;
mod io;
mod lease;
mod log;
mod log_reader;
mod mapping;
mod observe;
mod policy;
mod preload;
mod quiet;
mod rows;
mod runtime;
mod sigbus;
#[cfg(not(any(fuzzing, test)))]
mod sized;
#[cfg(any(fuzzing, test))]
pub(crate) mod sized;
mod snapshot;
mod status;
mod text;
mod watch;

pub use adopted::*;
pub use audit::*;
pub use copy::*;
pub use file::*;
pub use io::*;
pub use lease::*;
pub use log::*;
pub use log_reader::*;
pub use mapping::*;
pub use observe::*;
pub use policy::*;
pub use preload::sigward_preloaded;
pub use quiet::*;
pub use rows::*;
pub use runtime::{
    sigward_runtime_default_beneath, sigward_runtime_give_default, sigward_runtime_handler,
    sigward_runtime_handlers, sigward_runtime_text,
};
pub use sigbus::*;
pub use snapshot::*;
pub use status::*;
pub use text::{sigward_strerror, sigward_version};
pub use watch::*;

use crate::error::Error;
use std::ffi::c_int;

/// 0, or the negative errno. Each C function comes by here, and so keeps the constructor.
fn code(result: Result<(), Error>) -> c_int {
    #[cfg(feature = "early")]
    crate::early::anchor();
    match result {
        Ok(()) => 0,
        Err(error) => -error.errno(),
    }
}

/// As [`code`], for maps.
fn map_code(result: Result<(), crate::mapping::Error>) -> c_int {
    code(Ok(()));
    result.map_or_else(|error| -error.errno(), |()| 0)
}

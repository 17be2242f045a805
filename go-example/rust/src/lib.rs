//! The Rust half of a Go service.
//!
//! Nobody here touches a signal. The code is what a Rust programmer writes: `tokio-util`'s
//! `FramedWrite`, `tokio-rustls`, `axum`. Inside a Rust program it cannot die of a broken peer,
//! because Rust's own `main` ignores SIGPIPE. Inside a Go program there is no Rust `main`: the
//! `writev` below these libraries raises SIGPIPE on a thread that Go does not know, and the whole
//! service ends with status 141 and not a word on stderr. The same holds for the journal, a mapped
//! file: when its disk is full, or somebody truncates it, the next store is a SIGBUS and
//! status 135.
//!
//! | module | thread | what it does |
//! |---|---|---|
//! | [`shipper`] | `rust-shipper` | sends events to the collector, keeps them until they are acknowledged |
//! | [`downloads`] | `rust-downloads` | serves `/export`, 8 MiB, to whoever waits for it |
//! | [`journal`] | `rust-journal` | writes each order to a [`mapped`] file |
//! | [`backlog`] | any | the events that nobody has acknowledged yet |
//! | [`counters`] | any | what happened, for `/metrics` |
//! | [`ffi`] | Go's | the functions of `halves.h` |

mod backlog;
mod counters;
mod downloads;
mod ffi;
mod journal;
mod mapped;
mod shipper;

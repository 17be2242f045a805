//! What happened in the Rust half. A broken peer is an ordinary `io::Error` here, and is counted as
//! one.

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counters of the process. Independent of each other: relaxed order is enough.
pub static COUNTERS: Counters = Counters::new();

/// Declares the live counters and their copy for C, one field per line of `halves.h`.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Live counters.
        pub struct Counters { $($(#[$doc])* pub $name: AtomicU64,)* }

        /// `struct halves_counters`.
        #[repr(C)]
        pub struct CountersCopy { $($(#[$doc])* pub $name: u64,)* }

        impl Counters {
            const fn new() -> Self {
                Self { $($name: AtomicU64::new(0),)* }
            }

            /// A copy, each field read once.
            pub fn copy(&self) -> CountersCopy {
                CountersCopy { $($name: self.$name.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Events taken from Go.
    accepted,
    /// Events that the collector acknowledged.
    acknowledged,
    /// Events sent once more over a new connection.
    resent,
    /// Connections made to the collector.
    connections,
    /// Downloads begun.
    downloads,
    /// Writes and reads that ended in `BrokenPipe`.
    broken_pipe,
    /// … in `ConnectionReset`.
    connection_reset,
    /// … in any other error.
    other_errors,
    /// Lines that are in the journal.
    journaled,
    /// Times that the journal's disk was full.
    journal_no_space,
    /// Times that the journal's file was cut.
    journal_cut,
}

impl Counters {
    /// Counts an error by the `io::Error` at its root.
    pub fn count_error(&self, error: &(dyn Error + 'static)) {
        let mut kind = None;
        let mut cause = Some(error);
        while let Some(error) = cause {
            kind = error.downcast_ref::<io::Error>().map(io::Error::kind).or(kind);
            cause = error.source();
        }
        let counter = match kind {
            Some(io::ErrorKind::BrokenPipe) => &self.broken_pipe,
            Some(io::ErrorKind::ConnectionReset) => &self.connection_reset,
            _ => &self.other_errors,
        };
        counter.fetch_add(1, Relaxed);
    }
}

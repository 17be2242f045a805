//! The only code that calls sigaction(2): dispositions, seats, entry points, predecessors.
//!
//! A *disposition* is what the kernel does with a signal: the default, nothing, or a call. A *seat*
//! is a place in the line of handlers that one signal passes through. Taking a seat puts one of our
//! *entry points* into the kernel's table and remembers what stood there before as its
//! *predecessor*. An owner of seats looks at each *delivery* and says whether it ends there or goes
//! on to the predecessor. This module knows no policy of SIGPIPE and no maps; by name it knows
//! signals only where the kernel treats them in ways of their own: the codes of a fault, the
//! instruction that runs again, what a handler of each needs of the stack.
//!
//! ```text
//!   kernel ──▶ entry point 1 ──▶ Go's handler ──▶ entry point 0 ──▶ SIG_DFL
//!              seat on top       (predecessor     seat beneath      (predecessor
//!                                 of 1)                              of 0)
//! ```
//!
//! # Promises
//!
//! 1. **Termination.** While an entry point passes a delivery on, a second entry with it goes to
//!    what was recorded before that entry point was, a third ends: a circle ends, whatever others
//!    do.
//! 2. **No theft.** Leaving means passing through. The kernel's table is written only while it
//!    shows ours on top, and what that write returns is checked: a lost race is repaired and
//!    counted.
//! 3. **Never unmapped.** Entry points are static code; `libsigward.so` is linked with `-z
//!    nodelete`.
//! 4. **Faithful default.** See `handler/default_action.rs`.
//! 5. **Exec transparency.** A handler becomes SIG_DFL in a child; an inherited SIG_IGN is left
//!    alone.
//! 6. **Flag fidelity.** A predecessor runs as the kernel would have run it.
//! 7. **Handler discipline.** Everything that runs in a handler is in `handler/`.
//! 8. **Fork.** The child has the same table and the same code; no lock survives into it.

mod disposition;
mod entry;
pub(crate) mod handler;
mod lock;
mod owner;
mod repair;
mod row;
mod rows;
mod seat;

pub(crate) use disposition::{Disposition, Kind};
pub(crate) use handler::trampolines::ENTRY_POINTS;
pub(crate) use handler::{Delivery, Fault, Gate, Registers, Verdict};
pub(crate) use owner::Owner;
#[cfg(not(target_os = "linux"))]
pub(crate) use owner::no_farewell;
pub use repair::{Repair, repair, repair_all};
pub use rows::Rows;
#[cfg(any(feature = "capi", target_os = "linux"))]
pub(crate) use rows::SIGNALS;
pub use seat::Seat;
pub(crate) use seat::Standing;

pub(crate) use disposition::interposed;
pub(crate) use handler::General;
pub(crate) use lock::{Lock, lock};
pub(crate) use seat::{
    flipped, is_ours, line, notice, put, seats_of, standing, standing_below, take, take_above,
    take_in_place_of, vacate,
};

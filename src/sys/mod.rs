//! The ground floor: what the other modules need of the kernel and the C library and no crate has.
//!
//! | module | what for |
//! |---|---|
//! | [`call`] | system calls that answer with a `Result`, and begin again after a signal |
//! | [`cancel`] | no pthread_cancel(3) takes effect while the library holds something |
//! | [`constants`] | numbers of the kernel that no crate has, each with its source |
//! | [`event`] | one thread wakes another that also waits for a descriptor |
//! | [`kept`] | a descriptor that a handle keeps, and that the host may close |
//! | [`memory`] | reads of memory that may not be there |
//! | [`objects`] | which executables and libraries are loaded, without the loader's lock |
//! | [`mask`] | signal masks as the kernel has them, signals 32 and 33 included |
//! | [`pages`] | how large they are, and what of a file is mapped at once |
//! | [`passing`] | a file of the host's, opened for a moment without its record locks' loss |
//! | [`pending`] | signals that wait, and taking back what a call has raised |
//! | [`pin`] | the object that holds a handler stays mapped |
//! | [`process`] | which of its parents and children this process is |
//! | [`stack`] | work on a stack of one's own |
//! | [`times`] | when a file was changed last |
//! | [`undisturbed`] | calls that no signal disturbs, and that raise none |
//! | [`wiped`] | memory that a forked child finds at zero: the one answer to "am I a forked child?" |

pub(crate) mod call;
pub(crate) mod cancel;
#[cfg(target_os = "linux")]
pub(crate) mod constants;
pub(crate) mod event;
pub(crate) mod kept;
pub(crate) mod mask;
#[cfg(target_os = "linux")]
pub(crate) mod memory;
#[cfg(target_os = "linux")]
pub(crate) mod objects;
pub(crate) mod pages;
#[cfg(target_os = "linux")]
pub(crate) mod passing;
pub(crate) mod pending;
pub(crate) mod pin;
pub(crate) mod process;
#[cfg(target_os = "linux")]
pub(crate) mod stack;
pub(crate) mod times;
#[cfg(target_os = "linux")]
pub(crate) mod undisturbed;
#[cfg(not(target_os = "linux"))]
#[path = "undisturbed_unsupported.rs"]
pub(crate) mod undisturbed;
pub(crate) mod wiped;

//! The ground floor: what the other modules need of the kernel and the C library and no crate has.
//!
//! | module | what for |
//! |---|---|
//! | [`cancel`] | no pthread_cancel(3) takes effect while the library holds something |
//! | [`mask`] | signal masks as the kernel has them, signals 32 and 33 included |
//! | [`pin`] | the object that holds a handler stays mapped |
//! | [`wiped`] | memory that a forked child finds at zero: the one answer to "am I a forked child?" |

#[allow(dead_code, reason = "its users come with the next changes")]
pub(crate) mod cancel;
#[allow(dead_code, reason = "its users come with the next changes")]
pub(crate) mod mask;
pub(crate) mod pin;
#[allow(dead_code, reason = "its users come with the next changes")]
pub(crate) mod wiped;

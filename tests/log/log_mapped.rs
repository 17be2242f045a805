//! The log's tests where SIGBUS is guarded, in this process and in the hosts: through a map.

#![allow(
    clippy::duplicate_mod,
    reason = "each of the two brings what it needs, as a test of its own"
)]

#[path = "log.rs"]
mod log_tests;

#[path = "log_power.rs"]
mod log_power_tests;

#[used]
// SAFETY: an array of functions without arguments that matter, called once each by the loader.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    // SAFETY: there is no other thread yet.
    unsafe { std::env::set_var("SIGWARD_TEST_LOG_MAPPED", "1") };
    sigward::mapping::guard().expect("the seat can be had");
}

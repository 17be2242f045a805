//! `chain::repair` adds SA_ONSTACK to somebody's handler, and changes nothing else.

use sigward::chain::{Disposition, Repair, repair};
use std::mem::MaybeUninit;

extern "C" fn theirs(_: libc::c_int) {}

/// Nobody else in this process looks at this signal.
const SIGNAL: libc::c_int = libc::SIGUSR2;

fn install(flags: libc::c_int, masked: libc::c_int) {
    // SAFETY: numbers and an optional function: zero is a value of each.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = theirs as *const () as usize;
    action.sa_flags = flags;
    // SAFETY: a set, and a valid number.
    unsafe { libc::sigaddset(&raw mut action.sa_mask, masked) };
    // SAFETY: a whole struct; the handler does nothing.
    assert_eq!(unsafe { libc::sigaction(SIGNAL, &raw const action, std::ptr::null_mut()) }, 0);
}

fn members(disposition: &Disposition) -> Vec<libc::c_int> {
    // SAFETY: an initialised set.
    (1..=64)
        .filter(|signal| unsafe { libc::sigismember(&raw const disposition.mask, *signal) } == 1)
        .collect()
}

const FLAGS: [libc::c_int; 5] =
    [libc::SA_RESTART, libc::SA_SIGINFO, libc::SA_NODEFER, libc::SA_RESETHAND, libc::SA_NOCLDSTOP];

#[test]
fn a_repaired_handler_has_its_own_mask_and_flags() {
    assert_eq!(repair(SIGNAL), Ok(Repair::NoHandler));
    for bits in 0..1 << FLAGS.len() {
        let flags =
            FLAGS.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, flag)| flag).sum();
        install(flags, libc::SIGALRM);
        let before = Disposition::read(SIGNAL).unwrap();
        assert_eq!(repair(SIGNAL), Ok(Repair::Repaired));
        let after = Disposition::read(SIGNAL).unwrap();
        assert_eq!((after.handler, after.flags), (before.handler, flags | libc::SA_ONSTACK));
        assert_eq!(members(&after), [libc::SIGALRM]);
        assert_eq!(repair(SIGNAL), Ok(Repair::Sound));
    }
}

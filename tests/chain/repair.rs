//! `chain::repair` adds SA_ONSTACK to somebody's handler, and changes nothing else.

use sigward::chain::Repair;
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

fn repair() -> Result<Repair, sigward::Error> {
    // SAFETY: `theirs` needs no stack to speak of.
    unsafe { sigward::chain::repair(SIGNAL) }
}

fn now() -> libc::sigaction {
    let mut action = MaybeUninit::uninit();
    // SAFETY: room for a whole struct.
    assert_eq!(unsafe { libc::sigaction(SIGNAL, std::ptr::null(), action.as_mut_ptr()) }, 0);
    // SAFETY: filled by the call.
    unsafe { action.assume_init() }
}

fn members(action: &libc::sigaction) -> Vec<libc::c_int> {
    // SAFETY: an initialised set.
    (1..=64)
        .filter(|signal| unsafe { libc::sigismember(&raw const action.sa_mask, *signal) } == 1)
        .collect()
}

const FLAGS: [libc::c_int; 5] =
    [libc::SA_RESTART, libc::SA_SIGINFO, libc::SA_NODEFER, libc::SA_RESETHAND, libc::SA_NOCLDSTOP];

#[test]
fn a_repaired_handler_has_its_own_mask_and_flags() {
    assert_eq!(repair(), Ok(Repair::NoHandler));
    for bits in 0..1 << FLAGS.len() {
        let flags = FLAGS
            .iter()
            .enumerate()
            .filter(|(bit, _)| bits >> bit & 1 == 1)
            .map(|(_, flag)| flag)
            .sum();
        install(flags, libc::SIGALRM);
        let before = now();
        assert_eq!(repair(), Ok(Repair::Repaired));
        let after = now();
        assert_eq!(after.sa_sigaction, before.sa_sigaction);
        assert_eq!(after.sa_flags, before.sa_flags | libc::SA_ONSTACK);
        assert_eq!(members(&after), [libc::SIGALRM]);
        assert_eq!(repair(), Ok(Repair::Sound));
    }
}

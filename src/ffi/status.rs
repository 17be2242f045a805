//! How both signals stand.

use super::map_code;
use super::policy::{outcome_of, seat_of};
use super::sized::{Filled, fill_one};
use crate::mapping::Error;
use crate::status::{Reason, Standing};
use crate::sys::cancel::Uncancelled;
use std::ffi::{c_char, c_int};

/// Why a signal is armed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub enum sigward_reason {
    /// It is armed: our handler is asked.
    ARMED = 0,
    /// Nobody has asked for it, or it was taken back.
    NOT_ASKED = 1,
    /// The signal is ignored: nothing ends the process, and no handler of anybody's is asked.
    IGNORED = 2,
    /// Another handler, or SIG_DFL, stands above ours: sigward_ensure_on_top takes the top again.
    COVERED = 3,
    /// Our row has lost its flags or its mask (signal(3) that puts back what signal(3) has
    /// returned): sigward_ensure_on_top writes it anew, and so does our handler when it is called.
    ALTERED = 4,
    /// This system shows no handler what a system call has returned.
    UNSUPPORTED = 5,
}

/// How one signal stands. Part of sigward_status_report.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct sigward_standing {
    /// 1 if our handler is asked, first or by a runtime above it; else 0.
    pub armed: i32,
    /// Why: a sigward_reason. sigward_reason_text says it in words.
    pub reason: i32,
    /// Where our seat is: a sigward_seat.
    pub seat: i32,
    /// 0.
    pub reserved: i32,
    /// What the kernel calls: SIG_DFL (0), SIG_IGN (1) or the address of a function.
    pub handler: u64,
    /// The file name of the executable or library that holds this function, NUL-terminated; "the
    /// executable" for a program without a path to tell (ld.so was started with it); empty if
    /// unknown.
    pub owner: [c_char; 64],
}

/// How both signals stand now.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct sigward_status_report {
    /// How many bytes of this struct the library knew and has filled.
    pub size: u64,
    /// SIGPIPE.
    pub sigpipe: sigward_standing,
    /// SIGBUS.
    pub sigbus: sigward_standing,
    /// What the last policy call for SIGPIPE did: a sigward_outcome.
    pub outcome: i32,
    /// 1 if the echoes of failed writes end with us; 0 if a handler of the host's gets them too, or
    /// nobody is armed.
    pub echoes_end_here: i32,
    /// Zero; room for later fields.
    pub reserved: [u64; 7],
}

// SAFETY: numbers, without padding.
unsafe impl Filled for sigward_status_report {
    const FIRST: usize = size_of::<Self>();

    fn set_size(&mut self, filled: u64) {
        self.size = filled;
    }
}

/// How both signals stand: armed or not, why, and who is called first. For a health check, and for
/// the question "is it active?".
///
/// Thread-safe; works in a forked child; not for signal handlers, as it allocates. Changes nothing
/// but the counter overwritten, when it is the first to see that somebody stands above us.
///
/// Returns 0. -EINVAL: out is NULL. Else the kernel's errno, where a seccomp filter refuses
/// sigaction(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_status(out: *mut sigward_status_report) -> c_int {
    // SAFETY: as the caller vouches for the pointer.
    unsafe { sigward_status_sized(out, sigward_status_report::FIRST) }
}

/// As sigward_status, for a struct of size bytes.
///
/// Returns as sigward_status; -EINVAL also for a size that no version has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_status_sized(
    out: *mut sigward_status_report,
    size: usize,
) -> c_int {
    let _whole = Uncancelled::enter();
    let report = crate::status().map(|status| {
        let (outcome, _) = outcome_of(status.outcome);
        let ends_here = matches!(status.outcome, crate::sigpipe::Outcome::Filtered { .. });
        sigward_status_report {
            size: 0,
            sigpipe: standing(&status.sigpipe),
            sigbus: standing(&status.sigbus),
            outcome: outcome as i32,
            echoes_end_here: i32::from(ends_here && status.sigpipe.is_armed()),
            reserved: [0; 7],
        }
    });
    let filled = report.map_err(|error| Error::System { call: "sigaction", errno: error.errno() });
    // SAFETY: null, or room for one struct of that size by the header's contract.
    map_code(filled.and_then(|report| unsafe { fill_one(out, size, report) }))
}

/// What a sigward_reason means, in one sentence that says what to do next. Never NULL, never freed.
///
/// Signal-safe, thread-safe.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_reason_text(reason: i32) -> *const c_char {
    let known = [
        Reason::Armed,
        Reason::NotAsked,
        Reason::Ignored,
        Reason::Covered,
        Reason::Altered,
        Reason::Unsupported,
    ];
    let found = known.into_iter().find(|known| number_of(*known) as i32 == reason);
    found.map_or(c"unknown", Reason::text).as_ptr()
}

fn number_of(reason: Reason) -> sigward_reason {
    match reason {
        Reason::Armed => sigward_reason::ARMED,
        Reason::NotAsked => sigward_reason::NOT_ASKED,
        Reason::Ignored => sigward_reason::IGNORED,
        Reason::Covered => sigward_reason::COVERED,
        Reason::Altered => sigward_reason::ALTERED,
        Reason::Unsupported => sigward_reason::UNSUPPORTED,
    }
}

fn standing(standing: &Standing) -> sigward_standing {
    sigward_standing {
        armed: i32::from(standing.is_armed()),
        reason: number_of(standing.reason) as i32,
        seat: seat_of(standing.seat) as i32,
        reserved: 0,
        handler: standing.handler as u64,
        owner: fixed(&standing.owner().unwrap_or_default()),
    }
}

/// A name in a fixed place, NUL-terminated and cut to fit.
pub(super) fn fixed(name: &str) -> [c_char; 64] {
    let mut place = [0; 64];
    // The last byte stays NUL.
    for (place, byte) in place[..63].iter_mut().zip(name.bytes()) {
        *place = byte as c_char;
    }
    place
}

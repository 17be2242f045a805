//! How one thread waits for another: for its call, for a descriptor meanwhile, and no longer than
//! some time.

#[cfg(target_os = "linux")]
pub(crate) use linux::{Bell, new, set, timespec, wait_for};
#[cfg(not(target_os = "linux"))]
pub(crate) use plain::Bell;

#[cfg(target_os = "linux")]
mod linux {
    use crate::sys::call::{Failed, errno};
    use std::ffi::c_int;
    use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
    use std::time::Duration;

    /// A descriptor that becomes readable.
    pub(crate) fn new() -> Result<OwnedFd, Failed> {
        // SAFETY: no pointers.
        let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if event < 0 {
            return Err(Failed::last("eventfd"));
        }
        // SAFETY: a new descriptor that nobody else has.
        Ok(unsafe { OwnedFd::from_raw_fd(event) })
    }

    /// Makes it readable.
    pub(crate) fn set(event: RawFd) {
        let one = 1u64;
        // SAFETY: eight bytes. It cannot fail: the count is far from full.
        unsafe { libc::write(event, (&raw const one).cast(), size_of::<u64>()) };
    }

    /// Waits until it is readable.
    pub(crate) fn wait_for(event: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<bool, Failed> {
        let mut poll = libc::pollfd { fd: event.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let time = timeout.map(timespec);
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: one struct; a time or none; no mask.
        match unsafe { libc::ppoll(&raw mut poll, 1, time, std::ptr::null()) } {
            -1 => match errno() {
                libc::EINTR => Ok(false),
                errno => Err(Failed { call: "ppoll", errno }),
            },
            count => Ok(count > 0),
        }
    }

    pub(crate) fn timespec(duration: Duration) -> libc::timespec {
        // SAFETY: numbers (and on some systems padding), for which zero is a value.
        let mut time: libc::timespec = unsafe { std::mem::zeroed() };
        // Decades are enough; the types differ between systems.
        time.tv_sec = duration.as_secs().min(i32::MAX as u64) as _;
        time.tv_nsec = u64::from(duration.subsec_nanos()) as _;
        time
    }

    /// eventfd(2).
    pub(crate) struct Bell(OwnedFd);

    impl Bell {
        pub(crate) fn new() -> Result<Self, c_int> {
            new().map(Self).map_err(|failed| failed.errno)
        }

        pub(crate) fn ring(&self) {
            set(self.0.as_raw_fd());
        }

        /// Waits until somebody rings, `events` are there, or the time is over. A signal may end it
        /// as well.
        pub(crate) fn wait(&self, events: Option<BorrowedFd<'_>>, limit: Duration) {
            // A missing descriptor is -1, which poll(2) passes over.
            let events = events.map_or(-1, |events| events.as_raw_fd());
            let mut both = [
                libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 },
                libc::pollfd { fd: events, events: libc::POLLIN, revents: 0 },
            ];
            // Rounded up: a wait of nothing would be a busy loop.
            let limit = c_int::try_from(limit.as_millis() + 1).unwrap_or(c_int::MAX);
            // SAFETY: two structs.
            unsafe { libc::poll(both.as_mut_ptr(), 2, limit) };
            let mut count = 0_u64;
            // SAFETY: room for eight bytes; it does not wait.
            unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod plain {
    use std::ffi::c_int;
    use std::os::fd::BorrowedFd;
    use std::sync::{Condvar, Mutex, PoisonError};
    use std::time::Duration;

    /// Where there are no events to wait for.
    #[derive(Default)]
    pub(crate) struct Bell {
        rung: Mutex<bool>,
        told: Condvar,
    }

    impl Bell {
        #[allow(clippy::unnecessary_wraps, reason = "as on Linux")]
        pub(crate) fn new() -> Result<Self, c_int> {
            Ok(Self::default())
        }

        pub(crate) fn ring(&self) {
            *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.told.notify_all();
        }

        pub(crate) fn wait(&self, _events: Option<BorrowedFd<'_>>, limit: Duration) {
            let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.told.wait_timeout_while(rung, limit, |rung| !*rung);
            *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
        }
    }
}

//! How the watching thread waits: for a file's events, for a call from another thread, and for the
//! next tick.

#[cfg(target_os = "linux")]
pub(super) use linux::Bell;
#[cfg(not(target_os = "linux"))]
pub(super) use plain::Bell;

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::c_int;
    use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
    use std::time::Duration;

    /// eventfd(2).
    pub(in super::super) struct Bell(OwnedFd);

    impl Bell {
        pub(in super::super) fn new() -> Result<Self, c_int> {
            // SAFETY: numbers only.
            let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
            if descriptor < 0 {
                return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EMFILE));
            }
            // SAFETY: a new descriptor that nobody else has.
            Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
        }

        pub(in super::super) fn ring(&self) {
            // SAFETY: eight bytes, as eventfd(2) wants them. A full counter rings as well.
            unsafe { libc::write(self.0.as_raw_fd(), (&raw const ONE).cast(), size_of::<u64>()) };
        }

        /// Waits until somebody rings, `events` are there, or the time is over. A signal may end it
        /// as well.
        pub(in super::super) fn wait(&self, events: Option<BorrowedFd<'_>>, limit: Duration) {
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

    static ONE: u64 = 1;
}

#[cfg(not(target_os = "linux"))]
mod plain {
    use std::ffi::c_int;
    use std::os::fd::BorrowedFd;
    use std::sync::{Condvar, Mutex, PoisonError};
    use std::time::Duration;

    /// Where there are no events to wait for.
    #[derive(Default)]
    pub(in super::super) struct Bell {
        rung: Mutex<bool>,
        told: Condvar,
    }

    impl Bell {
        #[allow(clippy::unnecessary_wraps, reason = "as on Linux")]
        pub(in super::super) fn new() -> Result<Self, c_int> {
            Ok(Self::default())
        }

        pub(in super::super) fn ring(&self) {
            *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.told.notify_all();
        }

        pub(in super::super) fn wait(&self, _events: Option<BorrowedFd<'_>>, limit: Duration) {
            let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.told.wait_timeout_while(rung, limit, |rung| !*rung);
            *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
        }
    }
}

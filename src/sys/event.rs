//! How one thread waits for another: for its call, for a descriptor meanwhile, and no longer than
//! some time.

#[cfg(target_os = "linux")]
pub(crate) use linux::{Bell, new, set, wait_for};
#[cfg(not(target_os = "linux"))]
pub(crate) use plain::Bell;

#[cfg(target_os = "linux")]
mod linux {
    use crate::sys::call::{Failed, beyond_standard, retried};
    use crate::sys::kept::Kept;
    use nix::errno::Errno;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::eventfd::{EfdFlags, EventFd};
    use nix::unistd::{read, write};
    use std::ffi::c_int;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::time::Duration;

    /// A descriptor that becomes readable.
    pub(crate) fn new() -> Result<OwnedFd, Failed> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let made = retried(|| EventFd::from_flags(flags));
        made.map(OwnedFd::from)
            .and_then(beyond_standard)
            .map_err(|errno| Failed { call: "eventfd", errno })
    }

    /// Makes it readable.
    pub(crate) fn set(event: BorrowedFd<'_>) {
        // It cannot fail: the count is far from full.
        let _ = write(event, &1_u64.to_ne_bytes());
    }

    /// Waits until it is readable. A signal may end it as well.
    pub(crate) fn wait_for(
        event: BorrowedFd<'_>,
        timeout: Option<Duration>,
    ) -> Result<bool, Failed> {
        let limit = timeout.map_or(PollTimeout::NONE, milliseconds);
        match poll(&mut [PollFd::new(event, PollFlags::POLLIN)], limit) {
            Ok(count) => Ok(count > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(errno) => Err(Failed { call: "poll", errno: errno as c_int }),
        }
    }

    /// Rounded up: a wait of nothing would be a busy loop.
    fn milliseconds(time: Duration) -> PollTimeout {
        PollTimeout::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX)
    }

    /// How long a bell that does not ring is not looked at.
    const DEAF: Duration = Duration::from_millis(100);

    /// eventfd(2).
    pub(crate) struct Bell(Kept<OwnedFd>);

    impl Bell {
        pub(crate) fn new() -> Result<Self, c_int> {
            new().and_then(Kept::of).map(Self).map_err(|failed| failed.errno)
        }

        pub(crate) fn ring(&self) {
            if self.0.is_ours() {
                set(self.0.as_fd());
            }
        }

        /// Waits until somebody rings, `events` are there, or the time is over. A signal may end it
        /// as well.
        pub(crate) fn wait(&self, events: Option<BorrowedFd<'_>>, limit: Duration) {
            if !self.0.is_ours() {
                // Somebody has closed it: nobody can be heard.
                return std::thread::sleep(limit.min(DEAF));
            }
            let bell = self.0.as_fd();
            let both = [bell, events.unwrap_or(bell)].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            let _ = poll(&mut { both }, milliseconds(limit));
            // Where it has waited long, it may have been closed.
            if self.0.is_ours() {
                let _ = read(bell, &mut [0; 8]); // does not wait
            }
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

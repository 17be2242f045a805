//! Whether a map still shows what its path names, and mapping it anew.

use super::cache;
use super::error::Error;
use super::kept;
use super::map::Map;
use super::open;
use crate::observe::Event;
use crate::observe::in_handler::describe_moment;
use crate::sigbus::exclusive::without_handlers;
use crate::sigbus::fault::{Cause, Fault};
use crate::sigbus::identity::{self, Identity};
use std::ffi::CStr;

impl Map {
    /// Looks at the file: whether it is the one that was mapped, unchanged, and still the one that
    /// the path names. One or two system calls. For a writable shared map the change time says
    /// nothing; there only length and path are compared. Of a map with room to grow
    /// ([`MapOptions::capacity`](super::MapOptions::capacity)) a file that has become longer is no
    /// news either.
    ///
    /// A file that somebody cuts and makes as long again shows its new bytes, zeros perhaps. Of a
    /// read-only map this tells, because the change time is another one, and so does a read that
    /// met the file while it was short. Of a writable shared map that has grown
    /// ([`MapMut::grow`](super::MapMut::grow); not on btrfs and FUSE) the missing blocks tell, of
    /// others nothing: their own stores move the time as well.
    ///
    /// # Errors
    /// [`Error::Lost`] if bytes are lost or the file is shorter than the map, [`Error::Changed`],
    /// [`Error::System`]; [`Error::Invalid`] if the map has neither path nor descriptor to look at.
    #[doc(alias = "sigward_map_verify")]
    pub fn verify(&self) -> Result<(), Error> {
        if self.met().is_some() {
            return Err(self.lost());
        }
        let facts = self.facts();
        if facts.descriptor < 0 && facts.path.is_null() {
            return Err(Error::Invalid("a map without path and descriptor cannot be verified"));
        }
        let end = self.end_wanted();
        if facts.descriptor >= 0 {
            self.compare(&kept::identity_of(facts)?, end)?;
            if facts.is_written_through() {
                self.check_ground(|| kept::identity_of(facts).map(Some))?;
            }
        }
        let Some(path) = self.path() else { return Ok(()) };
        match identity::of_path(path) {
            Ok(named) if !named.is_same_file(&facts.identity) => {
                Err(Error::Changed { replaced: true })
            }
            Ok(named) => self.compare(&named, end),
            Err(libc::ENOENT | libc::ENOTDIR) => Err(Error::Changed { replaced: true }),
            Err(errno) => Err(Error::System { call: "stat", errno }),
        }
    }

    /// Whether what is written through the map is in the file, and somebody will find it there:
    /// the file reaches to the map's end, has the blocks that growing gave it, and has a name if
    /// it had one. One system call: `look`.
    pub(super) fn check_ground(
        &self,
        look: impl FnOnce() -> Result<Option<Identity>, Error>,
    ) -> Result<(), Error> {
        // Before the look: the map may be growing.
        let (end, kept) = (self.end_wanted(), self.slot().kept());
        let Some(now) = look()? else { return Ok(()) };
        self.check_length(&now, end)?;
        if self.facts().identity.named && !now.named {
            return Err(Error::Changed { replaced: true });
        }
        // Cut, and made as long again; or a hole was punched.
        if now.blocks.saturating_mul(512) < kept {
            return Err(Error::Changed { replaced: false });
        }
        Ok(())
    }

    fn compare(&self, now: &Identity, end: u64) -> Result<(), Error> {
        self.check_length(now, end)?;
        let facts = self.facts();
        if facts.grows {
            return Ok(());
        }
        let touched = now.changed != facts.identity.changed && !facts.is_written_through();
        if now.length != facts.identity.length || touched {
            return Err(Error::Changed { replaced: false });
        }
        Ok(())
    }

    /// How far the file has to reach. To be taken before the file is looked at: the map may be
    /// growing.
    pub(super) fn end_wanted(&self) -> u64 {
        let slot = self.slot();
        (slot.facts().start_in_file() + slot.length() as u64).min(slot.end_in_file())
    }

    /// Whether the file still reaches to the map's end, or as far as it did.
    pub(super) fn check_length(&self, now: &Identity, end: u64) -> Result<(), Error> {
        if now.length >= end {
            return Ok(());
        }
        let start = self.facts().start_in_file();
        let fault = Fault::of(Cause::Truncated { len_now: now.length }, libc::EFAULT);
        Err(Error::Lost(self.publish(Fault { offset: now.length.saturating_sub(start), ..fault })))
    }

    /// As `check_length`, of the file as it is now.
    pub(super) fn check_length_now(&self) -> Result<(), Error> {
        let end = self.end_wanted();
        crate::sigbus::kept::current(self.facts())
            .map_or(Ok(()), |now| self.check_length(&now, end))
    }

    /// Makes a loss that nobody has met yet known to all who read.
    fn publish(&self, mut fault: Fault) -> Fault {
        let mut moment = Event::blank(libc::SIGBUS);
        describe_moment(&mut moment);
        (fault.time_ns, fault.tid, fault.thread) = (moment.time_ns, moment.tid, moment.thread);
        if without_handlers(self.slot(), || self.slot().publish(&fault)).is_some() {
            return self.met().unwrap_or(fault);
        }
        // A handler that is at work on the map does not end. The word needs no lock; why and when
        // is told here alone.
        self.slot().poison().publish(fault.offset);
        fault
    }

    /// Maps what the path (or the descriptor) names now, if that has changed or bytes are lost;
    /// does nothing otherwise. Bytes that were lost are there again if the file has them. Addresses
    /// change.
    ///
    /// After a flush that has failed the kernel's memory has bytes that the disk has not, and takes
    /// them for written. So they are dropped, and the map shows what the disk has: what was stored
    /// since the last flush that succeeded may be gone, and is to be stored again.
    ///
    /// # Errors
    /// As [`Map::open`]; then the map is what it was. [`Error::System`] with the errno of the flush
    /// that has failed: somebody else has the file mapped, so that its pages cannot be dropped, or
    /// the process may not know, having no right any more to write to the file; the map shows what
    /// they show, and flushes go on failing.
    pub fn refresh(&mut self) -> Result<(), Error> {
        let failed = self.unwritten();
        if failed == 0 {
            return if self.verify().is_err() { self.map_anew() } else { Ok(()) };
        }
        // Nobody may touch a page before all are dropped.
        let populate = std::mem::take(&mut self.options.populate);
        let again = self.map_anew().and_then(|()| {
            *self.unwritten.get_mut() = failed;
            let dropped = cache::drop_pages(self.slot(), self.path(), &[])?;
            if dropped { Ok(()) } else { Err(Error::System { call: "msync", errno: failed }) }
        });
        self.options.populate = populate;
        again?;
        *self.unwritten.get_mut() = 0;
        if populate { self.populate(0..self.len()) } else { Ok(()) }
    }

    /// What [`Map::refresh`] does about a flush that has failed, for a map that was made beside
    /// the ones that were there before, the last of them first. Nobody has touched it yet.
    ///
    /// # Errors
    /// As [`Map::refresh`].
    #[cfg(feature = "capi")]
    pub(crate) fn succeed(&self, older: &[&Self]) -> Result<(), Error> {
        let failed = older.first().map_or(0, |map| map.unwritten());
        if failed == 0 || cache::drop_pages(self.slot(), self.path(), older)? {
            return Ok(());
        }
        Err(Error::System { call: "msync", errno: failed })
    }

    fn map_anew(&mut self) -> Result<(), Error> {
        let write = self.facts().protection & libc::PROT_WRITE != 0;
        let path = self.path().map(CStr::to_owned);
        let (file, identity) = match &path {
            Some(path) => open::open(path, write && !self.options().copy_on_write)?,
            None => kept::duplicate(self.facts())?,
        };
        let new = self.options().with_room_of(self.facts()).finish(file, identity, write, path)?;
        // In this order: closing the old one waits for others, and a handler may jump out of that.
        drop(std::mem::replace(self, new));
        Ok(())
    }
}

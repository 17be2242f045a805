//! The file as it was, after a reservation that failed half-way.

use super::super::sys::{again, status};
use super::allocate::Reservation;
use super::extents::{Extent, extents, gaps};
use std::ops::Range;
use std::os::fd::AsRawFd;

impl Reservation<'_> {
    /// What has to be known before: cutting at the file's end frees everything beyond it.
    pub(super) fn known_range(&self) -> Range<u64> {
        self.range.start..if self.grows() { i64::MAX as u64 } else { self.range.end }
    }

    /// Gives back what is new. `known` are the extents of [`Self::known_range`] as they were.
    pub(super) fn undo(&self, known: Option<&[Extent]>) {
        let length = self.before.st_size as u64;
        let Ok(now) = status(self.file) else { return };
        let same_length = now.st_size == self.before.st_size;
        // Only a call that cannot keep the length has moved it, and then not beyond the range.
        if self.lengthened.get() && now.st_size > self.before.st_size && now.st_size as u64 <= self.end {
            self.cut();
        }
        if let Some(known) = known {
            let new = self.never_written_and_new(known);
            for blocks in new.iter().filter(|blocks| blocks.start < length) {
                let hole = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
                // What stays is only room.
                let _ = self.fallocate(hole, blocks);
            }
            if same_length && new.iter().any(|blocks| blocks.end > length) {
                self.cut();
                for older in known.iter().filter(|older| older.unwritten && older.range.end > length) {
                    let beyond = older.range.start.max(length)..older.range.end;
                    // The room for it was freed just now.
                    let _ = self.fallocate(libc::FALLOC_FL_KEEP_SIZE, &beyond);
                }
            }
        }
        self.restore_time();
    }

    /// Blocks that have come since, and in which nobody has written meanwhile.
    fn never_written_and_new(&self, known: &[Extent]) -> Vec<Range<u64>> {
        let now = extents(self.file, &self.range, true).unwrap_or_default();
        let unwritten = now.iter().filter(|extent| extent.unwritten);
        unwritten.flat_map(|extent| gaps(&extent.range, known)).collect()
    }

    /// To the length that it had, if nobody has made it longer than the range.
    pub(super) fn cut(&self) {
        let length = self.before.st_size;
        // SAFETY: no pointers. What cannot be cut stays.
        let _ = again(|| unsafe { libc::ftruncate64(self.file.as_raw_fd(), length) }.into());
    }

    /// The change time cannot be set: that moves.
    pub(super) fn restore_time(&self) {
        let Ok(now) = status(self.file) else { return };
        let before = (self.before.st_mtime, self.before.st_mtime_nsec);
        if (now.st_mtime, now.st_mtime_nsec) == before || now.st_size != self.before.st_size {
            return;
        }
        let times = [
            libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT },
            libc::timespec { tv_sec: before.0, tv_nsec: before.1 },
        ];
        // SAFETY: two times. Who may not set them leaves them.
        unsafe { libc::futimens(self.file.as_raw_fd(), times.as_ptr()) };
    }
}

//! Zeros where the file system cannot promise: honest, and slow.

use super::super::error::Error;
use super::super::reserve::Promise;
use super::super::sys::{again, open_again, status};
use super::allocate::{Reservation, page};
use super::extents::{extents, gaps};
use super::promise::{is_zfs, promise};
use super::quiet::{Hold, quietly};
use std::ffi::c_int;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// What one call writes at most.
const CHUNK: usize = 1 << 16;

impl Reservation<'_> {
    pub(in crate::file) fn make_slowly(&self) -> Result<Promise, Error> {
        match self.make() {
            Err(Error::NoPromise) if !is_zfs(self.file) => {}
            other => return other,
        }
        let holes = self.holes()?;
        // What is beyond the end can be taken back everywhere, what is in a hole not (ext2): so that comes last.
        let done = self.extend().and_then(|()| self.fill(&holes)).and_then(|()| self.settle());
        if let Err(error) = done {
            self.take_back(&holes);
            return Err(error);
        }
        Ok(promise(self.file))
    }

    /// Those of the range, as far as the file reaches.
    fn holes(&self) -> Result<Vec<Range<u64>>, Error> {
        let length = self.before.st_size as u64;
        let inside = self.range.start..self.range.end.min(length);
        if inside.is_empty() {
            return Ok(Vec::new());
        }
        match extents(self.file, &inside, true) {
            Ok(extents) => Ok(gaps(&inside, &extents)),
            // As many blocks as a file without holes has.
            Err(_) if self.before.st_blocks as u64 * 512 >= length => Ok(Vec::new()),
            Err(_) => Err(Error::NoPromise),
        }
    }

    fn fill(&self, holes: &[Range<u64>]) -> Result<(), Error> {
        if holes.is_empty() {
            return Ok(());
        }
        // SAFETY: no pointers.
        let flags = again(|| unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_GETFL) }.into());
        let appends = flags.is_ok_and(|flags| flags as c_int & libc::O_APPEND != 0);
        // To a descriptor that appends, pwrite(2) writes at the end, whatever the offset.
        let other = if appends {
            Some(open_again(self.file, libc::O_WRONLY).map_err(|errno| Error::system("open", errno))?)
        } else {
            None
        };
        let file = other.as_ref().map_or(self.file, |file| file.as_fd());
        holes.iter().try_for_each(|hole| fill_hole(file, hole)).map_err(|errno| self.error("pwrite", errno))
    }

    /// Appends, so that what somebody else has appended meanwhile is not written over.
    fn extend(&self) -> Result<(), Error> {
        let zeros = vec![0; CHUNK];
        loop {
            let length = status(self.file)?.st_size as u64;
            if length >= self.end {
                return Ok(());
            }
            let part = first(&zeros, self.end - length);
            let vector = libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() };
            let written = quietly(Hold::SizeLimit, || {
                // SAFETY: one part, which is only read.
                again(|| unsafe {
                    libc::pwritev2(self.file.as_raw_fd(), &raw const vector, 1, 0, libc::RWF_APPEND)
                } as i64)
            });
            match written {
                Ok(0) => return Err(Error::system("pwritev2", libc::ENOSPC)),
                Ok(_) => {}
                Err(errno) => return Err(self.error("pwritev2", errno)),
            }
        }
    }

    /// Network file systems find room when the pages are written.
    fn settle(&self) -> Result<(), Error> {
        // SAFETY: no pointers.
        let done = again(|| unsafe { libc::fdatasync(self.file.as_raw_fd()) }.into());
        done.map(drop).map_err(|errno| self.error("fdatasync", errno))
    }

    fn take_back(&self, holes: &[Range<u64>]) {
        let now = status(self.file).map_or(0, |now| now.st_size);
        if now > self.before.st_size && now as u64 <= self.end {
            self.cut();
        }
        for hole in holes {
            for at in hole.clone().step_by(CHUNK) {
                let part = at..hole.end.min(at + CHUNK as u64);
                if self.is_zero(&part) {
                    // The last block of a file is given back whole or not at all.
                    let last = part.end == self.before.st_size as u64;
                    let part = part.start..if last { part.end.next_multiple_of(page()) } else { part.end };
                    // What cannot be punched stays: zeros, as it read before.
                    let _ = self.fallocate(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, &part);
                }
            }
        }
        self.restore_time();
    }

    fn is_zero(&self, range: &Range<u64>) -> bool {
        let mut bytes = vec![1; (range.end - range.start) as usize];
        let (to, len, at) = (bytes.as_mut_ptr(), bytes.len(), range.start as i64);
        // SAFETY: room for as many bytes.
        let count =
            again(|| unsafe { libc::pread64(self.file.as_raw_fd(), to.cast(), len, at) } as i64).unwrap_or(0);
        count as usize == len && bytes.iter().all(|byte| *byte == 0)
    }
}

fn fill_hole(file: BorrowedFd<'_>, hole: &Range<u64>) -> Result<(), c_int> {
    let zeros = vec![0; CHUNK];
    let mut at = hole.start;
    while at < hole.end {
        let part = first(&zeros, hole.end - at);
        let (from, len) = (part.as_ptr().cast(), part.len());
        // SAFETY: as many bytes, which are only read.
        let write = || again(|| unsafe { libc::pwrite64(file.as_raw_fd(), from, len, at as i64) } as i64);
        match quietly(Hold::SizeLimit, write)? {
            0 => return Err(libc::ENOSPC),
            count => at += count as u64,
        }
    }
    Ok(())
}

fn first(zeros: &[u8], wanted: u64) -> &[u8] {
    zeros.get(..usize::try_from(wanted).unwrap_or(usize::MAX)).unwrap_or(zeros)
}

//! Zeros where the file system cannot promise: honest, and slow.
//!
//! Nothing is written over: bytes beyond the end are appended, and a hole gets its blocks by a page
//! fault for writing that changes no byte (`MADV_POPULATE_WRITE`, madvise(2)). So whoever writes
//! there meanwhile loses nothing. Nothing is taken back either ([`super::room`]): room is asked for
//! first, and where others take it meanwhile, the file stays longer, with zeros.

use super::super::error::Error;
use super::super::reserve::Promise;
use super::allocate::{Reservation, page};
use super::extents::{extents, gaps};
use super::promise::promise;
use super::room::FileSystem;
use crate::sys::call::{again, magic_path, retried, status};
use crate::sys::constants::file_systems::ZFS;
use crate::sys::passing::Passing;
use crate::sys::undisturbed::within_limit;
use std::ffi::c_int;
use std::ops::Range;
use std::os::fd::AsRawFd;

/// What one call writes at most.
const CHUNK: usize = 1 << 16;
/// How much of a hole is mapped at a time.
const WINDOW: u64 = 16 << 20;

impl Reservation<'_> {
    pub(in crate::file) fn make_slowly(&self, pause: &mut dyn FnMut()) -> Result<Promise, Error> {
        let system = FileSystem::of(self.file);
        match self.make() {
            Err(Error::NoPromise) if system.is_none_or(|system| system.kind != ZFS) => {}
            other => return other,
        }
        let holes = self.holes()?;
        let within = holes.iter().fold(0, |sum, hole| sum + (hole.end - hole.start));
        let beyond = self.end.saturating_sub(self.length);
        if system.is_some_and(|system| !system.has_for_zeros(within.saturating_add(beyond))) {
            return Err(Error::system("statfs", libc::ENOSPC));
        }
        self.fill(&holes, pause)?;
        self.extend(pause)?;
        self.settle()?;
        Ok(promise(self.file, system.as_ref()))
    }

    /// Those of the range, as far as the file reaches.
    fn holes(&self) -> Result<Vec<Range<u64>>, Error> {
        let inside = self.range.start..self.range.end.min(self.length);
        if inside.is_empty() {
            return Ok(Vec::new());
        }
        match extents(self.file, &inside, true) {
            Ok(extents) => Ok(gaps(&inside, &extents)),
            // As many blocks as a file without holes has.
            Err(_) if self.blocks.saturating_mul(512) >= self.length => Ok(Vec::new()),
            Err(_) => Err(Error::NoPromise),
        }
    }

    fn fill(&self, holes: &[Range<u64>], pause: &mut dyn FnMut()) -> Result<(), Error> {
        if holes.is_empty() {
            return Ok(());
        }
        // A map for writing needs a descriptor for both.
        let file = Passing::open(&magic_path(self.file), libc::O_RDWR)
            .map_err(|errno| Error::system("open", errno))?;
        for hole in holes {
            let mut at = hole.start - hole.start % page();
            while at < hole.end {
                let end = hole.end.min(at + WINDOW);
                populate(file.fd, &(at..end)).map_err(|(call, errno)| self.error(call, errno))?;
                at = end;
                pause();
            }
        }
        Ok(())
    }

    /// Appends, so that what somebody else has appended meanwhile is not written over.
    fn extend(&self, pause: &mut dyn FnMut()) -> Result<(), Error> {
        let zeros = vec![0; CHUNK];
        loop {
            let length = status(self.file)?.st_size as u64;
            if length >= self.end {
                return Ok(());
            }
            let wanted = usize::try_from(self.end - length).unwrap_or(usize::MAX);
            let part: &[u8] = zeros.get(..wanted).unwrap_or(&zeros);
            let vector =
                libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() };
            let written = within_limit(|| {
                // SAFETY: one part, which is only read.
                again(|| unsafe {
                    libc::pwritev2(self.file.as_raw_fd(), &raw const vector, 1, 0, libc::RWF_APPEND)
                } as i64)
            });
            match written {
                Ok(0) => return Err(Error::system("pwritev2", libc::ENOSPC)),
                Ok(_) => pause(),
                Err(errno) => return Err(self.error("pwritev2", errno)),
            }
        }
    }

    /// Network file systems find room when the pages are written.
    fn settle(&self) -> Result<(), Error> {
        let done = retried(|| nix::unistd::fdatasync(self.file));
        done.map_err(|errno| self.error("fdatasync", errno))
    }
}

/// Gives the pages of `range`, which begins with one, their blocks.
fn populate(file: c_int, range: &Range<u64>) -> Result<(), (&'static str, c_int)> {
    let (from, len) = (range.start as i64, (range.end - range.start) as usize);
    let mut map = std::ptr::null_mut();
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    again(|| {
        // SAFETY: a new mapping, wherever the kernel has room.
        map = unsafe {
            libc::mmap64(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, file, from)
        };
        if map == libc::MAP_FAILED { -1 } else { 0 }
    })
    .map_err(|errno| ("mmap", errno))?;
    // SAFETY: the mapping of a moment ago; no byte of it changes.
    let done = again(|| unsafe { libc::madvise(map, len, libc::MADV_POPULATE_WRITE) }.into());
    // SAFETY: the same, which nobody else knows.
    unsafe { libc::munmap(map, len) };
    match done {
        Ok(_) => Ok(()),
        // Older than Linux 5.14: no way to fill a hole without writing over it.
        Err(libc::EINVAL) => Err(("madvise", libc::EOPNOTSUPP)),
        // A store would have raised SIGBUS: there is no block.
        Err(libc::EFAULT) => Err(("madvise", libc::ENOSPC)),
        Err(errno) => Err(("madvise", errno)),
    }
}

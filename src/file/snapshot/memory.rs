//! A copy in a memfd, sealed: nobody can write to it, cut it or make it longer, we neither.

use super::super::error::Error;
use super::super::linux::over_size_limit;
use super::{CHUNK, Request, room};
use crate::sys::call::{again, beyond_standard, named, retried};
use crate::sys::undisturbed::within_limit;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// `MFD_NOEXEC_SEAL`, since Linux 6.3 (include/uapi/linux/memfd.h).
const NO_EXEC_SEAL: libc::c_uint = 0x0008;

/// Copies up to where the source ends, which for a file of /proc is not what its length says.
pub(super) fn copy(
    source: BorrowedFd<'_>,
    request: &mut Request<'_>,
    length: u64,
) -> Result<OwnedFd, Error> {
    let left = room::left();
    if length > left {
        // Rather than wake the kernel's killer.
        return Err(Error::system("memfd_create", libc::ENOMEM));
    }
    let file = create()?;
    let mut buffer = vec![0_u8; CHUNK];
    let mut done = 0;
    request.tell(0, length)?;
    loop {
        let (into, room) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: that much room.
        let got = named("read", || unsafe {
            libc::pread64(source.as_raw_fd(), into, room, done as i64) as i64
        })?;
        let Some(bytes) = buffer.get(..got as usize).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        request.allow(done + bytes.len() as u64)?;
        if done + bytes.len() as u64 > left {
            return Err(Error::system("memfd_create", libc::ENOMEM)); // longer than its length
        }
        // Holes, too: reading one in a memfd would take memory then, and die where there is none.
        put(file.as_fd(), bytes, done)?;
        done += bytes.len() as u64;
        request.tell(done, length.max(done))?;
    }
    seal(file.as_fd())?;
    Ok(file)
}

fn create() -> Result<OwnedFd, Error> {
    let plain = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let create = |flags| retried(|| memfd_create(c"sigward-snapshot", flags));
    let made = match create(plain | MFdFlags::from_bits_retain(NO_EXEC_SEAL)) {
        Err(libc::EINVAL) => create(plain), // an older kernel
        other => other,
    };
    made.and_then(beyond_standard).map_err(|errno| Error::system("memfd_create", errno))
}

fn put(to: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> Result<(), Error> {
    let mut rest = bytes;
    let mut at = offset;
    while !rest.is_empty() {
        let (from, len) = (rest.as_ptr().cast(), rest.len());
        // SAFETY: as many bytes, which are only read.
        let write =
            || again(|| unsafe { libc::pwrite64(to.as_raw_fd(), from, len, at as i64) } as i64);
        // RLIMIT_FSIZE is for memory files as well.
        match within_limit(write) {
            Ok(0) => return Err(Error::system("write", libc::ENOSPC)),
            Ok(count) => {
                rest = rest.get(count as usize..).unwrap_or_default();
                at += count as u64;
            }
            Err(errno) => return Err(over_size_limit(errno, at + len as u64, "write")),
        }
    }
    Ok(())
}

fn seal(file: BorrowedFd<'_>) -> Result<(), Error> {
    let seals = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    retried(|| fcntl(file, FcntlArg::F_ADD_SEALS(seals)))
        .map_err(|errno| Error::system("fcntl", errno))?;
    Ok(())
}

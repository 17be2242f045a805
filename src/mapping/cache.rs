//! What the kernel keeps of a file in memory, dropped: the next to look reads from the disk.
//!
//! After a failed write the pages of the cache are taken for written, and a later fsync(2) finds
//! nothing to do (ext4, xfs, btrfs). Only dropping them, or storing into them again, ends that.

use super::error::Error;
use super::failures;
use super::kept;
use super::map::Map;
use super::open;
use crate::sigbus::registry::{Facts, Slot};
#[cfg(not(target_os = "openbsd"))]
use crate::sys::pages::page_size;
use std::ffi::CStr;
use std::os::fd::OwnedFd;

/// How often it is tried: a reader may have a page in use just then.
const TRIES: u32 = 5;
/// Pages that are asked for at a time.
#[cfg(not(target_os = "openbsd"))]
const AT_ONCE: usize = 4096;

/// Whether no page below a map that nobody has touched yet is in memory any more. What others have
/// stored and is not on the disk is written first. The `older` maps of the file let theirs go; who
/// reads through one meanwhile has them brought back.
pub(super) fn drop_pages(
    slot: &'static Slot,
    path: Option<&CStr>,
    older: &[&Map],
) -> Result<bool, Error> {
    let facts = slot.facts();
    let file = match path {
        Some(path) if facts.descriptor < 0 => open::open(path, true)?.0,
        _ => kept::duplicate(facts)?.0,
    };
    for _ in 0..TRIES {
        for map in older {
            // Also what it was before it moved: slices that were handed out show that.
            std::iter::successors(Some(*map), |map| map.older())
                .for_each(|map| let_go(map.facts()));
        }
        write_out(&file, slot)?;
        give_up(&file);
        if !is_in_memory(facts) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The map stays, and so does what it shows: the next to touch it gets the pages anew.
fn let_go(facts: &Facts) {
    if facts.is_written_through() {
        // What has been stored is the file's. Refused (mlock(2)): the pages are in memory then, and
        // that is seen. SAFETY: the map's own pages; whoever reads them sees the file.
        unsafe {
            libc::madvise(facts.pages.start as *mut _, facts.pages.len(), libc::MADV_DONTNEED)
        };
    }
}

/// Maps that share the file would not hear of a failure any more, so they are told.
fn write_out(file: &OwnedFd, slot: &'static Slot) -> Result<(), Error> {
    let held = failures::lock(slot);
    let written = nix::unistd::fsync(file).map_err(|_| Error::system("fsync"));
    if let Err(error) = &written {
        failures::add(slot.facts(), error.errno(), &held);
    }
    written
}

#[cfg(target_os = "linux")]
fn give_up(file: &OwnedFd) {
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

    // All of the file; what it did is looked at afterwards.
    let _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
}

/// There is no such call; then pages are in memory, and that is said.
#[cfg(not(target_os = "linux"))]
fn give_up(_file: &OwnedFd) {}

/// OpenBSD answers no such question.
#[cfg(target_os = "openbsd")]
fn is_in_memory(_facts: &Facts) -> bool {
    true
}

/// Also if nobody can tell; and to who neither owns the file nor may write to it any more, a
/// descriptor of it or not, the kernel says so always (since Linux 5.2).
#[cfg(not(target_os = "openbsd"))]
fn is_in_memory(facts: &Facts) -> bool {
    let mut there = [0; AT_ONCE];
    let page = page_size();
    facts.pages.clone().step_by(AT_ONCE * page).any(|start| {
        let length = (facts.pages.end - start).min(AT_ONCE * page);
        // SAFETY: pages of the map, and room for a byte of each.
        let failed =
            unsafe { libc::mincore(start as *mut _, length, there.as_mut_ptr().cast()) } != 0;
        failed || there.iter().take(length.div_ceil(page)).any(|byte| byte & 1 != 0)
    })
}

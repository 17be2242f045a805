//! How the kernel names a file in /proc/self/maps: device and inode. On most file systems they are
//! those of stat(2); on btrfs the device differs, on overlayfs either may.
//!
//! So the first file of a file system is mapped for a look; if the names agree there, nobody asks
//! again. A file on overlayfs is always asked. The look costs the same whatever the process has
//! mapped: it lies at a low address, so also a kernel without `PROCMAP_QUERY` shows it among the
//! first.

use super::descriptors::NO_PROC;
use super::handler::area::{Scratch, area_at};
use crate::observe::in_handler::path_of;
use crate::sigbus::identity::Identity;
use crate::sys::call::{Failed, errno};
use crate::sys::pages::page_size;
use crate::sys::passing::Passing;
use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering};

/// Device and type of file systems whose names agree; the last four.
static AGREE: [[AtomicU64; 2]; 4] = [const { [const { AtomicU64::new(0) }; 2] }; 4];

/// `OVERLAYFS_SUPER_MAGIC` (include/uapi/linux/magic.h).
const OVERLAY: u64 = 0x794c_7630;

/// The name of a file that some descriptor is open for (O_PATH will do), and bytes of a page of its
/// mappings. Only under the lock of the list, which guards the table and the room.
pub(crate) fn of(
    fd: c_int,
    identity: &Identity,
    scratch: &mut Scratch,
) -> Result<((u64, u64), usize), Failed> {
    let system = file_system(fd)?;
    let granule = if system.huge { system.block } else { page_size() };
    let plain = (in_maps(identity.device), identity.inode);
    let known = AGREE.iter().any(|[device, kind]| {
        (device.load(Ordering::Relaxed), kind.load(Ordering::Relaxed))
            == (identity.device, system.kind)
    });
    if known {
        return Ok((plain, granule));
    }
    let name = from_mapping(fd, granule, scratch)?;
    if name == plain && system.kind != OVERLAY {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let turn = NEXT.fetch_add(1, Ordering::Relaxed) as usize % AGREE.len();
        if let Some([device, kind]) = AGREE.get(turn) {
            device.store(identity.device, Ordering::Relaxed);
            kind.store(system.kind, Ordering::Relaxed);
        }
    }
    Ok((name, granule))
}

/// A device of stat(2) as /proc/self/maps has it.
pub(crate) fn in_maps(device: u64) -> u64 {
    u64::from(libc::major(device)) << 32 | u64::from(libc::minor(device))
}

/// Maps a page of the file and asks the kernel what it is.
fn from_mapping(fd: c_int, granule: usize, scratch: &mut Scratch) -> Result<(u64, u64), Failed> {
    let readable = opened(fd, libc::O_RDONLY).map_err(|errno| Failed { call: "open", errno })?;
    // As low as anybody may map (`vm.mmap_min_addr`).
    let low = std::ptr::without_provenance_mut(1 << 16);
    let (access, kind) = (libc::PROT_READ, libc::MAP_PRIVATE);
    // SAFETY: a new mapping that is only looked at from outside.
    let place = unsafe { libc::mmap(low, granule, access, kind, readable.fd, 0) };
    if place == libc::MAP_FAILED {
        return Err(Failed::last("mmap"));
    }
    let area = area_at(place.addr(), scratch).ok_or_else(why_nobody_tells);
    // SAFETY: the mapping just made.
    unsafe { libc::munmap(place, granule) };
    area.map(|area| area.file)
}

fn why_nobody_tells() -> Failed {
    match errno() {
        errno @ (libc::EMFILE | libc::ENFILE | libc::ENOMEM) => {
            Failed { call: "/proc/self/maps", errno }
        }
        _ => NO_PROC,
    }
}

/// The file that a descriptor names (O_PATH will do), opened for a moment. Signal-safe.
pub(crate) fn opened(fd: c_int, access: c_int) -> Result<Passing, c_int> {
    let path = path_of(fd);
    Passing::open(std::ffi::CStr::from_bytes_until_nul(&path).map_err(|_| libc::EINVAL)?, access)
}

struct FileSystem {
    kind: u64,
    block: usize,
    huge: bool,
}

fn file_system(fd: c_int) -> Result<FileSystem, Failed> {
    let mut room = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: room for one struct.
    if unsafe { libc::fstatfs(fd, room.as_mut_ptr()) } != 0 {
        return Err(Failed::last("fstatfs"));
    }
    // SAFETY: the call returned 0, so it filled the struct.
    let room = unsafe { room.assume_init_ref() };
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_lossless,
        reason = "the types differ between C libraries"
    )]
    let kind = room.f_type as u32 as u64;
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_lossless,
        reason = "the types differ between C libraries"
    )]
    let huge = kind == libc::HUGETLBFS_MAGIC as u32 as u64;
    Ok(FileSystem { kind, block: room.f_bsize as usize, huge })
}

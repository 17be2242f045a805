//! What a log asks of its file beside the map: that it is the only writer's, what of it was
//! written, what can be given back.

use super::error::Error;
use crate::file::Target;
#[cfg(target_os = "linux")]
use crate::sys::call::kind_of_file;
use crate::sys::call::{beyond_standard, errno, status};
use crate::sys::kept::Kept;
use crate::sys::pages::page_size;
use crate::sys::process::{self, Process};
use crate::sys::undisturbed::within_limit;
use nix::sys::resource::{Resource, getrlimit};
use std::ffi::c_int;
use std::fs::File;
use std::hint;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::ptr;
use std::sync::atomic::AtomicU8;

/// Opens or makes the file. A FIFO is not waited for.
///
/// A file that is there is opened without `O_CREAT`, which some systems refuse for others' files in
/// a folder for everybody (fs.protected_regular).
pub(super) fn open_or_make(path: &Path) -> Result<File, Error> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut options = File::options();
    options.read(true).write(true).truncate(false).custom_flags(flags);
    let found = match options.open(path) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => options.create(true).open(path),
        found => found,
    };
    let found = found.map_err(|error| Error::of("open", &error))?;
    beyond_standard(found.into())
        .map(File::from)
        .map_err(|errno| Error::of("fcntl", &std::io::Error::from_raw_os_error(errno)))
}

/// A file with the lock that every writer takes.
///
/// The lock belongs to what was opened, not to a process: a child that is just being started has a
/// share in it until it calls exec. So it is given up by name, by the process that took it, and
/// whoever opens the log next finds it free.
#[derive(Debug)]
pub(super) struct Locked {
    file: Kept,
    process: Process,
}

impl Locked {
    pub(super) fn of(file: File) -> Result<Self, Error> {
        lock(&file)?;
        Ok(Self { file: Kept::of(file)?, process: process::announce() })
    }

    /// Whether this is the process that took it.
    pub(super) fn is_ours(&self) -> bool {
        self.process == process::this()
    }
}

impl std::ops::Deref for Locked {
    type Target = Kept;

    fn deref(&self) -> &Kept {
        &self.file
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        if self.is_ours() && self.file.is_ours() {
            // SAFETY: no pointers. If it is refused, closing does the same.
            unsafe { libc::flock(self.file.as_raw_fd(), libc::LOCK_UN) };
        }
    }
}

fn lock(file: &File) -> Result<(), Error> {
    loop {
        // SAFETY: no pointers.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(());
        }
        match errno() {
            libc::EINTR => {}
            libc::EWOULDBLOCK => return Err(Error::Busy),
            errno => return Err(Error::System { call: "flock", errno }),
        }
    }
}

pub(super) fn length(file: &File) -> Result<u64, Error> {
    file.metadata().map(|status| status.len()).map_err(|error| Error::of("fstat", &error))
}

/// How many bytes of a file have blocks: how long a look at it takes. Some file systems
/// do not say it: a little is always there.
pub(super) fn there(file: &File) -> u64 {
    const LEAST: u64 = 1 << 20;
    file.metadata().map_or(LEAST, |status| status.len().min((status.blocks() * 512).max(LEAST)))
}

/// Whether a file of `length` bytes, fewer than a header, holds zeros only.
pub(super) fn is_blank(file: &File, length: u64) -> Result<bool, Error> {
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, 0).map_err(|error| Error::of("pread", &error))?;
    Ok(bytes.iter().all(|byte| *byte == 0))
}

/// Writes into the header pages, which have their blocks. Beyond the limit it is an error, no
/// SIGXFSZ.
pub(super) fn write_header(file: &File, offset: u64, bytes: &[u8]) -> Result<(), Error> {
    write(file, offset, bytes).map_err(|errno| Error::System { call: "pwrite", errno })
}

fn write(file: &File, offset: u64, bytes: &[u8]) -> Result<(), c_int> {
    within_limit(|| {
        let written = file.write_all_at(bytes, offset);
        written.map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
    })
}

/// Zeros where there are zeros and blocks: see [`super::space::Ahead`]. What is refused is left to
/// the stores.
#[cold]
pub(super) fn write_zeros(file: &File, range: Range<u64>) {
    // In .bss, which takes no room in a program's file, because it might change for all that the
    // compiler knows.
    static ZEROS: [AtomicU8; 64 << 10] = [const { AtomicU8::new(0) }; 64 << 10];
    let zeros = hint::black_box(&ZEROS);
    // SAFETY: an AtomicU8 lies in memory as a u8 does, and nobody changes one of these.
    let zeros = unsafe { &*ptr::from_ref(zeros).cast::<[u8; 64 << 10]>() };
    let mut at = range.start.next_multiple_of(page_size() as u64);
    while at < range.end {
        let count = (range.end - at).min(zeros.len() as u64);
        if write(file, at, &zeros[..count as usize]).is_err() {
            return;
        }
        at += count;
    }
}

/// Whether a block that was written can be written again whatever else happens, and a large write
/// is worth more than its bytes: so on ext4 and xfs. btrfs may copy on write, tmpfs gains nothing.
#[cfg(target_os = "linux")]
pub(super) fn keeps_what_it_gave(file: &File) -> bool {
    use crate::sys::constants::file_systems::{EXT, XFS};

    matches!(kind_of_file(file.as_fd()), Some(EXT | XFS))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn keeps_what_it_gave(_file: &File) -> bool {
    false
}

/// Whether a write into the header page would raise SIGXFSZ.
pub(super) fn is_limited() -> bool {
    limit() < super::format::FIRST
}

/// Where a write would raise SIGXFSZ.
pub(super) fn limit() -> u64 {
    let limit = getrlimit(Resource::RLIMIT_FSIZE);
    let (bytes, _) = limit.unwrap_or((libc::RLIM_INFINITY, libc::RLIM_INFINITY));
    #[allow(clippy::unnecessary_cast, reason = "signed on some systems")]
    let bytes = bytes as u64;
    bytes
}

/// Writes whole pages so that the page cache has no part in it, and drops what that has of them;
/// false where this cannot be done.
#[cfg(target_os = "linux")]
pub(super) fn write_past_cache(file: &File, offset: u64, bytes: &[u8]) -> Result<bool, Error> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    let Ok(flags) = fcntl(file, FcntlArg::F_GETFL) else { return Ok(false) };
    let set = |flags| fcntl(file, FcntlArg::F_SETFL(OFlag::from_bits_retain(flags)));
    if set(flags | libc::O_DIRECT).is_err() {
        return Ok(false);
    }
    let written = write(file, offset, bytes);
    let _ = set(flags);
    match written {
        Ok(()) => Ok(true),
        Err(libc::EINVAL | libc::EFBIG) => Ok(false),
        Err(errno) => Err(Error::System { call: "pwrite", errno }),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn write_past_cache(_file: &File, _offset: u64, _bytes: &[u8]) -> Result<bool, Error> {
    Ok(false)
}

/// Waits until what was written, through maps as well, is on the disk.
pub(super) fn sync(file: &File) -> Result<(), i32> {
    file.sync_data().map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
}

/// The name that a file had when it was opened: where a symbolic link led to then. The folder is
/// kept open, so that neither chdir(2) nor chroot(2) makes it another name.
#[derive(Debug)]
pub(super) struct Named {
    place: Target,
    file: (libc::dev_t, libc::ino_t),
}

impl Named {
    pub(super) fn of(path: &Path, file: &File) -> Result<Self, Error> {
        let ours = status(file.as_fd())?;
        let place = Target::find(path, true)
            .map_err(|error| Error::System { call: "open", errno: error.errno() })?;
        Ok(Self { place, file: (ours.st_dev, ours.st_ino) })
    }

    /// Whether the name leads somewhere else now, or nowhere. Who may not look does not know.
    pub(super) fn is_gone(&self) -> bool {
        let now = self.place.status(false);
        now.is_ok_and(|now| now.is_none_or(|now| now.file != self.file))
    }

    /// The folder has the name of a new file.
    pub(super) fn sync(&self, file: &File) -> Result<(), Error> {
        let done = self.place.sync(file.as_fd());
        done.map_err(|errno| Error::System { call: "fsync", errno })
    }
}

/// Copy on write breaks the promise that a reserved block can be written again (btrfs). An empty
/// file can be exempted; the records' own sums take the place of the file system's. Elsewhere this
/// is refused, which does no harm.
#[cfg(target_os = "linux")]
pub(super) fn write_in_place(file: &File) {
    use crate::sys::constants::{FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_NOCOW_FL};

    let mut flags: [c_int; 2] = [0; 2]; // an int, in a long (ioctl_iflags(2))
    // SAFETY: room for the flags.
    if unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_GETFLAGS as _, flags.as_mut_ptr()) } == 0 {
        flags[0] |= FS_NOCOW_FL;
        // SAFETY: the flags, which are only read.
        unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_SETFLAGS as _, flags.as_ptr()) };
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn write_in_place(_file: &File) {}

/// Gives the blocks from `offset` on back; length and contents stay, and nobody who has the file
/// mapped dies of it, as of a cut. Where it is not possible the blocks stay.
#[cfg(target_os = "linux")]
pub(super) fn give_back(file: &File, offset: u64, length: u64) {
    if offset < length {
        use nix::fcntl::{FallocateFlags, fallocate};

        let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let _ = fallocate(file, mode, offset as libc::off_t, (length - offset) as libc::off_t);
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn give_back(_file: &File, _offset: u64, _length: u64) {}

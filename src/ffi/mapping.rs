//! Guarded maps.

use super::handle::{close, open_handle, opened, opened_mut};
use super::sized::{self, Filled, fill_one};
use super::{code, map_code};
use crate::mapping::{Error, Fault, Map, MapOptions};
use crate::sys::cancel::Uncancelled;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::BorrowedFd;

/// A guarded map. Made by sigward_map_open, sigward_map_fd, sigward_snapshot; taken away by
/// sigward_map_close.
pub struct sigward_map(pub(super) Map);

/// Options of a map. Set all to zero, then size.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct sigward_map_options {
    /// sizeof(sigward_map_options).
    pub size: usize,
    /// Where in the file the map begins, in bytes; any byte will do.
    pub offset: u64,
    /// How many bytes; 0: up to the end that the file has now.
    pub len: u64,
    /// 1: for writing as well. What is written goes to the file.
    pub writable: u32,
    /// 1: what is written stays in this process (MAP_PRIVATE).
    pub copy_on_write: u32,
    /// 1: every page is read in at once, so that a page that cannot be had is an error of opening.
    pub populate: u32,
    /// 1: no file descriptor is kept, for very many maps; causes are then SIGWARD_CAUSE_UNKNOWN,
    /// and lost pages are replaced one by one, a signal each.
    pub no_descriptor: u32,
    /// Address space kept for growth, in bytes from the file's start: sigward_map_grow and
    /// sigward_map_follow find room in place up to here. It costs no memory. A file that is longer
    /// already is mapped whole, and an empty one can be mapped. For whole files only: not with
    /// offset, len, copy_on_write or no_descriptor. 0: none. A struct that ends before this field
    /// has a size of 40.
    pub capacity: u64,
    /// 1: where the file system cannot promise blocks, growing writes zeros, as
    /// sigward_reserve_slowly does.
    pub reserve_slowly: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: begins with its size; the rest is numbers.
unsafe impl sized::Options for sigward_map_options {
    const EARLIER: &'static [usize] = &[std::mem::offset_of!(sigward_map_options, capacity)];
}

/// Why bytes of a map are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub enum sigward_cause {
    /// Nothing is lost.
    NONE = 0,
    /// The file is shorter now, or was cut and written again: len_now.
    TRUNCATED = 1,
    /// The file system has no room, or the user no quota.
    NO_SPACE = 2,
    /// Reading or writing the page failed: error.
    IO = 3,
    /// The memory itself is damaged.
    HARDWARE = 4,
    /// The kernel gave no reason that could be found, or the map keeps no descriptor to ask about.
    UNKNOWN = 5,
}

/// Maps the file at path; NULL options mean the whole file, read-only. *out is the map, or NULL on
/// failure.
///
/// When the file is truncated, overwritten in place or cannot be read any more, a read of the lost
/// bytes is an error (sigward_map_read_at) or gives zeros that the poison word tells of
/// (sigward_map_data), on every thread but those that have SIGBUS blocked (sigward_thread_check):
/// there the kernel ends the process. A truncation within a page gives zeros up to the page's end
/// and no signal, and where a file system has large folios (ext4) whole pages behind a cut may do
/// so for a while: sigward_map_verify tells.
///
/// Thread-safe; in a forked child the map is there and guarded as well; not for signal handlers.
///
/// Returns 0. -EINVAL: a NULL pointer, options of an unknown size or value. -ENODATA: the file is
/// empty. -EISDIR, -ENODEV: a directory; a pipe, socket or device. -ENXIO: offset or end beyond the
/// file's. -EOVERFLOW: too large. Else what open(2) or mmap(2) say (-ENOENT, -EACCES, -EMFILE,
/// -ENOMEM), or as sigward_init. On failure nothing is left behind but the seat for SIGBUS
/// (sigward_sigbus_guard), which may have been taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_map_open(
    path: *const c_char,
    options: *const sigward_map_options,
    out: *mut *mut sigward_map,
) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: as the caller vouches for the pointers.
    let map = match unsafe { read_options(options) } {
        Err(error) => Err(error),
        Ok(_) if path.is_null() => Err(Error::Invalid("no path")),
        Ok((options, write)) => {
            // SAFETY: NUL-terminated by the header's contract.
            options.open_path(unsafe { CStr::from_ptr(path) }.to_owned(), write)
        }
    };
    // SAFETY: null, or room for a pointer.
    unsafe { open_handle(out, map, sigward_map) }
}

/// As sigward_map_open, of an open file, which must be readable and, for a writable shared map,
/// writable. The map keeps a duplicate of the descriptor: fd may be closed.
///
/// Returns as sigward_map_open; -EBADF if fd is not open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_map_fd(
    fd: c_int,
    options: *const sigward_map_options,
    out: *mut *mut sigward_map,
) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: as the caller vouches for the pointers.
    let map = match unsafe { read_options(options) } {
        Err(error) => Err(error),
        Ok(_) if fd < 0 => Err(Error::System { call: "fstat", errno: libc::EBADF }),
        // SAFETY: not -1; if it is not open, fstat says so.
        Ok((options, write)) => options.of_descriptor(unsafe { BorrowedFd::borrow_raw(fd) }, write),
    };
    // SAFETY: null, or room for a pointer.
    unsafe { open_handle(out, map, sigward_map) }
}

/// Where the map's bytes are. Whoever reads them there reads the poison word afterwards. Changes
/// with sigward_map_refresh, and when sigward_map_grow moves the map.
///
/// Signal-safe, thread-safe. NULL if map is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_map_data(map: *const sigward_map) -> *const c_void {
    // SAFETY: null, or an open map by the header's contract.
    unsafe { opened(map) }.map_or(std::ptr::null(), |map| map.0.as_ptr().cast())
}

/// The map's length in bytes. Signal-safe, thread-safe. 0 if map is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_map_len(map: *const sigward_map) -> usize {
    // SAFETY: as above.
    unsafe { opened(map) }.map_or(0, |map| map.0.len())
}

/// The poison word: UINT64_MAX while nothing is lost, else the lowest lost offset in bytes from the
/// start of the map. It is stored before any page changes. Read it after the bytes, with an acquire
/// fence in between (atomic_thread_fence(memory_order_acquire); after writing
/// memory_order_seq_cst); bytes below it are good. It changes its place when
/// sigward_map_data does; the old one stays readable for ever.
///
/// Signal-safe, thread-safe. NULL if map is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_map_poison_word(map: *const sigward_map) -> *const u64 {
    // SAFETY: as above.
    unsafe { opened(map) }.map_or(std::ptr::null(), |map| map.0.poison_word())
}

/// Copies up to len bytes from offset on (bytes from the start of the map) into buf.
///
/// Signal-safe, thread-safe. Returns the bytes copied: fewer at the map's end, 0 behind it, and
/// fewer where the rest is lost. -EFAULT if the byte at offset is lost: sigward_map_status tells
/// why. -EINVAL if a pointer is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_map_read_at(
    map: *const sigward_map,
    offset: u64,
    buf: *mut c_void,
    len: usize,
) -> libc::ssize_t {
    // SAFETY: null, or an open map by the header's contract.
    let map = unsafe { opened(map) };
    let (Some(map), false) = (map, buf.is_null()) else {
        let nothing = len == 0 && map.is_some();
        return if nothing { 0 } else { code(Err(crate::Error::InvalidArgument)) as isize };
    };
    // SAFETY: the caller vouches for `len` bytes.
    match unsafe { map.0.read_raw(offset, buf.cast(), len) } {
        Some(count) => count as isize,
        None => -(libc::EFAULT as isize),
    }
}

/// Copies len bytes from buf to offset (bytes from the start of the map).
///
/// Thread-safe as memcpy is: bytes that two threads write are one's or the other's. Returns the
/// bytes that are in the file's pages: fewer at the map's end and where the rest has no room or is
/// lost. If the byte at offset is lost, the errno of the cause: -ENOSPC on a full disk, -EIO,
/// -EFAULT for a truncated file. -EBADF if the map is not writable, -EINVAL if a pointer is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_map_write_at(
    map: *mut sigward_map,
    offset: u64,
    buf: *const c_void,
    len: usize,
) -> libc::ssize_t {
    // SAFETY: null, or an open map by the header's contract.
    let map = unsafe { opened(map) };
    let (Some(map), true) = (map, !buf.is_null() || len == 0) else {
        return code(Err(crate::Error::InvalidArgument)) as isize;
    };
    if !map.0.is_writable() {
        return map_code(Err(Error::ReadOnly)) as isize;
    }
    if len == 0 {
        return 0;
    }
    // SAFETY: the caller vouches for `len` bytes.
    let bytes =
        unsafe { std::slice::from_raw_parts(buf.cast::<u8>(), len.min(isize::MAX as usize)) };
    // SAFETY: writable; the header's contract has the rest.
    match unsafe { map.0.write_shared(offset, bytes) } {
        Ok(count) => count as isize,
        Err(error) => -(error.errno_of_cause() as isize),
    }
}

/// Whether bytes of the map are lost, as far as anybody has met them, or because the file is
/// shorter than the map now: if no loss is known yet, the length of the descriptor that the map
/// keeps is asked for (fstat(2)); of a map without one (no_descriptor) sigward_map_verify looks at
/// the path. out may be NULL.
///
/// A system call that is given the map's own bytes (write(2) from sigward_map_data) meets a lost
/// page without a signal: it returns a short count or EFAULT, and nobody here knows. Then this call
/// tells of a file that was cut, and sigward_map_populate of the range tells of every other loss;
/// both make the poison word tell it from then on.
///
/// Signal-safe, thread-safe. Returns 0 while intact, with out->offset UINT64_MAX and the rest 0; 1
/// if not, with *out filled: the loss at the lowest offset. -EINVAL if map is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_map_status(map: *const sigward_map, out: *mut Fault) -> c_int {
    // SAFETY: as the caller vouches for the pointers.
    unsafe { sigward_map_status_sized(map, out, Fault::FIRST) }
}

/// As sigward_map_status, for a struct of size bytes.
///
/// Returns as sigward_map_status; -EINVAL also for a size that no version has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_map_status_sized(
    map: *const sigward_map,
    out: *mut Fault,
    size: usize,
) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open map by the header's contract.
    let Some(map) = (unsafe { opened(map) }) else {
        return code(Err(crate::Error::InvalidArgument));
    };
    // SAFETY: null, or room for one struct of that size.
    unsafe { answer(map.0.status(), out, size) }
}

// SAFETY: numbers, without padding.
unsafe impl Filled for Fault {
    const FIRST: usize = 96;

    fn set_size(&mut self, filled: u64) {
        self.size = filled;
    }
}

/// # Safety
/// `out` is null or room for one struct of `size` bytes.
pub(super) unsafe fn answer(fault: Option<Fault>, out: *mut Fault, size: usize) -> c_int {
    let filled = if out.is_null() {
        sized::fits::<Fault>(size)
    } else {
        // SAFETY: by this function's contract.
        unsafe { fill_one(out, size, fault.unwrap_or(Fault::NONE)) }
    };
    let status = map_code(filled);
    if status < 0 { status } else { c_int::from(fault.is_some()) }
}

/// Looks at the file: whether it is the one that was mapped, unchanged (length and change time; of
/// a writable shared map only the length), and still the one that the path names.
///
/// A file that somebody cuts and makes as long again shows its new bytes, zeros perhaps. Of a
/// read-only map this call tells, because the change time is another one, and so does a read that
/// met the file while it was short. Of a writable shared map that has grown (sigward_map_grow; not
/// on btrfs and FUSE) the missing blocks tell; of others nothing, because their own stores
/// move the time as well: whoever shares such a file with somebody who cuts it has to agree with
/// him on a lock or a generation number. The kept descriptor is used only if it still is ours: if
/// the host has closed it, -EBADF.
///
/// Thread-safe; one or two system calls. Returns 0. -EFAULT: bytes are lost, or the file is shorter
/// than the map. -ESTALE: it was changed in place, or its path names another file, or none.
/// -EINVAL, or what fstat(2) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_map_verify(map: *const sigward_map) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open map by the header's contract.
    map_code(unsafe { opened(map) }.ok_or(Error::Invalid("no map")).and_then(|map| map.0.verify()))
}

/// Maps what the path (or the descriptor) names now, if that has changed or bytes are lost. Data,
/// length and poison word are others afterwards: no thread may be using the map meanwhile.
///
/// After a sigward_map_flush that has failed the kernel's memory has bytes that the disk has not,
/// and takes them for written. So they are dropped, and the map shows what the disk has: what was
/// stored since the last flush that succeeded may be gone, and is to be stored again. Where
/// somebody else has the file mapped they cannot be dropped, and who has no right any more to write
/// to the file cannot know: then the flush's errno is returned, the map shows what the others see,
/// and flushes go on failing.
///
/// Returns 0, also if nothing had changed; else as sigward_map_open, and then the map is what it
/// was. -EBADF: the map has no path, and the host has closed the descriptor that the map keeps.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_map_refresh(map: *mut sigward_map) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open map that nobody else uses meanwhile, by the header's contract.
    map_code(
        unsafe { opened_mut(map) }.ok_or(Error::Invalid("no map")).and_then(|map| map.0.refresh()),
    )
}

/// Reads in every page of the range now (of a writable shared map: allocates it); a len of 0 is up
/// to the map's end.
///
/// Thread-safe. Returns 0; the errno of the cause if a page cannot be had (-EFAULT, -ENOSPC, -EIO);
/// -EINVAL if the range is not within the map; else what madvise(2) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_map_populate(
    map: *const sigward_map,
    offset: u64,
    len: u64,
) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open map by the header's contract.
    let Some(map) = (unsafe { opened(map) }) else {
        return code(Err(crate::Error::InvalidArgument));
    };
    let end = if len == 0 { Some(map.0.len() as u64) } else { offset.checked_add(len) };
    let range = end.and_then(|end| Some(usize::try_from(offset).ok()?..usize::try_from(end).ok()?));
    let done = range.ok_or(Error::Overflow).and_then(|range| map.0.populate(range));
    done.map_or_else(|error| -error.errno_of_cause(), |()| 0)
}

/// Makes the map and its file new_len bytes long: for a map of a whole file that is writable.
/// The file gets blocks for every byte first, then the map its new length, so a full disk is an
/// error of this call, and afterwards a store into any byte below new_len finds its block, also on
/// a disk that is full by then (on btrfs once: see sigward_reserve). New bytes are zeros. A file
/// that somebody else has made longer stays so.
///
/// Up to the capacity (sigward_map_options) nothing moves and nobody waits. Beyond, or without, the
/// map moves to a mapping with room for twice as much: the old addresses and their poison word stay
/// readable, writable and one with the file until sigward_map_close (or _refresh), so pointers
/// taken before stay good; sigward_map_data, _len and _poison_word answer for the new one. Other
/// threads may read, write and grow meanwhile in both cases, by calls or by pointers. Where a move
/// is possible, a thread that asks for address, length and poison word one by one takes them with
/// sigward_map_look.
///
/// Each call costs some system calls (fallocate(2) among them): grow in large steps. Thread-safe;
/// works in a forked child; not for signal handlers.
///
/// Returns 0. Else the map, the file's length and every byte in it are as they were (see
/// sigward_reserve): -ENOSPC, -EDQUOT: no room, no quota. -EFBIG: beyond RLIMIT_FSIZE (no SIGXFSZ)
/// or what the file system can. -EOPNOTSUPP: this file system cannot promise: see reserve_slowly in
/// the options. -ENOMEM, -EAGAIN: no addresses for so much. -EFAULT: bytes of the map are lost, or
/// the file was cut: sigward_map_refresh first. -ESTALE: it was unlinked, replaced, or cut and made
/// as long again (see sigward_map_flush). -EBADF: not writable. -EPERM: the file is sealed.
/// -EINVAL: NULL, a length below the map's, or a map that cannot grow (a part of a file,
/// copy_on_write, no_descriptor). -EOVERFLOW: too large. -EDEADLK: in the handler
/// of a fault inside such a call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_map_grow(map: *mut sigward_map, new_len: u64) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open map by the header's contract.
    map_code(
        unsafe { opened(map) }.ok_or(Error::Invalid("no map")).and_then(|map| map.0.grow(new_len)),
    )
}

/// Takes over the length that the file has now, up to the map's capacity: for readers of a file
/// that another process makes longer. The map never becomes shorter; sigward_map_len answers. One
/// system call.
///
/// Thread-safe. Returns 0; -EFAULT if the file is shorter than the map; -EINVAL if map is NULL or
/// keeps no descriptor; else what fstat(2) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_map_follow(map: *mut sigward_map) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open map by the header's contract.
    map_code(
        unsafe { opened(map) }
            .ok_or(Error::Invalid("no map"))
            .and_then(|map| map.0.follow().map(drop)),
    )
}

/// How many bytes the map can have without moving: its capacity, or its length if it has none.
/// Thread-safe. 0 if map is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_map_capacity(map: *const sigward_map) -> u64 {
    // SAFETY: as above.
    unsafe { opened(map) }.map_or(0, |map| map.0.capacity())
}

/// Where the map's bytes are, how many, and their poison word.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct sigward_bytes {
    /// As sigward_map_data.
    pub data: *const c_void,
    /// As sigward_map_len.
    pub len: usize,
    /// As sigward_map_poison_word.
    pub poison: *const u64,
}

/// Address, length and poison word that belong together, also while another thread makes the map
/// move (sigward_map_grow).
///
/// Signal-safe, thread-safe. Returns 0; -EINVAL if a pointer is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_map_look(
    map: *const sigward_map,
    out: *mut sigward_bytes,
) -> c_int {
    // SAFETY: null, or an open map by the header's contract.
    let map = unsafe { opened(map) };
    // SAFETY: null, or room for one struct.
    let (Some(map), Some(out)) = (map, unsafe { out.as_mut() }) else {
        return code(Err(crate::Error::InvalidArgument));
    };
    let (data, len, poison) = map.0.look();
    *out = sigward_bytes { data: data.cast(), len, poison };
    code(Ok(()))
}

/// Waits until what was written is on the disk (msync(2)).
///
/// Thread-safe; flushes of one map, and of maps of one descriptor or its duplicates, wait for each
/// other. Returns 0. If any byte of the map is lost, the errno of the cause (-ENOSPC, -EIO,
/// -EFAULT): all else is on the disk then. -EINVAL if map is NULL; else what msync says: some of
/// what was written is not on the disk. The kernel says that once, for the descriptor and its
/// duplicates together, and does not try again: so every later flush of this map, and of others in
/// this process that share its file in this way, says it, too, until sigward_map_refresh. The
/// kernel counts a host's own fsync(2) of that descriptor, and flushes of a forked child and of its
/// parent, as one as well: who is told there has to tell the other. On FUSE and network file
/// systems a full disk is first met here. -ESTALE: what was written is on the disk, but not where
/// somebody finds it: the file was unlinked, or another has taken its place (one that has any name
/// left is well); or it has fewer blocks than sigward_map_grow has given it, because somebody has
/// cut it and made it as long again, or punched holes. Of a map that has not grown, and on btrfs
/// and FUSE, a file that was cut and is as long again cannot be told.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_map_flush(map: *mut sigward_map) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open map by the header's contract.
    let Some(map) = (unsafe { opened(map) }) else {
        return code(Err(crate::Error::InvalidArgument));
    };
    map.0.flush().map_or_else(|error| -error.errno_of_cause(), |()| 0)
}

/// Takes the map away: no thread may be using it, and its bytes must not be read any more. NULL is
/// nothing to do. Using a closed map is the caller's defect; a debug build of the library says so
/// and aborts.
///
/// Waits for faults that are being dealt with, at most a second. If one still is then (its file
/// system does not answer, or its thread was killed in a process that shares our memory), the map's
/// addresses and descriptor are never given back: leaked in sigward_counters.
///
/// Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_map_close(map: *mut sigward_map) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open map by the header's contract.
    drop(unsafe { close(map) });
    code(Ok(()))
}

/// For packages of a garbage-collected language, where nobody can tell when the last reader is
/// gone: as sigward_map_close, but the addresses stay readable for ever, as zeros that cost no
/// memory.
///
/// Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_map_retire(map: *mut sigward_map) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open map by the header's contract.
    if let Some(map) = unsafe { close(map) } {
        map.0.retire();
    }
    code(Ok(()))
}

/// The options as Rust has them, and whether the map is for writing.
///
/// # Safety
/// `options` is null, or begins with the number of its bytes.
unsafe fn read_options(options: *const sigward_map_options) -> Result<(MapOptions, bool), Error> {
    // SAFETY: by this function's contract.
    let options = unsafe { sized::options(options) }?;
    let switches = [
        options.writable,
        options.copy_on_write,
        options.populate,
        options.no_descriptor,
        options.reserve_slowly,
    ];
    if switches.iter().any(|switch| *switch > 1) || options.reserved != 0 {
        return Err(Error::Invalid("options of an unknown value"));
    }
    let made = MapOptions::new()
        .offset(options.offset)
        .len(options.len)
        .populate(options.populate == 1)
        .copy_on_write(options.copy_on_write == 1)
        .no_descriptor(options.no_descriptor == 1)
        .capacity(options.capacity)
        .reserve_slowly(options.reserve_slowly == 1);
    Ok((made, options.writable == 1))
}

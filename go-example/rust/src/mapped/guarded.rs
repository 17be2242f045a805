//! With sigward's C functions: a write that does not reach the file says so.
//!
//! The functions are those of the archive that the Go package links. A library of Rust alone would
//! use the crate.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs::{File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use super::Loss;

/// `struct sigward_map_options`.
#[repr(C)]
struct Options {
    size: usize,
    offset: u64,
    len: u64,
    writable: u32,
    copy_on_write: u32,
    populate: u32,
    no_descriptor: u32,
}

/// `struct sigward_fault`.
#[repr(C)]
struct Fault {
    offset: u64,
    len_now: u64,
    address: u64,
    time_ns: u64,
    cause: i32,
    error: i32,
    tid: i32,
    write: u32,
    thread: [c_char; 16],
    reserved: [u64; 4],
}

const TRUNCATED: i32 = 1;

unsafe extern "C" {
    fn sigward_map_open(
        path: *const c_char,
        options: *const Options,
        out: *mut *mut c_void,
    ) -> c_int;
    fn sigward_map_len(map: *const c_void) -> usize;
    fn sigward_map_write_at(
        map: *mut c_void,
        offset: u64,
        bytes: *const u8,
        length: usize,
    ) -> isize;
    fn sigward_map_status(map: *const c_void, out: *mut Fault) -> c_int;
    fn sigward_map_refresh(map: *mut c_void) -> c_int;
    fn sigward_map_close(map: *mut c_void) -> c_int;
}

/// A file and its guarded map.
pub struct Mapped {
    file: File,
    path: CString,
    map: *mut c_void,
}

// SAFETY: sigward's functions may be called from any thread; one at a time, says `&mut self`.
unsafe impl Send for Mapped {}

impl Mapped {
    /// Makes the file, `length` bytes of nothing, and maps it.
    pub fn create(path: &Path, length: u64) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len(length)?;
        let path = CString::new(path.as_os_str().as_bytes())?;
        let map = map(&path)?;
        Ok(Self { file, path, map })
    }

    /// Sets the file's length with ftruncate(2), and maps it anew.
    pub fn set_length(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        let before = std::mem::replace(&mut self.map, map(&self.path)?);
        // SAFETY: the last use of the map that was.
        check(unsafe { sigward_map_close(before) })
    }

    /// The length of the map.
    pub fn length(&self) -> u64 {
        // SAFETY: the map is open while `self` lives.
        unsafe { sigward_map_len(self.map) as u64 }
    }

    /// Copies `bytes` to `offset`. After a [`Loss`], bytes below its offset are in the file.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Loss> {
        // SAFETY: the map is open while `self` lives, and `bytes` are readable.
        let written =
            unsafe { sigward_map_write_at(self.map, offset, bytes.as_ptr(), bytes.len()) };
        if usize::try_from(written).is_ok_and(|written| written == bytes.len()) {
            return Ok(());
        }
        Err(self.loss())
    }

    /// Maps what the file holds now, and forgets what was lost.
    pub fn refresh(&mut self) -> io::Result<()> {
        // SAFETY: the map is open, and nobody else uses it: `&mut self`.
        check(unsafe { sigward_map_refresh(self.map) })
    }

    fn loss(&self) -> Loss {
        let mut fault = MaybeUninit::<Fault>::zeroed();
        // SAFETY: the map is open while `self` lives; room for a fault.
        unsafe { sigward_map_status(self.map, fault.as_mut_ptr()) };
        // SAFETY: zeroed, then filled; any bytes are a Fault.
        let fault = unsafe { fault.assume_init() };
        // SAFETY: sigward ends the name with a NUL.
        let thread = unsafe { CStr::from_ptr(fault.thread.as_ptr()) };
        Loss {
            offset: fault.offset,
            cut_to: (fault.cause == TRUNCATED).then_some(fault.len_now),
            error: fault.error,
            thread: thread.to_string_lossy().into_owned(),
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the last use of the map.
        unsafe { sigward_map_close(self.map) };
    }
}

/// Maps the whole file for writing.
fn map(path: &CStr) -> io::Result<*mut c_void> {
    let options = Options {
        size: size_of::<Options>(),
        offset: 0,
        len: 0,
        writable: 1,
        copy_on_write: 0,
        populate: 0,
        no_descriptor: 0,
    };
    let mut map = ptr::null_mut();
    // SAFETY: a C string, and pointers to what they say.
    check(unsafe { sigward_map_open(path.as_ptr(), &raw const options, &raw mut map) })?;
    Ok(map)
}

fn check(status: c_int) -> io::Result<()> {
    if status < 0 { Err(io::Error::from_raw_os_error(-status)) } else { Ok(()) }
}

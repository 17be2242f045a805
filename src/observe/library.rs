//! Which library called: from the addresses that an event holds, outside the handler.
//!
//! The first address is the system call's own; it lies in the C library, or right in the caller where that makes
//! system calls by itself. Then come the words on top of the stack. The first that points into the code of an
//! object other than the C library and the loader, right behind a call, is a return address into the caller.

#[cfg(target_os = "linux")]
use super::call_site;
use super::event::Event;
use std::fmt;

/// The file name of an object, as far as it fits.
pub(super) struct Name {
    bytes: [u8; 64],
    length: usize,
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes.get(..self.length).unwrap_or_default();
        bytes.utf8_chunks().try_for_each(|chunk| out.write_str(chunk.valid()))
    }
}

impl Name {
    fn of(path: &[u8]) -> Self {
        let file = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let mut name = Self { bytes: [0; 64], length: 0 };
        for (place, byte) in name.bytes.iter_mut().zip(file) {
            *place = *byte;
            name.length += 1;
        }
        name
    }

    /// The C library, the loader, the kernel's own page and this library: never the one that meant to write or read.
    fn is_plumbing(&self) -> bool {
        const PLUMBING: [&[u8]; 7] =
            [b"libc.so", b"libc-", b"libc.musl", b"libpthread", b"ld-", b"linux-vdso", b"libsigward.so"];
        let file = self.bytes.get(..self.length).unwrap_or_default();
        PLUMBING.iter().any(|name| file.starts_with(name))
    }
}

#[cfg(target_os = "linux")]
pub(super) fn caller(event: &Event) -> Option<Name> {
    let addresses = event.stack.into_iter().map(without_signature);
    let callers = addresses.filter_map(|address| object_that_called_from(address as usize));
    object_with_code_at(event.pc as usize).into_iter().chain(callers).find(|name| !name.is_plumbing())
}

/// The address without the bits that prove where it came from: functions that were built with branch protection sign the
/// address that they return to, and keep it so in x30 and on the stack. Other words change, too, and mean nothing before and after.
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
fn without_signature(mut address: u64) -> u64 {
    // SAFETY: `xpaclri`, which does nothing on processors that do not know it: changes x30 only.
    unsafe {
        std::arch::asm!("hint #7", inout("x30") address, options(pure, nomem, nostack, preserves_flags));
    }
    address
}

#[cfg(all(target_os = "linux", not(target_arch = "aarch64")))]
fn without_signature(address: u64) -> u64 {
    address
}

#[cfg(not(target_os = "linux"))]
pub(super) fn caller(_event: &Event) -> Option<Name> {
    None
}

/// The file name of the object with code at this address. Not for handlers.
pub(crate) fn object_at(address: usize) -> Option<String> {
    #[cfg(target_os = "linux")]
    let found = object_with_code_at(address).map(|name| name.to_string());
    #[cfg(not(target_os = "linux"))]
    let found = (address == 0).then(String::new);
    found
}

/// The object whose executable segment holds `address`.
#[cfg(target_os = "linux")]
fn object_with_code_at(address: usize) -> Option<Name> {
    search(Search { address, behind_call: false, found: None })
}

/// That object, if a call returns to `address`.
#[cfg(target_os = "linux")]
fn object_that_called_from(address: usize) -> Option<Name> {
    search(Search { address, behind_call: true, found: None })
}

#[cfg(target_os = "linux")]
struct Search {
    address: usize,
    behind_call: bool,
    found: Option<Name>,
}

#[cfg(target_os = "linux")]
fn search(mut search: Search) -> Option<Name> {
    // The first kilobytes are never mapped: lengths and descriptors on the stack are no addresses.
    if search.address < 0x1000 {
        return None;
    }
    // SAFETY: `visit` takes what dl_iterate_phdr(3) passes, and `search` lives until it returns.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    search.found
}

#[cfg(target_os = "linux")]
unsafe extern "C" fn visit(
    object: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    search: *mut std::ffi::c_void,
) -> std::ffi::c_int {
    // SAFETY: dl_iterate_phdr(3) passes a live description.
    let Some(object) = (unsafe { object.as_ref() }) else { return 0 };
    // SAFETY: the pointer is the exclusive one that `object_with_code_at` passed.
    let search = unsafe { &mut *search.cast::<Search>() };
    if object.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the loader describes that many headers there, mapped while the object is.
    let headers = unsafe { std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)) };
    let holds = headers.iter().any(|header| {
        let start = (object.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
        let is_code = header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0;
        let offset = search.address.wrapping_sub(start);
        let readable = header.p_flags & libc::PF_R != 0;
        is_code
            && offset < header.p_memsz as usize
            && (!search.behind_call || readable && follows_call(search.address, offset))
    });
    if holds {
        // SAFETY: null, or a NUL-terminated name that lives while the object is loaded.
        let name =
            (!object.dlpi_name.is_null()).then(|| unsafe { std::ffi::CStr::from_ptr(object.dlpi_name) });
        // The executable has no name here.
        search.found = Some(match name.map(std::ffi::CStr::to_bytes) {
            Some(path @ [_, ..]) => Name::of(path),
            _ => executable(),
        });
    }
    std::ffi::c_int::from(holds)
}

/// Whether the instruction before `address`, `offset` bytes into a segment, is a call.
#[cfg(target_os = "linux")]
fn follows_call(address: usize, offset: usize) -> bool {
    let length = call_site::LONGEST.min(offset);
    // SAFETY: inside a segment that can be read, of an object that is not unloaded while dl_iterate_phdr(3) shows it.
    let code = unsafe { std::slice::from_raw_parts((address - length) as *const u8, length) };
    call_site::ends_in_call(code)
}

#[cfg(target_os = "linux")]
fn executable() -> Name {
    let mut path = [0_u8; 512];
    // SAFETY: `path` has that room.
    let length = unsafe { libc::readlink(c"/proc/self/exe".as_ptr(), path.as_mut_ptr().cast(), path.len()) };
    Name::of(usize::try_from(length).ok().and_then(|length| path.get(..length)).unwrap_or(b"the executable"))
}

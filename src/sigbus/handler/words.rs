//! What is said of a SIGBUS that goes on to what may end the process: which byte of which file, how
//! long that is now, what is free on its disk. Also of mappings that nobody guards.

use super::access::{self, access_of, place};
use crate::chain::{Delivery, Fault};
use crate::observe::last_words::in_handler::{Subject, Told, by, report};
use crate::observe::text::Text;
use crate::sigbus::adopted::handler::area::{Area, Scratch, area_at};
use crate::sigbus::fault::Cause;
use crate::sigbus::outside::{self, Now, cause};
use crate::sys::pages::page_size;
use std::mem::MaybeUninit;

/// Before the default action, or before the handler at this address gets it.
pub(crate) fn farewell(delivery: &Delivery<'_>, handler: Option<usize>) {
    let fault = delivery.fault();
    let subject = Subject {
        signal: delivery.signal,
        code: delivery.code().or(fault.map(|fault| fault.code)),
        address: fault.map(|fault| fault.address),
        sender: delivery.sender(),
        handler,
    };
    report(&subject, &mut |line| match &fault {
        Some(fault) if delivery.signal == libc::SIGSEGV => {
            access::tell(line, fault, handler.is_some())
        }
        Some(fault) => tell(line, fault),
        None => Told::Nothing,
    });
}

/// Says what the fault was.
fn tell(line: &mut Text<'_>, fault: &Fault) -> Told {
    line.push(access_of(fault));
    let mut scratch = Scratch::new();
    let area = area_at(fault.address, &mut scratch).filter(|area| area.file != (0, 0));
    let page = area.map_or(0, |area| area.page).max(page_size()) as u64;
    match &area {
        Some(area) => place(line, fault, area, &mut scratch),
        // Nor is one known without /proc.
        None => line.push(b" where no file is known to be mapped"),
    }
    by(line, fault.pc, fault.stack, fault.link);
    line.push(b": ");
    let Some(area) = &area else {
        // BUS_ADRALN
        line.push(if fault.code == 1 {
            b"the address is not aligned"
        } else {
            b"nobody knows why"
        });
        return Told::Cause;
    };
    let now = now(area, &scratch);
    match cause(fault.code, area.offset_at(fault.address), page, &now) {
        Cause::Truncated { len_now } => {
            line.push(b"the file is ");
            line.grouped(len_now);
            line.push(b" bytes long now");
        }
        Cause::NoSpace => {
            line.push(b"the disk is full (");
            line.grouped(now.free.unwrap_or(0));
            line.push(b" bytes free), and the file");
            line.push(if now.sparse { b" with holes".as_slice() } else { b"" });
            line.push(b" has no block there");
        }
        Cause::Hardware => line.push(outside::DAMAGED.as_bytes()),
        _ if now.length.is_none() => line.push(outside::GONE.as_bytes()),
        _ => line.push(outside::THERE.as_bytes()),
    }
    Told::Cause
}

/// The file and its disk at this moment: by the mapping itself, which only a privileged process may
/// do; else by its path, if that still names the file.
#[inline(never)]
fn now(area: &Area, scratch: &Scratch) -> Now {
    let mut room = [0; 4096];
    let mut path = Text::new(&mut room);
    path.push(b"/proc/self/map_files/");
    path.number(area.start as u64, 16);
    path.push(b"-");
    path.number(area.end as u64, 16);
    path.push(b"\0");
    if let Some(found) = status(path.bytes()) {
        return now_of(&found, path.bytes());
    }
    let Some(name) = scratch.path().filter(|name| name.len() < 4096) else { return Now::default() };
    let mut path = Text::new(&mut room);
    path.push(name);
    path.push(b"\0");
    // The device is another number there than in stat(2) on some file systems.
    match status(path.bytes()).filter(|found| found.st_ino == area.file.1) {
        Some(found) => now_of(&found, path.bytes()),
        None => Now::default(),
    }
}

fn now_of(file: &libc::stat, path: &[u8]) -> Now {
    let length = u64::try_from(file.st_size).unwrap_or(0);
    let sparse = u64::try_from(file.st_blocks).unwrap_or(0).saturating_mul(512) < length;
    Now { length: Some(length), free: free(path), sparse }
}

/// What stat(2) says of a NUL-terminated path.
#[inline(never)]
fn status(path: &[u8]) -> Option<libc::stat> {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: a NUL-terminated path and room for one struct; stat(2) is signal-safe.
    let failed = unsafe { libc::stat(path.as_ptr().cast(), status.as_mut_ptr()) } != 0;
    // SAFETY: the call returned 0, so it filled the struct.
    (!failed).then(|| unsafe { status.assume_init() })
}

/// How many bytes anybody can still have on the disk of a NUL-terminated path.
#[inline(never)]
fn free(path: &[u8]) -> Option<u64> {
    let mut room = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: a NUL-terminated path and room for one struct; a plain system call.
    let failed = unsafe { libc::syscall(libc::SYS_statfs, path.as_ptr(), room.as_mut_ptr()) } != 0;
    // SAFETY: the call returned 0, so it filled the struct.
    let room = (!failed).then(|| unsafe { room.assume_init() })?;
    // Without any blocks it has no limit: memfd_create(2), some mounts of tmpfs.
    if room.f_blocks == 0 {
        return None;
    }
    Some(room.f_bavail.saturating_mul(u64::try_from(room.f_frsize).ok()?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_disk_without_blocks_has_no_limit() {
        // SAFETY: a name and a flag; the descriptor is this test's own, and goes with the process.
        let memory = unsafe { libc::memfd_create(c"words".as_ptr(), libc::MFD_CLOEXEC) };
        assert_eq!(super::free(format!("/proc/self/fd/{memory}\0").as_bytes()), None);
        assert!(super::free(b"/\0").is_some());
        assert_eq!(super::free(b"/no such file\0"), None);
    }
}

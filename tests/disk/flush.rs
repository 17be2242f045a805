//! A flush that fails, told once, as the kernel does it: by an msync(2) of this program's own. What
//! real disks do is in `failing.rs`.

#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

use sigward::mapping::{Error, MapMut, MapOptions};
use std::ffi::{c_int, c_void};
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use support::Scratch;

static FAILS: AtomicBool = AtomicBool::new(false);
/// The failure is this program's, and a test's.
static ALONE: Mutex<()> = Mutex::new(());

/// In place of the C library's.
#[unsafe(no_mangle)]
extern "C" fn msync(start: *mut c_void, length: usize, flags: c_int) -> c_int {
    if FAILS.swap(false, Ordering::SeqCst) {
        // SAFETY: no pointers.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: this thread's own.
        unsafe { *errno = libc::EIO };
        return -1;
    }
    // SAFETY: as the caller wants it.
    unsafe { libc::syscall(libc::SYS_msync, start, length, flags) as c_int }
}

fn alone() -> impl Drop {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn file(scratch: &Scratch, name: &str) -> (PathBuf, File) {
    let path = scratch.path().join(name);
    std::fs::write(&path, [7; 8192]).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    (path, file)
}

fn has_failed(map: &MapMut) -> bool {
    match map.flush() {
        Ok(()) => false,
        Err(Error::System { call: "msync", errno: libc::EIO }) => true,
        Err(other) => panic!("{other}"),
    }
}

fn fail(map: &MapMut) {
    FAILS.store(true, Ordering::SeqCst);
    assert!(has_failed(map));
    assert!(!FAILS.load(Ordering::SeqCst));
}

#[test]
fn maps_of_one_descriptor_hear_of_a_failure_together() {
    let (_alone, scratch) = (alone(), Scratch::new("flush-shared"));
    let (_, one) = file(&scratch, "one");
    let (path, another) = file(&scratch, "another");
    let map = |file: &File| MapOptions::new().map_mut(file).unwrap();
    let (first, second, third) = (map(&one), map(&one.try_clone().unwrap()), map(&one));
    let (fourth, fifth) = (map(&another), MapMut::open(&path).unwrap());
    fail(&second);
    for map in [&first, &second, &third] {
        assert!(has_failed(map) && has_failed(map));
    }
    assert!(!has_failed(&fourth) && !has_failed(&fifth));
    // Who begins after that has missed nothing, and hears of what follows.
    let last = map(&one);
    assert!(!has_failed(&last));
    fail(&first);
    assert!(has_failed(&last));
    // What was opened by its path is nobody else's.
    fail(&fifth);
    assert!(has_failed(&fifth) && !has_failed(&fourth));
}

#[test]
fn a_map_that_moves_takes_its_failure_along() {
    let (_alone, scratch) = (alone(), Scratch::new("flush-moved"));
    let (path, one) = file(&scratch, "one");
    let options = MapOptions::new().reserve_slowly(true);
    for mut map in [options.open_mut(&path).unwrap(), options.map_mut(&one).unwrap()] {
        let before = map.as_ptr();
        fail(&map);
        map.grow(map.len() as u64 * 2).unwrap();
        assert_ne!(map.as_ptr(), before);
        assert!(has_failed(&map));
    }
}

//! Dies of a mapped file that is cut, in a function with a mangled name.
use std::os::fd::AsRawFd;

unsafe extern "C" {
    fn mmap(at: *mut u8, size: usize, protection: i32, flags: i32, fd: i32, from: i64) -> *mut u8;
}

mod inner {
    #[inline(never)]
    pub fn look(map: *const u8, at: usize) -> u8 {
        unsafe { map.add(at).read_volatile() }
    }
}

fn main() {
    let path = std::env::args().nth(2).unwrap();
    let file = std::fs::File::create(&path).unwrap();
    let file = { drop(file); std::fs::File::options().read(true).write(true).open(&path).unwrap() };
    file.set_len(1 << 20).unwrap();
    let map = unsafe { mmap(std::ptr::null_mut(), 1 << 20, 1, 1, file.as_raw_fd(), 0) };
    file.set_len(0).unwrap();
    println!("{}", inner::look(map, 81925));
}

//! A user of memmap2 with a Rust `main`: map SCENARIO FOLDER. std's handler of SIGBUS is the
//! predecessor.

use memmap2::{Mmap, MmapMut};
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::path::{Path, PathBuf};

const LENGTH: usize = 1 << 16;
/// Inside a page: what is left of that page reads as zeros without any signal.
const CUT: usize = 10_000;

#[cfg(feature = "warded")]
mod guard {
    use super::LENGTH;
    use sigward::mapping::{Adopted, adopt_range};
    use std::fs::File;
    use std::os::fd::AsFd as _;

    pub struct Guard(Adopted);

    impl Guard {
        pub fn over(mapped: &[u8], file: &File) -> Self {
            let adopted =
                adopt_range(mapped.as_ptr(), mapped.len(), Some(file.as_fd()), 0).expect("adopt");
            // For the scenario that writes: without a sink the first lost page would be the end.
            adopted.sink(LENGTH as u64);
            Self(adopted)
        }

        pub fn status(&self) -> String {
            self.0.status().map_or("intact".into(), |fault| {
                let kind = if fault.write != 0 { "write" } else { "read" };
                format!("{:?} at {} by a {kind}", fault.cause(), fault.offset)
            })
        }

        pub fn heal(&mut self) {
            // SAFETY: nobody else looks at the pages.
            unsafe { self.0.heal() }.expect("heal");
        }
    }

    pub fn restore() {
        sigward::mapping::restore().expect("restore");
    }
}

#[cfg(not(feature = "warded"))]
mod guard {
    use std::fs::File;

    pub struct Guard;

    impl Guard {
        pub fn over(_: &[u8], _: &File) -> Self {
            Self
        }

        pub fn status(&self) -> String {
            "bare".into()
        }

        pub fn heal(&mut self) {}
    }

    pub fn restore() {}
}

use guard::Guard;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let scenario = arguments.next().expect("SCENARIO");
    let folder = PathBuf::from(arguments.next().expect("FOLDER"));
    let before = bus_handler();
    let file = make(&folder.join("map"));
    match scenario.as_str() {
        "read" => read(&file),
        "threads" => threads(&file),
        "write" => write(&file),
        "kill" => kill(&file, false),
        "kill_twice" => kill(&file, true),
        "another" => another(&file, &folder),
        "overflow" => overflow(&file),
        "restore" => restore(&file, before),
        _ => panic!("{scenario}"),
    }
}

fn content() -> Vec<u8> {
    (0..LENGTH).map(|at| (at % 251 + 1) as u8).collect()
}

fn left() -> Vec<u8> {
    let mut left = content();
    left[CUT..].fill(0);
    left
}

fn make(path: &Path) -> File {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .expect("open");
    fill(&file);
    file
}

fn fill(file: &File) {
    std::os::unix::fs::FileExt::write_all_at(file, &content(), 0).expect("write");
}

fn map(file: &File) -> Mmap {
    // SAFETY: what it says of other writers is what these scenarios are about.
    unsafe { Mmap::map(file) }.expect("mmap")
}

fn cut(file: &File) {
    file.set_len(CUT as u64).expect("truncate");
}

fn bus_handler() -> usize {
    // SAFETY: zeros are a valid sigaction.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: reads the table into `now`.
    unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut now) };
    now.sa_sigaction
}

fn send_bus() {
    // SAFETY: our own process.
    unsafe { libc::kill(libc::getpid(), libc::SIGBUS) };
}

/// Truncated under a copy, healed, and again.
fn read(file: &File) {
    let mapped = map(file);
    let mut guard = Guard::over(&mapped, file);
    for _ in 0..3 {
        cut(file);
        println!("{} {}", black_box(&mapped).to_vec() == left(), guard.status());
        fill(file);
        guard.heal();
        println!("{} {}", black_box(&mapped).to_vec() == content(), guard.status());
    }
}

/// The same pages on many threads at once.
fn threads(file: &File) {
    let mapped = map(file);
    let guard = Guard::over(&mapped, file);
    cut(file);
    let right = std::thread::scope(|scope| {
        let read = || black_box(&mapped[..]).to_vec() == left();
        let readers: Vec<_> = (0..8).map(|_| scope.spawn(read)).collect();
        readers.into_iter().filter_map(|reader| reader.join().ok()).filter(|right| *right).count()
    });
    println!("{right} {}", guard.status());
}

fn write(file: &File) {
    // SAFETY: as in `map`.
    let mut mapped = unsafe { MmapMut::map_mut(file) }.expect("mmap");
    let guard = Guard::over(&mapped, file);
    cut(file);
    mapped[LENGTH - 1] = 7;
    black_box(&mapped);
    println!("{} {}", file.metadata().expect("metadata").len(), guard.status());
}

/// std's handler sets SIG_DFL and returns, for what it does not know: where it set that, we stood.
fn kill(file: &File, twice: bool) {
    let mapped = map(file);
    let guard = Guard::over(&mapped, file);
    send_bus();
    println!("lived");
    if twice {
        send_bus();
    }
    cut(file);
    println!("{} {}", black_box(&mapped).to_vec() == left(), guard.status());
}

/// A map that nobody has adopted.
fn another(file: &File, folder: &Path) {
    let mapped = map(file);
    let _guard = Guard::over(&mapped, file);
    let other = make(&folder.join("other"));
    let lost = map(&other);
    cut(&other);
    println!("next: a death");
    println!("{}", black_box(&lost)[LENGTH - 1]);
}

/// A fault of ours first, then a stack overflow.
fn overflow(file: &File) {
    let mapped = map(file);
    let guard = Guard::over(&mapped, file);
    if cfg!(feature = "warded") {
        cut(file);
        println!("{} {}", black_box(&mapped).to_vec() == left(), guard.status());
    }
    println!("{}", deeper(1));
}

fn deeper(depth: u64) -> u64 {
    let room = black_box([depth; 512]);
    if depth == u64::MAX { 0 } else { deeper(depth + 1) + room[(depth % 512) as usize] }
}

/// When we leave, std's handler stands where it stood.
fn restore(file: &File, before: usize) {
    let mapped = map(file);
    drop(Guard::over(&mapped, file));
    guard::restore();
    println!("{}", bus_handler() == before);
    cut(file);
    println!("{}", black_box(&mapped)[LENGTH - 1]);
}

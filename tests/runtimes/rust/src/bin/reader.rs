//! reader.c in Rust: reader FILE STOP LEAST [blind]. Bare the map is memmap2's.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{Ordering, fence};

#[cfg(feature = "warded")]
struct Map(sigward::mapping::Map);

#[cfg(feature = "warded")]
impl Map {
    fn open(path: &str) -> Self {
        Self(sigward::mapping::Map::open(path).expect("open"))
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: bytes that change meanwhile are copied at once, and looked at afterwards.
        unsafe { self.0.as_slice() }
    }

    fn lost_from(&self) -> usize {
        usize::try_from(self.0.poison()).unwrap_or(usize::MAX)
    }

    fn refresh(&mut self) {
        self.0.refresh().expect("refresh");
    }
}

#[cfg(not(feature = "warded"))]
struct Map(memmap2::Mmap);

#[cfg(not(feature = "warded"))]
impl Map {
    fn open(path: &str) -> Self {
        let file = File::open(path).expect("open");
        // SAFETY: as in map.rs.
        Self(unsafe { memmap2::Mmap::map(&file) }.expect("mmap"))
    }

    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn lost_from(&self) -> usize {
        usize::MAX
    }

    fn refresh(&mut self) {}
}

fn judge(seen: &[u8], content: &[u8]) {
    let content = &content[..seen.len()];
    if seen == content {
        return;
    }
    if let Some(at) = (0..seen.len()).find(|&at| seen[at] != content[at]) {
        eprintln!("{} at {at}", if seen[at] == 0 { "zero" } else { "wrong" });
        std::process::exit(1);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, path, stop, least, blind @ ..] = &arguments[..] else { panic!("FILE STOP LEAST") };
    let least: u64 = least.parse().expect("a number");
    let whole = File::open(path).and_then(|file| file.metadata()).expect("a file").len() as usize;
    let mut map = Map::open(path);
    let content: Vec<u8> = (0..whole).map(|at| (at % 251 + 1) as u8).collect();
    let (mut reads, mut losses) = (0_u64, 0_u64);
    println!("ready");
    while !Path::new(stop).exists() {
        let seen = map.bytes().to_vec();
        fence(Ordering::SeqCst);
        let lost = map.lost_from();
        let is_lost = lost < seen.len();
        judge(if is_lost && blind.is_empty() { &seen[..lost] } else { &seen }, &content);
        reads += 1;
        losses += u64::from(is_lost);
        if is_lost && losses == least {
            println!("enough");
        }
        if is_lost || seen.len() < whole {
            map.refresh();
        }
    }
    println!("reads {reads} losses {losses}");
}

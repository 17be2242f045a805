//! Images of logs: `cargo fuzz run log_image`. The suite has a short run of the same with images
//! that are always the same ones (tests/log/log_image.rs).

#![no_main]

#[path = "../../tests/support/log_image.rs"]
mod log_image;

use libfuzzer_sys::fuzz_target;
use log_image::{Counting, Good, hold};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn places() -> &'static (PathBuf, PathBuf, Good) {
    static MADE: OnceLock<(PathBuf, PathBuf, Good)> = OnceLock::new();
    MADE.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let folder = parent.join(format!("sigward-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("writable");
        let good = Good::make(&folder.join("log"), &[0, 1, 40, 900, 5000, 3, 70], 3, false);
        (folder.join("log"), folder.join("saved"), good)
    })
}

fuzz_target!(|data: &[u8]| {
    let (path, saved, good) = places();
    match data.split_first() {
        // A log in which some bytes are others: offset (2), byte.
        Some((0..=127, changes)) => {
            let mut image = good.image.clone();
            for change in changes.chunks_exact(3) {
                let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
                if let Some(byte) = image.get_mut(at) {
                    *byte ^= change[2];
                }
            }
            hold(path, saved, &image, Some(good));
        }
        // The whole of it, behind a header or not.
        Some((128..=191, rest)) => hold(path, saved, &[&good.image[..8192], rest].concat(), None),
        Some((_, rest)) => hold(path, saved, rest, None),
        None => {}
    }
});

//! What it costs to give a file new contents: rows for `benches/run`.
//!
//! `replace_file` of 4 MiB against what a shell would do, `cp` over the live file and sync(1) of it
//! (which also starts two programs), and against `std::fs::copy` with fsync(2), which starts none;
//! neither survives a crash half-way. And 64 KiB from memory against the crate atomic-write-file,
//! which has the same promise but for owners, attributes and a folder on the disk. The sides take
//! turns.

mod table;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use table::row;

const LARGE: usize = 4 << 20;
const SMALL: usize = 64 << 10;
const ROUNDS: u32 = 40;

fn main() -> io::Result<()> {
    let folder =
        std::env::args().find_map(|argument| argument.strip_prefix("folder=").map(PathBuf::from));
    let folder =
        folder.unwrap_or_else(std::env::temp_dir).join(format!("replace-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let result = rows(&folder);
    fs::remove_dir_all(&folder)?;
    result
}

fn rows(folder: &Path) -> io::Result<()> {
    let (new, live) = (folder.join("new"), folder.join("live"));
    let contents = |round: u32, length| vec![round as u8; length];
    let mut ours = |round| {
        fs::write(&new, contents(round, LARGE))?;
        File::open(&new)?.sync_all()?; // what is to be written is the copy alone
        time(&live, round, || Ok(sigward::file::replace_file(&new, &live)?))
    };
    let shell = |round| {
        fs::write(&new, contents(round, LARGE))?;
        File::open(&new)?.sync_all()?;
        time(&live, round, || {
            let done = Command::new("sh")
                .args(["-c", r#"cp "$1" "$2" && sync "$2""#, "sh"])
                .arg(&new)
                .arg(&live)
                .status()?;
            if done.success() { Ok(()) } else { Err(io::Error::other("cp && sync")) }
        })
    };
    let std_copy = |round| {
        fs::write(&new, contents(round, LARGE))?;
        File::open(&new)?.sync_all()?;
        time(&live, round, || {
            fs::copy(&new, &live)?;
            File::open(&live)?.sync_all()
        })
    };
    row("replace_file 4 MiB / cp && sync", &pairs(&mut ours, &shell)?, "-");
    row("replace_file 4 MiB / fs::copy, fsync", &pairs(&mut ours, &std_copy)?, "-");
    let mut ours = |round| {
        let contents = contents(round, SMALL);
        time(&live, round, || {
            let mut new = sigward::file::Replacement::create(&live)?;
            new.write_all(&contents)?;
            Ok(new.commit()?)
        })
    };
    let crates = |round| {
        let contents = contents(round, SMALL);
        time(&live, round, || {
            let mut new = atomic_write_file::AtomicWriteFile::open(&live)?;
            new.write_all(&contents)?;
            new.commit()
        })
    };
    row("Replacement 64 KiB / atomic-write-file", &pairs(&mut ours, &crates)?, "1.1");
    Ok(())
}

/// Nanoseconds that the work took. A file that is another one than it should be ends the run.
fn time(live: &Path, round: u32, work: impl FnOnce() -> io::Result<()>) -> io::Result<f64> {
    let start = Instant::now();
    work()?;
    let took = start.elapsed().as_secs_f64() * 1e9;
    let found = fs::read(live)?;
    if found.is_empty() || found.iter().any(|byte| *byte != round as u8) {
        return Err(io::Error::other("the file has other contents"));
    }
    Ok(took)
}

fn pairs(
    ours: &mut dyn FnMut(u32) -> io::Result<f64>,
    peer: &dyn Fn(u32) -> io::Result<f64>,
) -> io::Result<Vec<(f64, f64)>> {
    let mut pairs = Vec::new();
    for round in 0..ROUNDS {
        // Who goes first changes.
        pairs.push(if round % 2 == 0 {
            (ours(2 * round)?, peer(2 * round + 1)?)
        } else {
            let peer = peer(2 * round)?;
            (ours(2 * round + 1)?, peer)
        });
    }
    Ok(pairs)
}

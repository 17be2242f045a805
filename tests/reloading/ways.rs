//! What the tests of reloading have in common.

#![allow(dead_code, reason = "each test binary uses its own part")]

use sigward::reloading::{Contents, Event, Options, Problem, Reason, Reloading};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const HOUR: Duration = Duration::from_secs(3600);
/// For what comes at once, on a machine with much else to do.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A generation is its number, again and again: a mixture of two is seen at once.
pub fn generation(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(10_000 + (number % 3) as usize * 2_000)
}

/// Which one it is, if it is whole.
pub fn number_of(bytes: &[u8]) -> Option<u64> {
    let number = u64::from_le_bytes(bytes.first_chunk::<8>().copied()?);
    (bytes == generation(number)).then_some(number)
}

pub fn whole(contents: Contents) -> Result<Contents, String> {
    match number_of(&contents) {
        Some(_) => Ok(contents),
        None => Err(format!("{} bytes of no generation", contents.len())),
    }
}

#[allow(clippy::unnecessary_wraps, reason = "a parser")]
pub fn anything(contents: Contents) -> Result<Contents, String> {
    Ok(contents)
}

#[allow(clippy::needless_pass_by_value, reason = "a parser")]
pub fn text(contents: Contents) -> Result<String, std::str::Utf8Error> {
    std::str::from_utf8(&contents).map(String::from)
}

/// Waits until it is so; the tests have no other clock.
#[track_caller]
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn hourly<T: Send + Sync + 'static>() -> Options<T> {
    Options::new().tick(HOUR)
}

#[track_caller]
pub fn becomes(file: &Reloading<String>, want: &str) {
    until(want, || file.get().value == want);
    assert!(file.last_error().is_none(), "{:?}", file.last_error());
}

#[track_caller]
pub fn problem<T>(file: &Reloading<T>, so: impl Fn(&Reason) -> bool) -> Arc<Problem> {
    let mut found = None;
    until("a problem", || {
        found = file.last_error().filter(|problem| so(&problem.reason));
        found.is_some()
    });
    found.unwrap()
}

/// Tells every version that was ever served from the others, by the callback; `parse` takes all.
pub struct Served {
    pub file: Reloading<Contents>,
    pub torn: Arc<Mutex<Vec<usize>>>,
}

impl Served {
    pub fn open(options: Options<Contents>, path: &Path) -> Self {
        let torn = Arc::<Mutex<Vec<usize>>>::default();
        let into = torn.clone();
        let options = options.on_event(move |event: Event<'_, Contents>| match event {
            Event::Loaded(version) if number_of(&version.value).is_none() => {
                into.lock().unwrap().push(version.value.len());
            }
            _ => {}
        });
        let file = options.open(path, anything).unwrap();
        assert!(number_of(&file.get().value).is_some());
        Self { file, torn }
    }

    /// This generation arrives, and nothing else has.
    #[track_caller]
    pub fn becomes(&self, number: u64, how: &str) {
        let began = Instant::now();
        while number_of(&self.file.get().value) != Some(number) {
            assert!(began.elapsed() < PATIENCE, "{how}: never {number}: {:#?}", self.file.status());
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(
            self.torn.lock().unwrap().is_empty(),
            "{how}: half a file was served: {:?}",
            self.torn
        );
    }
}

pub fn shell(script: &str, arguments: &[&Path]) {
    let mut shell = Command::new("sh");
    let run = shell.args(["-ec", script, "sh"]).args(arguments).output().unwrap();
    assert!(run.status.success(), "{script}: {}", String::from_utf8_lossy(&run.stderr));
}

/// Half, and after a while the rest.
pub fn in_halves(path: &Path, bytes: &[u8]) {
    in_halves_when(path, bytes, || std::thread::sleep(Duration::from_millis(200)));
}

/// Half, and the rest when `wait` comes back.
pub fn in_halves_when(path: &Path, bytes: &[u8], wait: impl FnOnce()) {
    let mut file = File::options().write(true).truncate(true).open(path).unwrap();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    file.write_all(first).unwrap();
    wait();
    file.write_all(second).unwrap();
}

/// Writes over the file in place, piece by piece.
pub fn write_over(path: &Path, bytes: &[u8], piece: usize, pause: Duration) {
    let mut file = File::options().write(true).truncate(true).open(path).unwrap();
    for piece in bytes.chunks(piece) {
        file.write_all(piece).unwrap();
        std::thread::sleep(pause);
    }
}

/// The ways in which a file gets new contents, by turns.
pub fn update(live: &Path, turn: u64, bytes: &[u8]) {
    let beside = live.with_extension("next");
    match turn % 6 {
        0 => {
            fs::write(&beside, bytes).unwrap();
            assert!(Command::new("cp").arg(&beside).arg(live).status().unwrap().success());
        }
        1 => {
            fs::write(&beside, bytes).unwrap();
            fs::rename(&beside, live).unwrap();
        }
        2 => write_over(live, bytes, 64 << 10, Duration::from_millis(1)),
        // Stays at the half for a while.
        3 => write_over(live, bytes, bytes.len() / 2 + 1, Duration::from_millis(60)),
        // No cut: over the old bytes, and then to its length.
        4 => {
            let mut file = File::options().write(true).open(live).unwrap();
            for piece in bytes.chunks(128 << 10) {
                file.write_all(piece).unwrap();
                std::thread::yield_now();
            }
            file.set_len(bytes.len() as u64).unwrap();
        }
        _ => {
            let mut new = sigward::file::Replacement::create(live).unwrap();
            new.write_all(bytes).unwrap();
            new.commit().unwrap();
        }
    }
}

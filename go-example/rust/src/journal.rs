//! The journal: every order as one line in a mapped file that grows by ftruncate(2), written by a
//! thread of its own.
//!
//! Growing so is cheap, and promises nothing: the file gets a length and no space. Space is found
//! when a page is first written to. If there is none, that write is a SIGBUS; and so is the next
//! one after somebody else has opened the file with `O_TRUNC`. Where the map is guarded
//! ([`crate::mapped`]) both are a [`Loss`]: the line stays here, the map is refreshed, and the line
//! is written again, until it is in the file.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::counters::COUNTERS;
use crate::mapped::{Loss, Mapped};

/// The file grows by this much.
const STEP: u64 = 1 << 20;
/// Pause before the next attempt to write what did not fit.
const RETRY: Duration = Duration::from_millis(10);

/// Lines on their way to the file.
pub struct Journal {
    waiting: Mutex<VecDeque<Vec<u8>>>,
    arrived: Condvar,
}

impl Journal {
    /// An empty journal.
    pub const fn new() -> Self {
        Self { waiting: Mutex::new(VecDeque::new()), arrived: Condvar::new() }
    }

    /// Hands a line over.
    pub fn append(&self, sequence: u64, event: &str) {
        self.lock().push_back(format!("{sequence} {event}\n").into_bytes());
        self.arrived.notify_one();
    }

    /// Makes the file, and starts the thread that writes to it.
    pub fn start(&'static self, path: PathBuf) -> io::Result<()> {
        let file = Mapped::create(&path, STEP)?;
        let writer = Writer { file, end: 0, path, lost: None };
        thread::Builder::new().name("rust-journal".into()).spawn(move || self.write(writer))?;
        Ok(())
    }

    fn write(&self, mut writer: Writer) {
        loop {
            let line = self.next();
            while let Err(trouble) = writer.append(&line) {
                writer.report(&trouble, self.lock().len());
                writer.recover(&trouble);
            }
            writer.report_end();
            COUNTERS.journaled.fetch_add(1, Relaxed);
        }
    }

    fn next(&self) -> Vec<u8> {
        let mut waiting = self.lock();
        loop {
            if let Some(line) = waiting.pop_front() {
                return line;
            }
            waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file, and where its next line goes.
struct Writer {
    file: Mapped,
    end: u64,
    path: PathBuf,
    /// What was reported and is not over.
    lost: Option<&'static str>,
}

enum Trouble {
    Lost(Loss),
    Growing(io::Error),
}

impl Trouble {
    fn name(&self) -> &'static str {
        match self {
            Self::Lost(Loss { cut_to: Some(_), .. }) => "cut",
            Self::Lost(_) => "no space",
            Self::Growing(_) => "growing",
        }
    }
}

impl Writer {
    fn append(&mut self, line: &[u8]) -> Result<(), Trouble> {
        let next = self.end + line.len() as u64;
        if next > self.file.length() {
            self.file.set_length(next.next_multiple_of(STEP)).map_err(Trouble::Growing)?;
        }
        self.file.write_at(self.end, line).map_err(Trouble::Lost)?;
        self.end = next;
        Ok(())
    }

    /// After a truncation the file begins anew; space may come back by itself.
    fn recover(&mut self, trouble: &Trouble) {
        let cut_to = if let Trouble::Lost(loss) = trouble { loss.cut_to } else { None };
        let recovered = if let Some(length) = cut_to {
            self.end = self.end.min(length);
            self.file.set_length(self.end + STEP)
        } else {
            thread::sleep(RETRY);
            self.file.refresh()
        };
        if recovered.is_err() {
            thread::sleep(RETRY);
        }
    }

    /// One line on stderr for each trouble, however often it is met until it is over.
    fn report(&mut self, trouble: &Trouble, waiting: usize) {
        if self.lost == Some(trouble.name()) {
            return;
        }
        self.lost = Some(trouble.name());
        let path = self.path.display();
        match trouble {
            Trouble::Lost(loss) => {
                let counter = if loss.cut_to.is_some() {
                    &COUNTERS.journal_cut
                } else {
                    &COUNTERS.journal_no_space
                };
                counter.fetch_add(1, Relaxed);
                tell(&format!("journal {path}: {loss}; {waiting} more wait"));
            }
            Trouble::Growing(error) => {
                tell(&format!("journal {path}: {error}; {waiting} more wait"))
            }
        }
    }

    fn report_end(&mut self) {
        if self.lost.take().is_some() {
            tell(&format!("journal {}: goes on at offset {}", self.path.display(), self.end));
        }
    }
}

/// A line on stderr in one write(2): `eprintln!` makes one for each piece of it, and Go's lines
/// come in between.
fn tell(line: &str) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

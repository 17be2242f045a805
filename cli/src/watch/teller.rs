//! Lines are written by a thread of their own: a reader that is slow, or does not read at all, must
//! not hold the watched program, which would stop at its next signal until we come.

use crate::report::say;
use std::io::Write;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Lines that may wait.
const ROOM: usize = 4096;
/// How long the end waits for a reader.
const PATIENCE: Duration = Duration::from_secs(2);

/// The way to the writing thread.
pub struct Teller {
    lines: Option<SyncSender<String>>,
    left_out: u64,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// The errno value of the write that has failed: nobody reads any more.
    deaf: AtomicI32,
    done: Mutex<bool>,
    woken: Condvar,
}

impl Teller {
    /// Starts the thread.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        let (lines, waiting) = sync_channel(ROOM);
        let state = Arc::new(State::default());
        let of_thread = Arc::clone(&state);
        std::thread::spawn(move || write_all(out, &waiting, &of_thread));
        Self { lines: Some(lines), left_out: 0, state }
    }

    /// Hands a line over, or counts it where too many wait.
    pub fn tell(&mut self, line: String) {
        let Some(lines) = &self.lines else { return };
        let line = match self.left_out {
            0 => line,
            count => {
                format!("{line}\nsigward: {count} lines were left out before: nobody has read them")
            }
        };
        match lines.try_send(line) {
            Ok(()) => self.left_out = 0,
            Err(TrySendError::Full(_)) => self.left_out += 1,
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// The errno value with which a line could not be written, after which none is; 0 until then.
    pub fn deaf(&self) -> i32 {
        self.state.deaf.load(Ordering::Relaxed)
    }

    /// Waits until all is written, but not for ever; then the same.
    pub fn end(&mut self) -> i32 {
        self.lines = None;
        let done = self.state.done.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.state.woken.wait_timeout_while(done, PATIENCE, |done| !*done);
        self.deaf()
    }
}

fn write_all(mut out: Box<dyn Write + Send>, lines: &Receiver<String>, state: &State) {
    while let Ok(line) = lines.recv() {
        if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            if errno != libc::EPIPE {
                say(format!("sigward: what is told cannot be written: {error}: nothing more is"));
            }
            state.deaf.store(errno, Ordering::Relaxed);
            break;
        }
    }
    *state.done.lock().unwrap_or_else(PoisonError::into_inner) = true;
    state.woken.notify_all();
}

#[cfg(test)]
mod tests {
    use super::{ROOM, Teller};
    use std::io::{self, Write};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    /// A reader that takes a line when it is told to.
    struct Slow(Receiver<()>, Sender<String>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.1.send(text).map_err(io::Error::other)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_holds_nobody() {
        let (read, may_read) = channel();
        let (written, text) = channel();
        let mut teller = Teller::new(Box::new(Slow(may_read, written)));
        for line in 0..ROOM + 100 {
            teller.tell(line.to_string());
        }
        assert!(teller.left_out >= 98, "{}", teller.left_out);
        for _ in 0..2 * ROOM + 20 {
            let _ = read.send(());
        }
        // One line at least has its place again.
        let _ = text.recv();
        while teller.left_out > 0 {
            teller.tell("late".to_owned());
        }
        let mut all = String::new();
        while !all.contains("lines were left out before") {
            let next = text.recv_timeout(Duration::from_secs(60));
            all += &next.unwrap_or_else(|_| panic!("it does not come: {}", all.len()));
        }
    }
}

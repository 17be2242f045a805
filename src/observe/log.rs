//! One line on stderr for each event, if asked: written inside the handler, so that it is there
//! whatever happens next.
//!
//! It is asked for with [`to_stderr`] or, without touching the program, with `SIGWARD_LOG=stderr`
//! in the environment. The line lacks only the calling library, which cannot be asked for in a
//! handler. Nothing waits: if stderr would block or is broken itself, the line is left out. It is
//! one write of less than PIPE_BUF bytes, so lines of threads do not mix.
//!
//! stderr is what descriptor 2 stands for when the lines are asked for. If the process closes it
//! and the number becomes another file's, a connection's or a data file's, no line is written
//! there.

use super::event::{Event, FdKind};
use super::in_handler::status;
use super::text::Text;
use std::sync::atomic::{AtomicU64, Ordering};

/// What stderr stood for when it was asked for; 0 if it was not.
static WANTED: AtomicU64 = AtomicU64::new(0);
/// What it stood for when the first seat was taken, or the lines were asked for; 0 if it was
/// closed.
static FIRST: AtomicU64 = AtomicU64::new(0);

/// Starts or stops the lines on stderr: on what descriptor 2 stands for now. Whoever redirects it
/// later asks again. Signal-safe, thread-safe; a forked child goes on as its parent.
#[doc(alias = "SIGWARD_LOG")]
#[doc(alias = "SIGWARD_LOG_STDERR")]
pub fn to_stderr(wanted: bool) {
    let now = stderr();
    if wanted {
        FIRST.store(now, Ordering::Relaxed);
    }
    WANTED.store(if wanted { now } else { 0 }, Ordering::Relaxed);
}

/// What descriptor 2 stands for now; 0 if it is closed.
#[allow(clippy::unnecessary_cast, reason = "other systems have narrower numbers")]
fn stderr() -> u64 {
    let mixed = |status: libc::stat| status.st_ino as u64 ^ (status.st_dev as u64) << 40;
    status(libc::STDERR_FILENO)
        .map_or(0, |status| mixed(status).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
}

/// Looks into the environment. Not for handlers.
#[cold]
pub(crate) fn read_environment() {
    // One step: a page that is read before it is written costs two faults.
    let _ = FIRST.compare_exchange(0, stderr(), Ordering::Relaxed, Ordering::Relaxed);
    // SAFETY: a NUL-terminated name. Constructors and `init` come before anybody changes the
    // environment.
    let value = unsafe { libc::getenv(c"SIGWARD_LOG".as_ptr()) };
    // SAFETY: null, or a NUL-terminated value.
    let asked = !value.is_null() && unsafe { std::ffi::CStr::from_ptr(value) } == c"stderr";
    // Once: what was asked for at the start is not what descriptor 2 became later.
    if asked && WANTED.load(Ordering::Relaxed) == 0 {
        to_stderr(true);
    }
}

/// Writes the line for `event`, if wanted. Signal-safe.
pub(crate) fn in_handler(event: &Event) {
    let wanted = WANTED.load(Ordering::Relaxed);
    if wanted == 0 || event.fd == libc::STDERR_FILENO {
        return;
    }
    write_line(event, wanted);
}

#[cold]
#[inline(never)]
fn write_line(event: &Event, wanted: u64) {
    if stderr() == wanted {
        let mut room = [0; ROOM];
        line(event, &mut room).write_to(libc::STDERR_FILENO);
    }
}

/// Whether descriptor 2 is what it was when the first seat was taken, or lines were asked for.
/// `known` is the answer where it was closed then.
#[cfg(target_os = "linux")]
pub(super) fn is_first_stderr(known: bool) -> bool {
    let first = FIRST.load(Ordering::Relaxed);
    if first == 0 { known } else { stderr() == first }
}

/// From now on lines about the end of the process go to what descriptor 2 stands for now.
#[cfg(target_os = "linux")]
pub(super) fn remember_stderr() {
    FIRST.store(stderr(), Ordering::Relaxed);
}

/// Writes the line for an event that ends the process, to stderr and to `other`. Signal-safe.
#[cfg(target_os = "linux")]
pub(super) fn last_words(event: &Event, other: Option<std::ffi::c_int>) {
    let mut room = [0; ROOM];
    let mut line = Text::new(&mut room);
    line.push(b"sigward: last words: ");
    loss(&mut line, event);
    write_last(&line, other, true);
}

/// Writes a line to stderr, if it is still what it was, and to `other`.
#[cfg(target_os = "linux")]
pub(super) fn write_last(line: &Text<'_>, other: Option<std::ffi::c_int>, if_unknown: bool) {
    if is_first_stderr(if_unknown) {
        line.write_to(libc::STDERR_FILENO);
    }
    if let Some(other) = other.filter(|other| *other != libc::STDERR_FILENO) {
        line.write_to(other);
    }
}

const ROOM: usize = 256;

fn line<'a>(event: &Event, room: &'a mut [u8; ROOM]) -> Text<'a> {
    let mut line = Text::new(room);
    if event.kind() == FdKind::Map {
        line.push(b"sigward: SIGBUS caught: ");
        loss(&mut line, event);
        return line;
    }
    line.push(b"sigward: SIGPIPE swallowed: ");
    line.push(event.operation_c_name().map_or(b"a write".as_slice(), std::ffi::CStr::to_bytes));
    line.thread(event);
    line.push(b" to ");
    line.target(event);
    if event.result < 0 {
        line.push(b": EPIPE\n");
    } else {
        line.push(b": ");
        line.number(event.result.unsigned_abs(), 10);
        line.push(b" bytes, then it broke\n");
    }
    line
}

/// The last bytes tell most, so it is the path that is cut to fit.
fn loss(line: &mut Text<'_>, event: &Event) {
    const REST: usize = 88;
    line.push(if event.write == 1 { b"write" } else { b"read" });
    line.thread(event);
    line.push(b" of the map of ");
    let path =
        event.map_path().map_or(b"a file".as_slice(), |path| path.as_os_str().as_encoded_bytes());
    let room = line.left().saturating_sub(REST);
    line.push_name(path.get(path.len().saturating_sub(room)..).unwrap_or_default());
    line.push(b" (inode ");
    line.number(event.inode, 10);
    line.push(b"): lost from byte ");
    line.number(event.offset, 10);
    line.push(b" on: ");
    line.push(event.cause_text().as_bytes());
    if event.cause == 1 {
        line.push(b" to ");
        line.number(event.len_now, 10);
        line.push(b" bytes");
    }
    line.push(b"\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(event: &Event) -> String {
        String::from_utf8(line(event, &mut [0; ROOM]).bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_line_says_what_the_event_says() {
        let mut event = Event::blank(13);
        (event.tid, event.fd, event.fd_kind, event.inode, event.result) = (7, 9, 2, 12345, -32);
        for (place, byte) in event.thread.iter_mut().zip(b"rust-io") {
            *place = *byte as std::ffi::c_char;
        }
        event.peer[..8].copy_from_slice(&[2, 0, 0x1f, 0x90, 127, 0, 0, 1]);
        event.peer_len = 16;
        let wanted = "sigward: SIGPIPE swallowed: a write on thread \"rust-io\" (tid 7) to fd 9 (socket:[12345], \
                      peer 127.0.0.1:8080): EPIPE\n";
        assert_eq!(text(&event), wanted);
        assert_eq!(wanted, format!("sigward: {event}\n"));
        event.peer[..28].fill(0);
        event.peer[..10].copy_from_slice(&[10, 0, 1, 0xbb, 0, 0, 0, 0, 0x20, 1]);
        (event.peer[23], event.peer_len) = (0xab, 28);
        assert!(
            text(&event).contains("], peer [2001:0:0:0:0:0:0:ab]:443): EPIPE\n"),
            "{}",
            text(&event)
        );
        (event.fd, event.fd_kind, event.result) = (-1, 0, 4096);
        assert!(text(&event).ends_with("to an unknown fd: 4096 bytes, then it broke\n"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_readme_shows_such_lines() {
        let mut event = Event::blank(libc::SIGPIPE);
        (event.tid, event.fd, event.fd_kind, event.inode, event.result) =
            (975, 15, 2, 801_220, -32);
        event.operation = libc::SYS_writev as u32;
        event.peer[..8].copy_from_slice(&[2, 0, 0x73, 0x20, 127, 0, 0, 1]);
        event.peer_len = 16;
        let mut loss = Event::blank(libc::SIGBUS);
        (loss.tid, loss.fd, loss.fd_kind, loss.inode) = (981, 7, 4, 1204);
        (loss.cause, loss.offset, loss.len_now) = (1, 131_072, 131_072);
        loss.set_path(c"/srv/city.mmdb".as_ptr());
        for (event, name) in [(&mut event, &b"rust-shipper"[..]), (&mut loss, b"geoip")] {
            for (place, byte) in event.thread.iter_mut().zip(name) {
                *place = *byte as std::ffi::c_char;
            }
            assert!(include_str!("../../README.md").contains(&text(event)), "{}", text(event));
        }
    }

    #[test]
    fn a_long_line_is_cut_and_not_overrun() {
        let mut event = Event::blank(13);
        (event.fd, event.fd_kind, event.inode) = (i32::MAX, 2, u64::MAX);
        event.peer = [b'x'; 112];
        event.peer[..2].copy_from_slice(&[1, 0]);
        event.peer_len = 112;
        assert!(line(&event, &mut [0; ROOM]).bytes().len() <= ROOM);
    }
}

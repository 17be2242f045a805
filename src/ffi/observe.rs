//! Counters and events.

use super::sized::{self, Filled, fill_one};
use super::{code, map_code};
use crate::error::Error;
use crate::observe::{Counters, Event};
use crate::sys::cancel::Uncancelled;
use std::ffi::{c_char, c_int};
use std::fmt::Write;

// SAFETY: numbers, without padding.
unsafe impl Filled for Counters {
    const FIRST: usize = 128;

    fn set_size(&mut self, filled: u64) {
        self.size = filled;
    }
}

// SAFETY: numbers, without padding.
unsafe impl Filled for Event {
    const FIRST: usize = 352;

    fn set_size(&mut self, filled: u64) {
        self.size = filled;
    }
}

/// Fills *out with all counters. Signal-safe, thread-safe; a forked child goes on from its parent's
/// numbers.
///
/// Returns 0; -EINVAL if out is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_read_counters(out: *mut Counters) -> c_int {
    // SAFETY: as the caller vouches for the pointer.
    unsafe { sigward_read_counters_sized(out, Counters::FIRST) }
}

/// As sigward_read_counters, for a struct of size bytes.
///
/// Returns as sigward_read_counters; -EINVAL also for a size that no version has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_read_counters_sized(out: *mut Counters, size: usize) -> c_int {
    // SAFETY: null, or room for one struct of that size by the header's contract.
    map_code(unsafe { fill_one(out, size, Counters::read()) })
}

/// Copies events after number *cursor into out, oldest first, at most capacity of them, and moves
/// *cursor to the last one looked at. Start with a cursor of 0; each reader keeps its own. The
/// library keeps the last 512; a gap in the numbers is an event that was overwritten before it was
/// read.
///
/// Signal-safe, thread-safe, waits for nobody; a forked child sees its parent's events up to the
/// fork.
///
/// Returns the number of events copied, 0 if there are none; -EINVAL if a pointer is NULL or the
/// capacity more than memory can hold.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_read_events(
    cursor: *mut u64,
    out: *mut Event,
    capacity: usize,
) -> libc::ssize_t {
    // SAFETY: as the caller vouches for the pointers.
    unsafe { sigward_read_events_sized(cursor, out, capacity, Event::FIRST) }
}

/// As sigward_read_events, for structs of size bytes.
///
/// Returns as sigward_read_events; -EINVAL also for a size that no version has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_read_events_sized(
    cursor: *mut u64,
    out: *mut Event,
    capacity: usize,
    size: usize,
) -> libc::ssize_t {
    // SAFETY: null, or a cursor of the caller's by the header's contract.
    let cursor = unsafe { cursor.as_mut() };
    let fits = sized::fits::<Event>(size).is_ok() && capacity <= isize::MAX as usize / size.max(1);
    let (Some(cursor), false, true) = (cursor, out.is_null(), fits) else {
        return code(Err(Error::InvalidArgument)) as isize;
    };
    code(Ok(()));
    let mut one = [Event::default()];
    let mut count = 0;
    while count < capacity && crate::observe::read_events(cursor, &mut one) == 1 {
        let place = out.wrapping_byte_add(count * size);
        // SAFETY: the caller vouches for `capacity` structs of that size.
        unsafe { sized::fill(place, size, one[0]) };
        count += 1;
    }
    count as isize
}

/// Says what the process dies of, from now on: one line on stderr, and to the descriptor of
/// sigward_last_words, before a SIGPIPE or SIGBUS that comes by here ends it. Whether it ends is
/// not changed: the default action follows, or the handler of somebody else, with its own report.
/// Also for mappings that nobody guards. A preloaded program has it by SIGWARD=explain.
///
/// - sigward: last words: SIGPIPE (code 0) on thread "pool-3" (tid 4713) of pid 4711: write to fd
///   17 (`socket:[8123]`, peer 127.0.0.1:5432) by libfoo.so: the peer is gone (EPIPE)
/// - sigward: last words: SIGBUS (code 2, address 0x7f3a50014000) on thread "app" (tid 4711) of pid
///   4711: read at offset 81,920 of /data/geo.mmdb (67,108,864 bytes mapped) by app: the file is 0
///   bytes long now
/// - sigward: last words: SIGBUS (…) on thread …: write at offset 81,920 of /var/lib/app.db
///   (67,108,864 bytes mapped) by app: the disk is full (0 bytes free), and the file with holes has
///   no block there
///
/// (Each is one line.) The beginning, up to the signal's name, stays as it is in later versions. A
/// line is one write of at most 1,024 bytes. A long path loses its beginning; control characters in
/// names become `?`. A signal that somebody has sent is told with its sender.
///
/// A fault that goes to somebody's handler may end there or go on (Go's panics, the JVM, a
/// longjmp), which cannot be known in advance. It is told in other words, at most 16 times in the
/// life of a process: "sigward: passing on: SIGBUS …; it goes to the handler of libjvm.so".
///
/// The seat for SIGBUS is taken as by sigward_init. Where SIGPIPE has its default action and no
/// policy was set, a seat that lets everything pass is taken for it; sigward_sigpipe_filter makes
/// it one that filters, sigward_sigpipe_restore leaves it. Nothing is told where somebody else has
/// written over a seat, of a SIGPIPE that a handler gets or that is ignored, of a fault in a thread
/// that has SIGBUS blocked (the kernel consults no handler), and in the first process of a pid
/// namespace, which such a signal does not end.
///
/// A line that stderr cannot take at once is left out, and so is one for a stderr that was closed
/// or has become another file since: call this again after redirecting it. Of two threads that die
/// at once, one is told or both, each in a line of its own; a thread waits for the other's line for
/// 200 ms at most.
///
/// Idempotent; thread-safe; a forked child goes on as its parent. Returns 0 or as sigward_init.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_explain() -> c_int {
    let _whole = Uncancelled::enter();
    code(crate::explain())
}

/// As sigward_explain, and also of these signals: of SIGSEGV, SIGABRT, SIGFPE, SIGILL, SIGXFSZ and
/// SIGSYS those that are among the count numbers at signals. Those that an earlier call has named
/// and this one does not are left again; a count of 0 leaves them all. A preloaded program has them
/// by their names in SIGWARD, as in SIGWARD=explain,SEGV,ABRT.
///
/// - sigward: last words: SIGSEGV (code 1, address 0x10) on thread "app" (tid 4711) of pid 4711:
///   read at libfoo.so+0x1b32 by libfoo.so: a null pointer
/// - sigward: last words: SIGXFSZ (code 0) on thread "app" (tid 4711) of pid 4711: write to fd 5
///   (/var/log/app.log) by app: the file may not be longer than 1,048,576 bytes (RLIMIT_FSIZE, …)
///
/// (Each is one line.) A seat that lets everything pass is taken on top of each, above whatever
/// handler stands there, which goes on to get every signal: the reports of Go, of a JVM or of a
/// crash reporter come after ours, as they were. A signal that is ignored is left alone, so that
/// children inherit that. A fault or an abort that goes to a handler is told as "passing on" (see
/// sigward_explain), but for SIGSEGVs in code that a runtime makes as it runs, by which a JVM
/// lives: after 64 of these no SIGSEGV that goes to a handler is. A SIGXFSZ or SIGSYS that goes to
/// a handler never is.
///
/// A thread that has no stack left, and no alternate one (sigaltstack(2)), cannot say anything. In
/// a sandbox (seccomp) the line takes the system calls openat, read, pread64, close, readlink or
/// readlinkat, ioctl, fstat, stat or newfstatat, statfs, ppoll, write, prctl, getpid, gettid,
/// process_vm_readv, rt_sigprocmask and rt_sigaction, of a SIGXFSZ prlimit64 as well: a filter that
/// ends the process for one of them makes the death another one.
///
/// Idempotent; thread-safe; a forked child goes on as its parent. Returns 0; -EINVAL for another
/// signal (SIGPIPE and SIGBUS may be named and change nothing), for more than 64, or if signals is
/// NULL and count is not 0: then nothing has changed; else as sigward_init.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_explain_signals(signals: *const c_int, count: usize) -> c_int {
    let _whole = Uncancelled::enter();
    // More than there are signals is a mistake.
    if signals.is_null() && count != 0 || count > 64 {
        return code(Err(Error::InvalidArgument));
    }
    let signals = match count {
        0 => &[],
        // SAFETY: so many numbers by the header's contract.
        _ => unsafe { std::slice::from_raw_parts(signals, count) },
    };
    code(crate::explain_signals(signals))
}

/// Whether the reports of sigward_explain and sigward_explain_signals are JSON (not 0), or text
/// (0): one object in one line, less than 2,048 bytes.
///
/// Its keys, in this order: sigward ("last words" or "passing on"), time_ns (since 1970), signal
/// (the name), number, code, address (hexadecimal), thread, tid, pid, cause (as in the text),
/// handler. They stay; more may follow. code and address are null where there is none; handler is
/// null before the default action, else the file name of the handler's library, empty if it is
/// unknown. A preloaded program has it by the word json in SIGWARD.
///
/// Signal-safe, thread-safe. Returns 0.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_last_words_json(wanted: c_int) -> c_int {
    crate::observe::last_words_as_json(wanted != 0);
    code(Ok(()))
}

/// Where last words go besides stderr; -1, or any negative number, is for none at all, stderr
/// included. Last words are one line (cause, file, offset, thread) before a process ends because an
/// adopted file has lost a page of a shared writable mapping (see sigward_adopt_file), after
/// sigward_explain before any SIGPIPE or SIGBUS ends it, and after sigward_explain_signals before a
/// signal that was named there does.
///
/// fd stays the caller's and is used only while it is the same file, pipe or socket. A line that
/// would block, or that stderr cannot take at once, is left out. Thread-safe; a forked child goes
/// on as its parent.
///
/// Returns 0; -EBADF if fd is not open: then nothing has changed.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_last_words(fd: c_int) -> c_int {
    let _whole = Uncancelled::enter();
    code(crate::observe::last_words(fd))
}

/// Writes an event as one line of text, without a newline, NUL-terminated and cut to fit, into buf
/// of cap bytes: system call, calling library, thread, descriptor, peer, result.
///
/// Thread-safe; not for signal handlers. Returns the length of the text without the NUL; -EINVAL if
/// a pointer is NULL or cap is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_event_format(
    event: *const Event,
    buf: *mut c_char,
    cap: usize,
) -> libc::ssize_t {
    let _whole = Uncancelled::enter();
    // SAFETY: as the caller vouches for both.
    unsafe { print(event, buf, cap, |event, line| write!(line, "{event}")) }
}

/// # Safety
/// `event` is null or one struct, `buf` null or `cap` bytes.
unsafe fn print(
    event: *const Event,
    buf: *mut c_char,
    cap: usize,
    text: impl FnOnce(&Event, &mut Line<'_>) -> std::fmt::Result,
) -> libc::ssize_t {
    // SAFETY: null, or one struct by this function's contract.
    let event = unsafe { event.as_ref() };
    let (Some(event), false, 1..=0x7fff_ffff) = (event, buf.is_null(), cap) else {
        return code(Err(Error::InvalidArgument)) as isize;
    };
    // SAFETY: `cap` bytes by this function's contract.
    let room = unsafe { std::slice::from_raw_parts_mut(buf.cast::<u8>(), cap) };
    let mut line = Line { room, length: 0 };
    // Cut text is an error to `write!` and none to us.
    let _ = text(event, &mut line);
    let length = line.length;
    if let Some(end) = line.room.get_mut(length) {
        *end = 0;
    }
    length as isize
}

/// The name of the event's system call ("writev"), "" if it could not be told. Never NULL, never
/// freed.
///
/// Signal-safe, thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_event_operation(event: *const Event) -> *const c_char {
    // SAFETY: null, or one struct by the header's contract.
    let name = unsafe { event.as_ref() }.and_then(Event::operation_c_name);
    name.unwrap_or_default().as_ptr()
}

/// Writes the file name of the library (or executable) that made the event's system call,
/// NUL-terminated and cut to fit, into buf of cap bytes: the C library's own wrappers left out,
/// "the executable" for a program without a path to tell (ld.so was started with it), empty if that
/// cannot be told for certain.
///
/// Thread-safe; not for signal handlers. Returns the length of the name; -EINVAL if a pointer is
/// NULL or cap is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_event_library(
    event: *const Event,
    buf: *mut c_char,
    cap: usize,
) -> libc::ssize_t {
    let _whole = Uncancelled::enter();
    // SAFETY: as the caller vouches for both.
    unsafe {
        print(event, buf, cap, |event, line| {
            write!(line, "{}", event.library().unwrap_or_default())
        })
    }
}

/// A buffer that keeps one byte for the NUL and cuts what does not fit, between characters.
struct Line<'a> {
    room: &'a mut [u8],
    length: usize,
}

impl Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let free = self.room.len() - 1 - self.length;
        let mut fits = text.len().min(free);
        while !text.is_char_boundary(fits) {
            fits -= 1;
        }
        if let Some(place) = self.room.get_mut(self.length..self.length + fits) {
            place.copy_from_slice(&text.as_bytes()[..fits]);
            self.length += fits;
        }
        if fits == text.len() { Ok(()) } else { Err(std::fmt::Error) }
    }
}

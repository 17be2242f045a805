//! The report about a signal that goes on to what may end the process, in one line.
//!
//! It is put together on a stack of its own, with all signals blocked, by one thread at a time:
//! its turn is a word that a fork wipes. A thread that dies meanwhile waits for that line, which
//! its own death would cut off, but not for long; then it says its own, if it is there still.
//! Nothing here runs while the process goes on living, unless a fault goes to somebody's handler.

mod json;

use super::{JSON, OFF, chosen, explains_this};
use crate::observe::event::Event;
use crate::observe::in_handler::{copy_file, copy_what_is_mapped, describe_moment, poll};
use crate::observe::text::Text;
use crate::observe::{library, log};
use crate::sys::mask::Mask;
use crate::sys::process::thread_id;
use crate::sys::stack::Stack;
use crate::sys::wiped;
use std::ffi::c_int;
use std::sync::atomic::{AtomicU32, Ordering};

/// Reading the tables of a library takes some kilobytes, the names of its and the mapped file 4 KiB
/// each.
static STACK: Stack<{ 64 << 10 }> = Stack::new();

/// A line fits into one write to a pipe that is not divided (PIPE_BUF, 4096).
const ROOM: usize = 1024;

/// What of it is for the cause: who and when take the rest.
const CAUSE: usize = 800;

/// Faults that go to handlers, which may live on for ever, are told so often.
const PASSED_ON: u32 = 16;
static PASSED: AtomicU32 = AtomicU32::new(0);

/// A runtime that is seen so often to live by its faults is not looked at any more.
const CUSTOMS: u32 = 64;
static CUSTOM: AtomicU32 = AtomicU32::new(0);

/// A thread waits for another one's line for so many milliseconds.
const PATIENCE: u32 = 200;

/// A signal on its way to what may end the process.
pub(crate) struct Subject {
    /// Its number.
    pub(crate) signal: c_int,
    /// `si_code`, if a siginfo came with it.
    pub(crate) code: Option<c_int>,
    /// The address of a fault.
    pub(crate) address: Option<usize>,
    /// Who has sent it, for codes that have a sender.
    pub(crate) sender: Option<libc::pid_t>,
    /// The handler that it goes to; none for the default action.
    pub(crate) handler: Option<usize>,
}

/// What is known of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// What has happened, which is in the line.
    Cause,
    /// Nothing: it is said who has sent it.
    Nothing,
    /// That a runtime lives by such signals: no line is written.
    Custom,
}

/// Writes the report, if one is wanted. `tell` says what has happened. Signal-safe.
#[cold]
#[inline(never)]
pub(crate) fn report(subject: &Subject, tell: &mut dyn FnMut(&mut Text<'_>) -> Told) {
    if !explains_this(subject.signal) || OFF.load(Ordering::Relaxed) {
        return;
    }
    let most = |count: &AtomicU32, most| count.load(Ordering::Relaxed) >= most;
    let custom = subject.signal == libc::SIGSEGV && most(&CUSTOM, CUSTOMS);
    if subject.handler.is_some() && (custom || most(&PASSED, PASSED_ON)) {
        return;
    }
    let signals = Mask::block_all();
    if let Some(turn) = Turn::take() {
        // SAFETY: it is this thread's turn, and no signal is let in.
        unsafe { STACK.run(&mut || write(subject, tell)) }
        drop(turn);
    }
    signals.restore();
}

fn write(subject: &Subject, tell: &mut dyn FnMut(&mut Text<'_>) -> Told) {
    let mut room = [0; CAUSE];
    let mut cause = Text::new(&mut room);
    match tell(&mut cause) {
        Told::Cause => {}
        Told::Nothing => sender(&mut cause, subject),
        Told::Custom => {
            CUSTOM.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }
    let mut who = Event::blank(subject.signal);
    describe_moment(&mut who);
    let handler = subject.handler.map(|handler| {
        PASSED.fetch_add(1, Ordering::Relaxed);
        library::object_of(handler)
    });
    let mut room = [0; json::ROOM];
    let as_json = JSON.load(Ordering::Relaxed);
    let room = if as_json { &mut room[..] } else { &mut room[..ROOM] };
    let mut line = Text::new(room);
    if as_json {
        json::write(&mut line, subject, &who, cause.bytes(), handler.as_ref());
    } else {
        write_text(&mut line, subject, &who, cause.bytes(), handler.as_ref());
    }
    line.end();
    log::write_last(&line, chosen(), false);
}

fn write_text(
    line: &mut Text<'_>,
    subject: &Subject,
    who: &Event,
    cause: &[u8],
    handler: Option<&Option<library::Name>>,
) {
    line.push(if handler.is_none() { b"sigward: last words: " } else { b"sigward: passing on: " });
    line.push(name_of(subject.signal));
    heading(line, subject);
    line.thread(who);
    line.push(b" of pid ");
    line.number(std::process::id().into(), 10);
    line.push(b": ");
    line.push(cause);
    if let Some(name) = handler {
        line.push(b"; it goes to the handler of ");
        match name {
            Some(name) => line.push_name(name.bytes()),
            None => line.push(b"an unknown library"),
        }
    }
}

/// ` by LIBRARY`, if it is known who has called, or has met a fault, there. Signal-safe; on the
/// report's own stack.
pub(crate) fn by(line: &mut Text<'_>, pc: usize, stack: usize, link: usize) {
    /// Enough for abort(3), which calls others.
    const WORDS: usize = 256;
    let mut words = [0_u64; WORDS];
    // Where there is a link register it comes first.
    let first = usize::from(cfg!(target_arch = "aarch64"));
    let (links, room) = words.split_at_mut(first);
    links.fill(link as u64);
    // SAFETY: the bytes of these words, which any bytes may be.
    let bytes = unsafe {
        std::slice::from_raw_parts_mut(room.as_mut_ptr().cast::<u8>(), size_of_val(room))
    };
    copy_what_is_mapped(stack, bytes);
    if let Some(library) = library::caller_at(pc, &words) {
        line.push(b" by ");
        line.push_name(library.bytes());
    }
}

/// ` (code N, address 0xN)`
fn heading(line: &mut Text<'_>, subject: &Subject) {
    let Some(code) = subject.code else { return };
    line.push(b" (code ");
    line.signed(code.into());
    if let Some(address) = subject.address {
        line.push(b", address 0x");
        line.number(address as u64, 16);
    }
    line.push(b")");
}

fn sender(line: &mut Text<'_>, subject: &Subject) {
    match subject.sender.filter(|_| subject.code.is_some_and(|code| code <= 0)) {
        None => line.push(b"nobody knows why"),
        Some(0) => line.push(b"sent by the kernel, or from outside of its namespace"),
        Some(sender) if wiped::is_own_process(sender) => line.push(b"sent by the process itself"),
        Some(sender) => {
            line.push(b"sent by pid ");
            line.number(sender.unsigned_abs().into(), 10);
            let mut room = [0; 32];
            let mut path = Text::new(&mut room);
            path.push(b"/proc/");
            path.number(sender.unsigned_abs().into(), 10);
            path.push(b"/comm\0");
            let mut name = [0; 16];
            let length = copy_file(path.bytes(), &mut name);
            line.push(b" (");
            match name.get(..length).and_then(|name| name.split(|byte| *byte == b'\n').next()) {
                Some(name) if !name.is_empty() => line.push_name(name),
                _ => line.push(b"gone"),
            }
            line.push(b")");
        }
    }
}

fn name_of(signal: c_int) -> &'static [u8] {
    match signal {
        libc::SIGPIPE => b"SIGPIPE",
        libc::SIGBUS => b"SIGBUS",
        libc::SIGSEGV => b"SIGSEGV",
        libc::SIGABRT => b"SIGABRT",
        libc::SIGFPE => b"SIGFPE",
        libc::SIGILL => b"SIGILL",
        libc::SIGXFSZ => b"SIGXFSZ",
        libc::SIGSYS => b"SIGSYS",
        _ => b"a signal",
    }
}

/// One thread's turn. The word is 0 while it is nobody's.
struct Turn(&'static AtomicU32);

impl Turn {
    fn take() -> Option<Self> {
        let word = &wiped::existing()?.farewell;
        let me = thread_id();
        for _ in 0..PATIENCE {
            // Acquire pairs with the Release of `drop`: the stack is free.
            match word.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(Self(word)),
                // A fault of our own.
                Err(holder) if holder == me => return None,
                Err(_) => _ = poll(&mut [], 1),
            }
        }
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

//! The way in for a program that cannot be built anew: `LD_PRELOAD=libsigward.so SIGWARD=filter
//! program`.
//!
//! `libsigward.so` has one function that the loader calls (`DT_INIT`, capi/build.rs). Without
//! `SIGWARD` in the environment it does nothing, so that linking and loading change nothing. The
//! words of `SIGWARD` are separated by commas:
//!
//! | word | what it does |
//! |---|---|
//! | `filter` | [`crate::sigpipe::filter`] |
//! | `ignore` | [`crate::sigpipe::ignore`] |
//! | `stdio` | also swallows where descriptor 1 or 2 is a pipe: [`crate::sigpipe::swallow_stdio`] |
//! | `explain` | one line on stderr for each swallowed signal, and last words: [`crate::explain`] |
//! | `SEGV`, `ABRT`, `FPE`, `ILL`, `XFSZ`, `SYS` | with `explain`, last words of this signal as well: [`crate::explain_signals`] |
//! | `json` | last words as JSON: [`crate::observe::last_words_as_json`] |
//! | `guard=PATH` | every map of this file as after [`crate::mapping::adopt_file`], and a line on stderr when bytes of it are lost, as for `explain`; as often as there are files. No path with a comma |
//! | `inherit` | children get `SIGWARD` and `LD_PRELOAD` as they are |
//!
//! Executables of Go and Java get last words of SIGPIPE only, and no guards: their runtimes would
//! find our seat beneath their own, pass faults of C code on to it and leave out their own reports.
//! A file that cannot be guarded is told in a line on stderr, since whoever named it relies on it.
//!
//! Other words mean nothing. Without `inherit` the library takes itself out of what children see:
//! `SIGWARD`, and its own entry of `LD_PRELOAD`. Both are changed where they lie, so that runtimes
//! that keep the environment that `main` was given (shells) see it as well. A program that runs
//! with others' privileges (`AT_SECURE`) is left alone.

use crate::observe::text::Text;
use crate::{mapping, sigpipe};
use std::ffi::{CStr, CString, c_char};
use std::mem::ManuallyDrop;

/// Does what `SIGWARD` says. Called once, by the loader, before `main`.
pub(crate) fn from_environment() {
    // SAFETY: asks for a number.
    if unsafe { libc::getauxval(libc::AT_SECURE) } != 0 {
        return;
    }
    let Some(value) = variable(c"SIGWARD") else { return };
    // SAFETY: a terminated string of the environment, which nobody changes before `main`.
    let words = unsafe { CStr::from_ptr(value) }.to_bytes();
    let says = |wanted: &[u8]| words.split(|byte| *byte == b',').any(|word| word == wanted);
    let [filter, ignore, stdio] = [says(b"filter"), says(b"ignore"), says(b"stdio")];
    let [explain, inherit] = [says(b"explain"), says(b"inherit")];
    let guards =
        || words.split(|byte| *byte == b',').filter_map(|word| word.strip_prefix(b"guard="));
    let guard = guards().next().is_some();
    if !inherit && (filter || ignore || stdio || explain || guard) {
        hide();
    }
    if explain || guard {
        crate::observe::log_to_stderr(true);
    }
    sigpipe::swallow_stdio(stdio);
    // Refused (seccomp): then the program runs as without us.
    let _ = match (filter, ignore) {
        (_, true) => sigpipe::ignore(),
        (true, false) => sigpipe::filter(),
        (false, false) => Ok(sigpipe::Outcome::Untouched),
    };
    crate::observe::last_words_as_json(says(b"json"));
    let faults = !((explain || guard) && reports_by_itself());
    guards().for_each(|path| guard_file(path, faults));
    if explain {
        // SIGPIPE is told in any case.
        let chosen =
            |(signal, name): (_, &[u8])| if faults && says(name) { signal } else { libc::SIGPIPE };
        let _ = crate::explain::explain_all(&crate::explain::FURTHER.map(chosen), faults);
    }
}

/// Guards the maps of a file for as long as the process lives.
fn guard_file(path: &[u8], faults: bool) {
    let adopted = match CString::new(path) {
        Ok(path) if faults => mapping::adopt_path(&path).map_err(|error| error.errno()),
        _ => Err(libc::EINVAL),
    };
    let reason = match adopted {
        Ok(adopted) => {
            let _ = ManuallyDrop::new(adopted);
            return;
        }
        Err(_) if !faults => c"its runtime takes SIGBUS for itself",
        Err(errno) => {
            // SAFETY: a number; nobody else asks for the text before `main`.
            let text = unsafe { libc::strerror(errno) };
            // SAFETY: a terminated string.
            unsafe { CStr::from_ptr(text) }
        }
    };
    let mut room = [0; 1024];
    let mut line = Text::new(&mut room);
    line.push(b"sigward: not guarded (");
    line.push(reason.to_bytes());
    line.push(b"): ");
    line.push_name(path);
    line.end();
    line.write_to(libc::STDERR_FILENO);
}

/// Whether the program is of a runtime that will report faults by itself.
fn reports_by_itself() -> bool {
    const JAVA: [&[u8]; 2] = [b"libjli.so", b"libjvm.so"];
    sigpipe::runtime::is_loaded() || crate::observe::library::is_loaded(&JAVA)
}

unsafe extern "C" {
    /// What `main` is given, up to a null pointer.
    static mut environ: *mut *mut c_char;
}

/// The entries of the environment, where they lie.
///
/// Not by getenv(3) and unsetenv(3): a program may define them itself and have an environment of
/// its own behind them (bash does), so that what `main` is given stays as it was.
fn environment() -> impl Iterator<Item = *mut *mut c_char> {
    // SAFETY: the C library's pointer; there are no other threads of the program yet.
    let first = unsafe { environ };
    let entries = (0..).map(move |number| first.wrapping_add(number));
    // SAFETY: no further than the null pointer.
    entries.take_while(move |entry| !first.is_null() && !unsafe { entry.read() }.is_null())
}

/// The value, if this entry is `name=value`.
fn value_of(entry: *mut *mut c_char, name: &CStr) -> Option<*mut c_char> {
    // SAFETY: an entry of the environment, that is not null.
    let text = unsafe { entry.read() };
    // SAFETY: a terminated string.
    let rest = unsafe { CStr::from_ptr(text) }.to_bytes().strip_prefix(name.to_bytes())?;
    rest.starts_with(b"=").then(|| text.wrapping_add(name.to_bytes().len() + 1))
}

fn variable(name: &CStr) -> Option<*mut c_char> {
    environment().find_map(|entry| value_of(entry, name))
}

/// Moves the entries behind this variable's one forward, over it.
fn take_out(name: &CStr) {
    while let Some(found) = environment().find(|entry| value_of(*entry, name).is_some()) {
        let mut entry = found;
        loop {
            // SAFETY: an entry before the null pointer: there is one behind it.
            let next = unsafe { entry.wrapping_add(1).read() };
            // SAFETY: as above; the environment is writable.
            unsafe { entry.write(next) };
            if next.is_null() {
                break;
            }
            entry = entry.wrapping_add(1);
        }
    }
}

/// Takes `SIGWARD` and our entry of `LD_PRELOAD` out of the environment.
fn hide() {
    take_out(c"SIGWARD");
    let (Some(own), Some(value)) = (crate::sys::pin::own_name(), variable(c"LD_PRELOAD")) else {
        return;
    };
    // SAFETY: a terminated string.
    let length = unsafe { CStr::from_ptr(value) }.to_bytes().len();
    // SAFETY: the environment is the process's own memory, and writable; nobody else looks at it
    // before `main`.
    let list = unsafe { std::slice::from_raw_parts_mut(value.cast::<u8>(), length) };
    let kept = without(list, |entry| is_same(entry, own));
    if kept == 0 {
        take_out(c"LD_PRELOAD");
    } else if kept < length {
        // SAFETY: within the string.
        let end = unsafe { value.add(kept) };
        // SAFETY: as above.
        unsafe { end.write(0) };
    }
}

/// Removes the entries that are `ours` from a list that spaces and colons separate. Returns the
/// list's new length.
fn without(list: &mut [u8], ours: impl Fn(&[u8]) -> bool) -> usize {
    let is_separator = |byte: &u8| matches!(byte, b' ' | b':');
    let (mut kept, mut at) = (0, 0);
    while at < list.len() {
        let rest = &list[at..];
        let length = rest.iter().position(is_separator).unwrap_or(rest.len());
        let next = (at + length + 1).min(list.len());
        if length > 0 && !ours(&rest[..length]) {
            // The separator before it; a list's first entry has none.
            let start = if kept == 0 { at } else { at - 1 };
            list.copy_within(start..at + length, kept);
            kept += at + length - start;
        }
        at = next;
    }
    kept
}

/// Whether an entry of `LD_PRELOAD` is the file of this name: the same name, or the same file by
/// another name. One without a slash was searched for.
fn is_same(entry: &[u8], own: &CStr) -> bool {
    let name = own.to_bytes();
    if entry == name
        || !entry.contains(&b'/') && name.rsplit(|byte| *byte == b'/').next() == Some(entry)
    {
        return true;
    }
    let mut path = [0_u8; libc::PATH_MAX as usize];
    let Some(room) =
        path.get_mut(..entry.len()).filter(|room| room.len() < libc::PATH_MAX as usize)
    else {
        return false;
    };
    room.copy_from_slice(entry);
    let [entry, own] = [path.as_ptr().cast(), own.as_ptr()].map(file);
    entry.is_some() && entry == own
}

fn file(path: *const c_char) -> Option<(libc::dev_t, libc::ino_t)> {
    let mut found = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: a terminated path, and room for the answer.
    let status = unsafe { libc::stat(path, found.as_mut_ptr()) };
    // SAFETY: numbers, zero or filled.
    let found = unsafe { found.assume_init() };
    (status == 0).then_some((found.st_dev, found.st_ino))
}

#[cfg(test)]
mod tests {
    use super::without;

    #[test]
    fn only_our_entries_are_taken_out_of_the_list() {
        for (list, left) in [
            ("us", ""),
            ("us:other", "other"),
            ("other us", "other"),
            ("one:us two", "one two"),
            ("us:us", ""),
            (" us", ""),
            ("one::two", "one:two"),
            ("one two ", "one two"),
            ("", ""),
        ] {
            let mut bytes = list.as_bytes().to_vec();
            let length = without(&mut bytes, |entry| entry == b"us");
            assert_eq!(std::str::from_utf8(&bytes[..length]), Ok(left), "{list:?}");
        }
    }
}

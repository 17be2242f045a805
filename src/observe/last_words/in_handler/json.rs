//! The report as one JSON object. Signal-safe.

use super::{Subject, name_of};
use crate::observe::event::Event;
use crate::observe::library::Name;
use crate::observe::text::Text;

/// Room for the longest: each character of the cause may take two.
pub(super) const ROOM: usize = 2048;

/// `handler` is none for the default action, and holds none where its library is unknown.
pub(super) fn write(
    line: &mut Text<'_>,
    subject: &Subject,
    who: &Event,
    cause: &[u8],
    handler: Option<&Option<Name>>,
) {
    line.push(b"{\"sigward\":");
    string(line, if handler.is_none() { b"last words" } else { b"passing on" });
    line.push(b",\"time_ns\":");
    line.number(who.time_ns, 10);
    line.push(b",\"signal\":");
    string(line, name_of(subject.signal));
    line.push(b",\"number\":");
    line.signed(subject.signal.into());
    line.push(b",\"code\":");
    match subject.code {
        Some(code) => line.signed(code.into()),
        None => line.push(b"null"),
    }
    line.push(b",\"address\":");
    match subject.address {
        Some(address) => {
            line.push(b"\"0x");
            line.number(address as u64, 16);
            line.push(b"\"");
        }
        None => line.push(b"null"),
    }
    line.push(b",\"thread\":");
    string(line, who.thread_bytes());
    line.push(b",\"tid\":");
    line.number(who.tid.unsigned_abs().into(), 10);
    line.push(b",\"pid\":");
    line.number(std::process::id().into(), 10);
    line.push(b",\"cause\":");
    string(line, cause);
    line.push(b",\"handler\":");
    match handler {
        None => line.push(b"null"),
        Some(None) => line.push(b"\"\""),
        Some(Some(name)) => string(line, name.bytes()),
    }
    line.push(b"}");
}

/// Text in quotes. What is no UTF-8 becomes `?`, as control characters do.
fn string(line: &mut Text<'_>, text: &[u8]) {
    line.push(b"\"");
    for chunk in text.utf8_chunks() {
        for byte in chunk.valid().bytes() {
            if matches!(byte, b'"' | b'\\') {
                line.push(b"\\");
            }
            line.push_name(&[byte]);
        }
        if !chunk.invalid().is_empty() {
            line.push(b"?");
        }
    }
    line.push(b"\"");
}

#[cfg(test)]
mod tests {
    use super::{Event, ROOM, Subject, Text, write};

    fn line(cause: &[u8]) -> String {
        let subject = Subject {
            signal: libc::SIGBUS,
            code: Some(i32::MIN),
            address: Some(usize::MAX),
            sender: None,
            handler: None,
        };
        let mut who = Event::blank(libc::SIGBUS);
        (who.time_ns, who.tid) = (u64::MAX, i32::MAX);
        who.thread = [i8::MAX as std::ffi::c_char; 16];
        let mut room = [0; ROOM];
        let mut line = Text::new(&mut room);
        write(&mut line, &subject, &who, cause, Some(&None));
        line.end();
        String::from_utf8(line.bytes().to_vec()).expect("UTF-8")
    }

    #[test]
    fn a_cause_may_be_any_bytes_and_the_object_is_whole() {
        let all: Vec<u8> = (0..=255).collect();
        let told = line(&all);
        assert!(told.contains(" !\\\"#$%") && told.contains(r"[\\]") && told.is_ascii(), "{told}");
        assert!(line("Grüße\n".as_bytes()).contains(r#""cause":"Grüße?""#));
        let longest = line(&[b'"'; super::super::CAUSE]);
        assert!(longest.ends_with("\",\"handler\":\"\"}\n"), "{longest}");
        assert!(longest.len() + 64 < ROOM, "{}", longest.len());
    }
}

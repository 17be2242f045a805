//! What /proc says beyond what an audit asks. The parsers are pure and take any bytes.

pub use sigward::audit::outside::proc::*;

use std::path::{Path, PathBuf};

/// The mapping of an address.
#[must_use]
pub fn at(lines: &[Line], address: u64) -> Option<&Line> {
    lines.iter().find(|line| (line.mapping.start..line.mapping.end).contains(&address))
}

/// The process that a thread belongs to, by its number; another number as it is.
#[must_use]
pub fn process_of(id: i32) -> i32 {
    Status::of(id).map_or(id, |status| status.process)
}

/// Whether it is a thread of the kernel's.
#[must_use]
pub fn is_kernels(process: i32) -> bool {
    std::fs::read(format!("/proc/{process}/stat")).is_ok_and(|text| parse_is_kernels(&text))
}

/// From the file's text: the flag `PF_KTHREAD`.
fn parse_is_kernels(text: &[u8]) -> bool {
    const KERNELS: u32 = 0x0020_0000;
    let flags = behind_name(text).and_then(|rest| rest.split_whitespace().nth(6)?.parse().ok());
    flags.is_some_and(|flags: u32| flags & KERNELS != 0)
}

/// The wait status of a process that has ended and was not waited for; 0 as well where it may not
/// be seen. One whose first thread alone has ended goes on.
#[must_use]
pub fn ended(process: i32) -> Option<i32> {
    parse_end(&std::fs::read(format!("/proc/{process}/stat")).ok()?)
}

/// The words of a `stat` behind the name, which may hold anything and ends with the last `)`.
fn behind_name(text: &[u8]) -> Option<String> {
    let name = text.iter().rposition(|byte| *byte == b')')?;
    Some(String::from_utf8_lossy(text.get(name + 1..)?).into_owned())
}

/// From the file's text.
fn parse_end(text: &[u8]) -> Option<i32> {
    let rest = behind_name(text)?;
    let mut words = rest.split_whitespace();
    let has_ended = matches!(words.next()?, "Z" | "X") && words.nth(16)? == "1";
    has_ended.then(|| words.next_back()?.parse().ok())?
}

/// The file that counts whom of a process's cgroup the kernel has ended for want of memory.
#[must_use]
pub fn memory_events(process: i32) -> Option<PathBuf> {
    let groups = std::fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
    groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        match controllers {
            "" => Some(format!("/sys/fs/cgroup{path}/memory.events").into()),
            "memory" => Some(format!("/sys/fs/cgroup/memory{path}/memory.oom_control").into()),
            _ => None,
        }
    })
}

/// The number in it.
#[must_use]
pub fn killed_for_memory(events: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(events).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::{parse_end, parse_is_kernels};

    #[test]
    fn a_thread_of_the_kernel_is_known_by_its_flag() {
        assert!(parse_is_kernels(b"2 (a) 0 0) S 0 0 0 0 -1 2129984 0 0"));
        for text in
            [&b"2 (2129984) S 0 0 0 0 -1 4194560 2129984"[..], b"2 (a) S 0 0 0 0 -1", b"2129984"]
        {
            assert!(!parse_is_kernels(text), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn the_end_is_the_last_word() {
        let line =
            |start: &str, threads: &str| format!("{start} {}{threads} 0 0 13", "0 ".repeat(16));
        assert_eq!(parse_end(line("7 (a) Z) Z", "1").as_bytes()), Some(13));
        for (start, threads) in
            [("7 (a Z 1 13) S", "1"), ("7 (a) Z", "2"), ("7 (a)", "1"), ("7 a Z", "1")]
        {
            assert_eq!(parse_end(line(start, threads).as_bytes()), None, "{start}");
        }
        for text in [&b"7 (a) Z"[..], b"", b")", b"7 (a) Z x"] {
            assert_eq!(parse_end(text), None, "{}", String::from_utf8_lossy(text));
        }
    }
}

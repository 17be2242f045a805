//! Cores that systemd-coredump keeps: found by the number of their process, unpacked into a file
//! without a name, which goes with the command.

use crate::failure::Failure;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where they are.
pub const FOLDER: &str = "/var/lib/systemd/coredump";

/// The newest core of a process.
pub fn find(folder: &Path, pid: i32) -> Result<Option<PathBuf>, Failure> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(|error| Failure::of(folder, &error))?,
    };
    let of_process = entries.flatten().filter_map(|entry| {
        let (found, time) = parse(entry.file_name().to_str()?)?;
        (found == pid).then(|| (time, entry.path()))
    });
    Ok(of_process.max().map(|(_, path)| path))
}

/// Process and time in `core.NAME.USER.BOOT.PID.TIME`, with the ending of a compression or without.
/// A dot in NAME is written as `\x2e`.
fn parse(name: &str) -> Option<(i32, u64)> {
    let mut words = name.strip_prefix("core.")?.split('.').skip(3);
    let found = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (words.count() <= 1).then_some(found)
}

/// The file itself, or what it holds if it is compressed.
pub fn unpacked(file: File, path: &Path) -> Result<File, Failure> {
    let mut magic = [0; 4];
    let tool = match file.read_at(&mut magic, 0).map(|_| magic) {
        Ok([0x28, 0xb5, 0x2f, 0xfd]) => "zstd",
        Ok([0x04, 0x22, 0x4d, 0x18]) => "lz4",
        Ok([0xfd, b'7', b'z', b'X']) => "xz",
        Ok([0x1f, 0x8b, ..]) => "gzip",
        _ => return Ok(file),
    };
    let failed = |why: &str| Failure::new(path.display(), why);
    let folder = std::env::var_os("TMPDIR").map_or_else(|| "/var/tmp".into(), PathBuf::from);
    let whole = nameless(&folder).map_err(|error| {
        let message =
            format!("no place to unpack the core into: {error}: TMPDIR names another one");
        Failure::new(folder.display(), message)
    })?;
    let out = whole.try_clone().map_err(|error| failed(&error.to_string()))?;
    let run = Command::new(tool).arg("-dc").stdin(file).stdout(out).stderr(Stdio::piped()).output();
    let run = run.map_err(|error| {
        failed(&format!(
            "compressed with {tool}, which is needed here ({error}): install it, or coredumpctl dump"
        ))
    })?;
    if run.status.success() {
        return Ok(whole);
    }
    let said = String::from_utf8_lossy(&run.stderr);
    let (said, status) = (said.trim(), run.status);
    Err(failed(&format!(
        "{tool} has failed ({status}) {said}: is it whole? is there room for it (TMPDIR)?"
    )))
}

/// Where there may be more room than in memory.
fn nameless(folder: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options.clone().custom_flags(libc::O_TMPFILE).open(folder).or_else(|_| {
        // A file system that knows no files without a name.
        let path = folder.join(format!("sigward-core-{}", std::process::id()));
        let file = options.create_new(true).open(&path)?;
        fs::remove_file(path).map(|()| file)
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names_of_stored_cores_are_read() {
        let boot = "0123456789abcdef0123456789abcdef";
        for (end, found) in [
            (".4711.1700000000000000.zst", Some((4711, 1_700_000_000_000_000))),
            (".4711.1700000000000000", Some((4711, 1_700_000_000_000_000))),
            (".4711", None),
            (".x.1700000000000000.zst", None),
            (".4711.1700000000000000.zst.tmp", None),
        ] {
            assert_eq!(parse(&format!("core.my\\x2eprogram.0.{boot}{end}")), found, "{end}");
        }
        for other in ["", "core", "core.4711", "4711.core.a.b.c.4711.1"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}

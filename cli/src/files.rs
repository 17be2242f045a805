//! `sigward replace` and `sigward reserve`.

use crate::args::{Replace, Reserve};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::report::{Output, grouped, shown};
use serde::Serialize;
use sigward::file::{self, Error, Promise, ReplaceOptions};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

#[derive(Debug, Serialize)]
struct Replaced<'a> {
    #[serde(serialize_with = "crate::report::lossy")]
    path: &'a Path,
    #[serde(serialize_with = "crate::report::lossy")]
    with: &'a Path,
}

impl fmt::Display for Replaced<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} has the contents of {} now", shown(self.path), shown(self.with))
    }
}

/// `sigward replace SRC DST`
pub fn replace(request: &Replace, output: Output) -> Result<Exit, Failure> {
    let options = ReplaceOptions::new()
        .replace_link(request.link)
        .any_owner(request.any_owner)
        .keep_privileges(request.keep_privileges);
    let (source, destination) = (&request.source, &request.destination);
    // Told apart from the destination's errors, which have the same names.
    let opened = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(source)
        .and_then(|file| file.metadata())
        .map_err(|error| Failure::of(source, &error))?;
    if opened.is_dir() {
        return Err(Failure::of(source, &io::Error::from_raw_os_error(libc::EISDIR)));
    }
    options.replace_file(source, destination).map_err(|error| failure(destination, error))?;
    if request.verbose || output.json {
        output.print(&Replaced { path: destination, with: source })?;
    }
    Ok(Exit::Good)
}

fn failure(path: &Path, error: Error) -> Failure {
    let message = match error {
        Error::System { errno: libc::EACCES | libc::EPERM, .. } => {
            format!("{error}: run as the owner of the file and its folder, or with sudo")
        }
        Error::System { errno: libc::ENOENT, .. } => format!("{error}: make its folder first"),
        Error::System { errno: libc::EFBIG, .. } => {
            format!("{error}: more than a file may have on this disk, or than ulimit -f allows")
        }
        Error::Owner { .. } => format!("{error} (--any-owner, or sudo)"),
        Error::NoPromise => {
            "this file system cannot promise blocks: --slow writes zeros, which holds until they are \
             copied or compressed"
                .to_owned()
        }
        error => error.to_string(),
    };
    Failure::new(path.display(), message).with_errno(error.errno())
}

#[derive(Debug, Serialize)]
struct Reserved<'a> {
    #[serde(serialize_with = "crate::report::lossy")]
    path: &'a Path,
    offset: u64,
    length: u64,
    /// How long the file is now.
    file_length: u64,
    promise: &'static str,
}

impl fmt::Display for Reserved<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [length, offset, file] = [self.length, self.offset, self.file_length].map(grouped);
        write!(out, "{}: {length} bytes from byte {offset} have their blocks", shown(self.path))?;
        writeln!(out, "; the file has {file} bytes")?;
        match self.promise {
            "first-write-only" => writeln!(
                out,
                "note: this file system copies on write, so the promise is for the first write of each \
                 block only; `chattr +C` on the empty file makes it full"
            ),
            "unproven" => writeln!(
                out,
                "note: this file system is a program (FUSE), and nobody can ask what it keeps of its \
                 promise: look at what fsync(2) returns"
            ),
            _ => Ok(()),
        }
    }
}

/// `sigward reserve PATH SIZE`
pub fn reserve(request: &Reserve, output: Output) -> Result<Exit, Failure> {
    let &Reserve { ref path, size, offset, slow, no_create } = request;
    let (file, made) = open(path, !no_create).map_err(|error| Failure::of(path, &error))?;
    let done = if slow {
        file::reserve_slowly(&file, offset, size)
    } else {
        file::reserve(&file, offset, size)
    };
    let promise = done.map_err(|error| {
        let failure = failure(path, error);
        // Removing it could remove what somebody else has begun meanwhile.
        if made {
            failure.and("; the new file stays: rm it if nobody has begun to use it")
        } else {
            failure
        }
    })?;
    let file_length = file.metadata().map_err(|error| Failure::of(path, &error))?.len();
    let promise = match promise {
        Promise::Full => "full",
        Promise::FirstWriteOnly => "first-write-only",
        _ => "unproven",
    };
    output.print(&Reserved { path, offset, length: size, file_length, promise })?;
    Ok(Exit::Good)
}

/// The file, and whether there was none before. Opening a FIFO that nobody reads waits for nobody.
fn open(path: &Path, create: bool) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
            options.create(true).open(path).map(|file| (file, true))
        }
        // Reading is asked for because filling holes slowly needs it; reserving does not.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            options.read(false).open(path).map(|file| (file, false))
        }
        opened => opened.map(|file| (file, false)),
    }
}

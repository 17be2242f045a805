//! `sigward run -- CMD…`: the library preloaded, armed and watched.

use crate::args::{Run, Watch};
use crate::failure::Failure;
use crate::report::{Output, say, shown};
use crate::symbols::Program;
use crate::watch::{self, start};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What the loader looks for, and where `make install` puts it.
const LIBRARY: &str = "libsigward.so.0";

/// `sigward run`
pub fn run(request: Run, output: Output) -> Result<ExitCode, Failure> {
    let obstacle = obstacle(&request.command[0]);
    match obstacle {
        Some(ref obstacle) => {
            let name = shown(&request.command[0]);
            let unguarded = if request.guard.is_empty() { "" } else { ", and no file is guarded" };
            say(format!(
                "sigward: {name} is {obstacle}, so nothing can be preloaded: it is only watched{unguarded}"
            ));
        }
        None => preload(&request)?,
    }
    let watch = Watch {
        pids: Vec::new(),
        command: request.command,
        children: request.children,
        signals: None,
        output: None,
        preloaded: obstacle.is_none(),
    };
    watch::watch(&watch, output)
}

/// Why the loader would not load the library into a program.
fn obstacle(command: &OsString) -> Option<String> {
    let path = start::find(command)?;
    if let Some(privileges) = start::privileges(&path) {
        return Some(privileges.to_owned());
    }
    let program = interpreter(&path).unwrap_or(path);
    let own = Program::open(Path::new("/proc/self/exe")).and_then(|own| own.loader());
    let loader = Program::open(&program)?.loader()?;
    if loader.is_empty() {
        return Some("static".to_owned());
    }
    // Of another C library, or 32-bit: such a program may not even start with ours in it.
    let is_another = own.is_some_and(|own| !own.is_empty() && own != loader);
    is_another.then(|| format!("for another loader ({loader}) than the library"))
}

/// What executes a script.
fn interpreter(script: &Path) -> Option<PathBuf> {
    let mut start = [0; 256];
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let count = options.open(script).ok()?.read_at(&mut start, 0).ok()?;
    let line = start[..count].strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    Some(OsStr::from_bytes(words.next()?).into())
}

/// Puts the library into the environment that the program gets.
fn preload(request: &Run) -> Result<(), Failure> {
    let library = match &request.library {
        Some(path) => path.canonicalize().map_err(|error| Failure::of(path, &error))?,
        None => installed().ok_or_else(|| {
            Failure::new(
                LIBRARY,
                "is not beside the command: make install, or name it with --library",
            )
        })?,
    };
    let mut list = library.into_os_string();
    if list.as_encoded_bytes().iter().any(|byte| matches!(byte, b':' | b' ')) {
        return Err(Failure::new(
            list.display(),
            "LD_PRELOAD takes no path with a colon or a space",
        ));
    }
    // First: whoever is preloaded as well has had its reason, and stays.
    if let Some(others) = std::env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        list.push(":");
        list.push(others);
    }
    let mut words = OsString::from(if request.ignore { "ignore" } else { "filter" });
    words.push(if request.explain { ",explain" } else { "" });
    words.push(if request.stdio { ",stdio" } else { "" });
    for path in &request.guard {
        words.push(",guard=");
        words.push(guarded(path)?);
    }
    set("LD_PRELOAD", &list);
    set("SIGWARD", &words);
    Ok(())
}

/// The path as the program will be told of it, wherever it goes.
fn guarded(path: &Path) -> Result<PathBuf, Failure> {
    let file = std::fs::metadata(path).map_err(|error| Failure::of(path, &error))?;
    if !file.is_file() {
        return Err(Failure::new(path.display(), "is no regular file, which alone can be guarded"));
    }
    let whole = std::path::absolute(path).map_err(|error| Failure::of(path, &error))?;
    if whole.as_os_str().as_encoded_bytes().contains(&b',') {
        let reason = "a comma ends a word of SIGWARD: give a symbolic link to it that has none";
        return Err(Failure::new(whole.display(), reason));
    }
    Ok(whole)
}

fn set(name: &str, value: &OsStr) {
    // SAFETY: the command has one thread still.
    unsafe { std::env::set_var(name, value) };
}

/// Beside the command: bin/sigward and lib/libsigward.so.0, or where the loader looks.
fn installed() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let prefix = own.parent()?.parent()?;
    let machine = format!("lib/{}-linux-gnu", std::env::consts::ARCH);
    let folders = [prefix.join("lib"), prefix.join("lib64"), prefix.join(machine)];
    folders.iter().map(|folder| folder.join(LIBRARY)).find(|path| Path::is_file(path))
}

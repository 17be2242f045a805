//! The command line: what `--help`, the manual pages and the completions are made from.

use crate::exit;
use crate::signals;
use clap::{Args as Group, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// Explains deaths by SIGPIPE and SIGBUS, in programs of any language, and avoids them.
///
/// SIGBUS comes when a mapped file was cut, or has no room on its disk; SIGPIPE when the reader of
/// a pipe or socket is gone. Both end a program without a word.
#[derive(Debug, Parser)]
#[command(name = "sigward", version, after_help = exit::TABLE, max_term_width = 100)]
pub struct Args {
    /// JSON in place of text: an object a line on stdout, as `sigward schema` says; errors as an
    /// object on stderr
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the command does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Says what may go wrong with signals in a process, in all, or in a binary
    ///
    /// From /proc alone, without stopping anybody (but with --deep): what is ignored, caught and
    /// blocked, runtimes, mapped files that were cut, are sparse on a full disk, deleted, or open
    /// for writing elsewhere. Exits with 1 if there is a warning.
    #[command(after_help = "Examples:\n  sudo sigward audit $(pidof server)\n  \
        sudo sigward audit --all --prometheus /var/lib/node_exporter/sigward.prom")]
    Audit(Audit),
    /// Starts a program with the library in it, so that broken peers are errors, and watches it
    ///
    /// Preloads libsigward.so with SIGWARD=filter, without changing the program; its children get
    /// neither, nor does what it executes in its place (a script that ends with `exec`), which is
    /// said. Where that cannot work (a static or set-user-ID program) it is said, and the
    /// program is watched as by `sigward watch`. Exits as the program does.
    ///
    /// With `--guard` the program outlives the loss of a file that it has mapped, if somebody cuts
    /// it or its disk fails: bytes that are gone read as zeros from then on, and a line on stderr
    /// says of which file, from which byte on and why. The program itself does not know, so what it
    /// says afterwards is worth as much as zeros are to it. Where it has mapped the file shared and
    /// for writing it ends as without a guard, with the cause told: writes would go nowhere.
    /// Not guarded are programs of Go and Java, whose runtimes take SIGBUS for themselves, what the
    /// program executes in its place (a script that ends with `exec`), and files that it makes
    /// later.
    #[command(after_help = "Examples:\n  sigward run -- ./server --port 80\n  \
        sigward run --guard /var/lib/GeoIP/city.mmdb -- ./server")]
    Run(Run),
    /// Says from a core file what a program died of, or what a process would die of
    ///
    /// Of a core file: which thread, which instruction, which mapped file at which offset, how long
    /// that file is now and what is free on its disk, and which other threads were opening, cutting
    /// or replacing files. The core's notes are read, not its memory, so a large core takes no
    /// longer. A compressed one is unpacked first, by zstd, lz4, xz or gzip. By the number of its
    /// process a core is found that systemd-coredump keeps.
    ///
    /// Of a process: descriptors whose other side is gone, mapped files that were cut or have no
    /// room on their disk, and signals that wait; of one that has ended and was not waited for, how
    /// it ended. Nothing is stopped.
    ///
    /// SIGPIPE leaves no core: `sigward watch` tells of it as it happens. Exits with 1 if the cause
    /// is not in the core (Go with GOTRACEBACK=crash, Python's faulthandler), or if something would
    /// end the process now.
    #[command(after_help = "Examples:\n  sigward explain core ./server\n  \
        sudo sigward explain $(pidof server)")]
    Explain(Explain),
    /// Follows running programs and explains each SIGPIPE, SIGBUS and death
    ///
    /// Works with any program, of any language, static or not: it is traced (ptrace), and a thread
    /// stops only where it gets a signal, starts another or executes a program, for some ten
    /// microseconds (twenty more for each thousand threads that it has), a few hundred where it is
    /// told. Every signal goes on unchanged. Ctrl-C detaches, and nothing is lost even if the
    /// watcher is killed with kill -9.
    ///
    /// Of a file that was cut it is said who else has it open for writing, as far as a search of
    /// a second tells, and of the first 16 only.
    ///
    /// Left out are faults that a runtime lives by: a SIGSEGV in code that a JVM has made, and that
    /// its handler gets. `--signals SEGV` tells of them as well.
    ///
    /// With a command it is started and watched, and its exit status is handed on (128 + N if
    /// signal N ended it); what is told goes to stderr then. Ctrl-C and Ctrl-Z are the command's,
    /// and it gets what is sent to the watcher. Without one Ctrl-Z does nothing.
    #[command(override_usage = "sigward watch [OPTIONS] <PID>...\n       \
        sigward watch [OPTIONS] -- <COMMAND>...")]
    #[command(after_help = "Examples:\n  sigward watch -- ./server --port 80\n  \
        sudo sigward watch --children $(pidof nginx)")]
    Watch(Watch),
    /// Says who opens for writing, cuts or replaces a file, as it happens
    ///
    /// For the case that programs die of SIGBUS because somebody cuts a file that they have mapped:
    /// shows process, command line, user and parent of whoever does it. A file that is replaced by
    /// rename(2) is told as well; that harms nobody.
    ///
    /// Without CAP_SYS_ADMIN the kernel does not say who it was; then /proc is searched, and quick
    /// updaters are seen but not named. Exits with 1 if the file was cut.
    #[command(after_help = "Example:\n  sudo sigward cut /var/lib/GeoIP/city.mmdb")]
    Cut(Cut),
    /// Looks at logs made by sigward's `Log`
    #[command(subcommand)]
    Log(LogCommand),
    /// Copies a file over another at once: a safe `cp`
    ///
    /// As `cp SOURCE DESTINATION`, but at every moment the name has the old file or the new one,
    /// whole, also after kill -9 or a power failure. Whoever has the old file open or mapped keeps
    /// it, so nobody dies of SIGBUS. Mode, owner and attributes stay; set-user-ID and file
    /// capabilities do not, unless asked for. A symbolic link stays, and what it names is replaced.
    Replace(Replace),
    /// Makes a file at least so long, with blocks for every byte: an honest `truncate`
    ///
    /// `truncate -s` promises bytes that the disk may not have; the store that meets the hole dies
    /// of SIGBUS. This asks for the blocks first: afterwards a store into the file finds its block,
    /// or the command fails and length and bytes are as they were. A file that was made for it
    /// stays then, and is empty.
    Reserve(Reserve),
    /// Prints the JSON Schema of what `--json` prints
    Schema,
}

/// What can be done with a log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Says what of a log is good; changes nothing and takes no lock
    ///
    /// Exits with 0 if everything that was ever acknowledged can be had, else with 1: then
    /// `sigward log salvage` copies out what is whole.
    Check {
        /// The log's file
        path: PathBuf,
    },
    /// Copies every whole record of a log into a new one
    ///
    /// The source is only read. Exits with 0 if it was sound, with 1 if something of it is lost;
    /// the new log is sound in both cases.
    Salvage {
        /// The log to read
        source: PathBuf,
        /// The log to make; there must be no file yet
        destination: PathBuf,
    },
}

/// `sigward replace`
#[derive(Debug, Group)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Replace {
    /// The file with the new contents; it stays
    pub source: PathBuf,
    /// The file to replace; made if it is not there
    pub destination: PathBuf,
    /// Replace a symbolic link itself, not what it names
    #[arg(long = "replace-link")]
    pub link: bool,
    /// Go on where the old file's owner cannot be kept
    #[arg(long)]
    pub any_owner: bool,
    /// Keep set-user-ID, set-group-ID and file capabilities of the old file
    #[arg(long)]
    pub keep_privileges: bool,
    /// Say what was done
    #[arg(short, long)]
    pub verbose: bool,
}

/// `sigward watch`
#[derive(Debug, Group)]
pub struct Watch {
    /// Processes to follow
    #[arg(required_unless_present = "command", conflicts_with = "command", value_name = "PID",
        value_parser = clap::value_parser!(i32).range(1..))]
    pub pids: Vec<i32>,
    /// A command to start and follow
    #[arg(last = true)]
    pub command: Vec<OsString>,
    /// Follow children as well
    #[arg(short = 'f', long)]
    pub children: bool,
    /// Signals to tell of, in place of PIPE,BUS,SEGV,ABRT,FPE,ILL,XFSZ,SYS,XCPU
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = signals::parse)]
    pub signals: Option<Vec<i32>>,
    /// Write to a file
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Whether the command has the library (`sigward run`)
    #[arg(skip)]
    pub preloaded: bool,
}

/// `sigward explain`
#[derive(Debug, Group)]
pub struct Explain {
    /// The core file, or the number of a process
    #[arg(value_name = "CORE|PID")]
    pub what: PathBuf,
    /// The executable, if it is elsewhere than it was: for names of functions
    pub program: Option<PathBuf>,
    /// Where systemd-coredump keeps cores
    #[arg(long, value_name = "FOLDER", default_value = crate::explain::storage::FOLDER)]
    pub storage: PathBuf,
}

/// `sigward audit`
#[derive(Debug, Group)]
pub struct Audit {
    /// Numbers of processes, or executables and libraries
    #[arg(required_unless_present = "all", value_name = "PID|BINARY")]
    pub what: Vec<PathBuf>,
    /// Also the handlers of a process and their flags, which the kernel tells nobody else: one of
    /// its threads is stopped for some milliseconds and made to ask (ptrace). Do not end this
    /// command with kill -9 meanwhile
    #[arg(long, requires = "what", conflicts_with = "all")]
    pub deep: bool,
    /// Every process, as a table; neither writers of mapped files nor children are looked for
    #[arg(long, conflicts_with = "what")]
    pub all: bool,
    /// Write metrics for node_exporter's textfile collector
    #[arg(long, value_name = "FILE", requires = "all")]
    pub prometheus: Option<PathBuf>,
}

/// `sigward run`
#[derive(Debug, Group)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Run {
    /// A line on stderr for each signal that was swallowed
    #[arg(long)]
    pub explain: bool,
    /// Broken peers are errors, and only they: the default
    #[arg(long, conflicts_with = "ignore")]
    pub filter: bool,
    /// Ignore SIGPIPE in place of the filter
    #[arg(long)]
    pub ignore: bool,
    /// Swallow SIGPIPE also where stdout or stderr is a pipe (`prog | head` goes on then)
    #[arg(long)]
    pub stdio: bool,
    /// Outlive the loss of these files where the program maps them: lost bytes are zeros, told on
    /// stderr
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub guard: Vec<PathBuf>,
    /// The library, if it is not beside the command
    #[arg(long, value_name = "FILE")]
    pub library: Option<PathBuf>,
    /// Follow children as well
    #[arg(short = 'f', long)]
    pub children: bool,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

/// `sigward cut`
#[derive(Debug, Group)]
pub struct Cut {
    /// The files; symbolic links are followed
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Ask before each open, so that every opener is named with its flags before it cuts; openers
    /// wait for us, so do not stop the command (kill -STOP; Ctrl-Z does nothing)
    #[arg(long)]
    pub exact: bool,
    /// End when a file was cut
    #[arg(long)]
    pub once: bool,
}

/// `sigward reserve`
#[derive(Debug, Group)]
pub struct Reserve {
    /// The file; made if it is not there, never made shorter
    pub path: PathBuf,
    /// Bytes, or with K, M, G, T (powers of 1024): 4096, 64K, 1.5G
    #[arg(value_parser = size)]
    pub size: u64,
    /// Where the range begins
    #[arg(long, default_value = "0", value_parser = size)]
    pub offset: u64,
    /// Write zeros where the file system cannot promise blocks (slow)
    #[arg(long)]
    pub slow: bool,
    /// Fail if there is no file
    #[arg(long)]
    pub no_create: bool,
}

/// A number of bytes, with a unit or without.
fn size(text: &str) -> Result<u64, String> {
    let units = ["K", "M", "G", "T", "P"];
    let upper = text.trim().to_ascii_uppercase();
    let bare = upper.trim_end_matches("IB").trim_end_matches('B');
    let found = units.iter().position(|unit| bare.ends_with(unit));
    let (digits, shift) = match found {
        Some(at) => (&bare[..bare.len() - 1], 10 * (at + 1)),
        None => (bare, 0),
    };
    let wrong = || format!("{text:?} is no size: try 4096, 64K, 1.5G");
    let large = || format!("{text:?} is more than any file has");
    if let Ok(number) = digits.parse::<u64>() {
        return number.checked_mul(1 << shift).ok_or_else(large);
    }
    let (whole, part) = digits.split_once('.').filter(|_| shift > 0).ok_or_else(wrong)?;
    let all_digits =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(part) || part.len() > 9 {
        return Err(wrong());
    }
    let scale = 10_u128.pow(part.len() as u32);
    let whole: u128 = whole.parse().map_err(|_| large())?;
    let part: u128 = part.parse().map_err(|_| wrong())?;
    let units = whole.checked_mul(scale).ok_or_else(large)? + part;
    let bytes = units.checked_mul(1 << shift).ok_or_else(large)? / scale;
    u64::try_from(bytes).map_err(|_| large())
}

#[cfg(test)]
mod tests {
    use super::{Args, size};
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64K", 65536),
            ("1.5G", 3 << 29),
            ("2MiB", 2 << 20),
            ("1kb", 1024),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in
            ["", "K", "-1", "1.5", "1..5G", "x", "1e3", "1.5X", "99999999T", "99999999999999999999"]
        {
            assert!(size(text).is_err(), "{text}");
        }
    }
}

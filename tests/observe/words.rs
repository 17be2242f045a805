//! Last words: what is said when a SIGPIPE or SIGBUS ends a program, and that nothing else about
//! that end is changed.
#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::file_systems::{EXT4, FileSystem, OVERLAY, TMPFS, XFS};
use support::{Link, Run, SIGPIPE, Scratch, library, prepared, run_command};

const SIGBUS: i32 = libc::SIGBUS;
/// For scenarios about the two signals alone the further ones make no difference.
const WORDS: &str = "explain,SEGV,ABRT,FPE,ILL,XFSZ,SYS";
const LAST: &str = "sigward: last words: ";

/// How a program comes to say them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `SIGWARD=explain` in the environment of a program that knows nothing of it.
    Preloaded,
    /// An option of `sigward_init`.
    Asked(Link),
}

const WAYS: [Way; 4] = [
    Way::Preloaded,
    Way::Asked(Link::Archive),
    Way::Asked(Link::DebugArchive),
    Way::Asked(Link::Shared),
];

fn preloaded(mut command: Command, words: &str) -> Command {
    command.env("LD_PRELOAD", library("release").join("libsigward.so")).env("SIGWARD", words);
    command
}

fn command(way: Way, scenario: &str, folder: &Path) -> Command {
    let link = if let Way::Asked(link) = way { link } else { Link::Bare };
    let mut command = Command::new(prepared("words", link));
    // A core, if there is one, has one name: of two that die in one folder at once one has none.
    command.arg(scenario).arg(folder).current_dir(folder);
    if way == Way::Preloaded { preloaded(command, WORDS) } else { command }
}

fn warded(way: Way, scenario: &str) -> Run {
    let scratch = Scratch::new(&format!("words-{scenario}"));
    run_command(command(way, scenario, scratch.path()))
}

fn bare(scenario: &str) -> Run {
    let scratch = Scratch::new(&format!("words-bare-{scenario}"));
    let mut command = Command::new(prepared("words", Link::Bare));
    command.arg(scenario).arg(scratch.path()).current_dir(scratch.path());
    run_command(command)
}

/// The one line of a run; what comes before the cause, and the cause.
#[track_caller]
fn words(run: &Run) -> (&str, &str) {
    assert_eq!(run.err.lines().count(), 1, "{run:#?}");
    let line = run.err.strip_suffix('\n').and_then(|line| line.strip_prefix(LAST));
    line.and_then(|line| line.split_once(": ")).unwrap_or_else(|| panic!("{run:#?}"))
}

/// The bare twin dies of the same, with the same status, and says nothing.
#[track_caller]
fn dies(scenario: &str, signal: i32, look: impl Fn(&str, &str, &Run)) {
    let bare = bare(scenario);
    assert_eq!(bare.died_of(signal).err, "");
    for way in WAYS {
        let run = warded(way, scenario);
        run.died_of(signal);
        assert_eq!(run.status.core_dumped(), bare.status.core_dumped(), "{way:?}");
        let (head, cause) = words(&run);
        println!("{way:?}: {head}: {cause}");
        look(head, cause, &run);
    }
}

// ---- SIGPIPE ----

#[test]
fn a_write_to_a_peer_that_is_gone() {
    dies("tcp", SIGPIPE, |head, cause, run| {
        assert!(head.starts_with("SIGPIPE (code 0) on thread \"pool-3\" (tid "), "{head}");
        let peer = format!("peer 127.0.0.1:{})", run.out.trim());
        let rest = cause.strip_prefix("write to ").unwrap();
        if cfg!(target_arch = "x86_64") {
            assert!(rest.starts_with("fd 17 (socket:[") && rest.contains(&peer), "{cause}");
        }
        assert!(rest.contains(" by words-"), "{cause}");
        assert!(run.err.ends_with(": the peer is gone (EPIPE)\n"), "{cause}");
    });
}

#[test]
fn a_write_to_a_pipe_that_nobody_reads() {
    dies("broken", SIGPIPE, |_, cause, run| {
        if cfg!(target_arch = "x86_64") {
            assert!(cause.starts_with("write to fd ") && cause.contains(" (pipe:["), "{cause}");
            assert!(run.err.ends_with(": its reader is gone (EPIPE)\n"), "{cause}");
        }
    });
}

#[test]
fn a_thread_that_is_to_be_cancelled_dies_of_its_write() {
    dies("cancelled", SIGPIPE, |head, _, _| {
        assert!(head.starts_with("SIGPIPE (code 0) on "), "{head}");
    });
}

#[test]
fn a_signal_that_somebody_has_sent_is_told_with_its_sender() {
    dies("sent", SIGPIPE, |_, cause, _| assert_eq!(cause, "sent by the process itself"));
    dies("sent_by_child", SIGPIPE, |_, cause, _| {
        assert!(cause.starts_with("sent by pid ") && cause.contains(" (words-"), "{cause}");
    });
}

#[test]
fn a_pipeline_ends_as_ever_and_says_it() {
    for words in ["explain", "explain,filter"] {
        let mut shell = preloaded(Command::new("sh"), &format!("{words},inherit"));
        shell.args(["-c", "seq 1 10000000 | head -1; :"]);
        let run = run_command(shell);
        assert_eq!(run.lived().out, "1\n");
        assert_eq!(run.err.lines().count(), 1, "{run:#?}");
        assert!(run.err.starts_with(LAST) && run.err.contains("\"seq\""), "{run:#?}");
    }
}

#[test]
fn nothing_is_said_of_what_ends_nothing() {
    for scenario in ["filtered", "ignored"] {
        assert_eq!(warded(Way::Asked(Link::Archive), scenario).lived().err, "");
    }
    assert_eq!(warded(Way::Preloaded, "ignored").lived().err, "");
    bare("filtered").died_of(SIGPIPE);
}

// ---- SIGBUS ----

#[test]
fn a_read_of_a_file_that_was_cut() {
    dies("truncated", SIGBUS, |head, cause, _| {
        assert!(
            head.starts_with("SIGBUS (code 2, address 0x") && head.contains("005) on thread "),
            "{head}"
        );
        assert!(cause.starts_with("read at offset 20,485 of /"), "{cause}");
        assert!(cause.contains("/geo.mmdb (65,536 bytes mapped) by words-"), "{cause}");
        assert!(cause.ends_with(": the file is 0 bytes long now"), "{cause}");
    });
    dies("in_libc", SIGBUS, |_, cause, _| {
        assert!(cause.starts_with("read at offset 20,") && cause.contains("/geo.mmdb"), "{cause}");
    });
    dies("deleted", SIGBUS, |_, cause, _| {
        // By the mapping itself where the kernel lets us.
        let known = cause.ends_with(": the file is 0 bytes long now");
        assert!(
            known
                || cause.ends_with(
                    ": the file is not there any more: deleted, or replaced under another name"
                )
        );
        assert!(cause.contains("/geo.mmdb (deleted) (65,536 "), "{cause}");
    });
}

#[test]
fn without_proc_nothing_is_claimed_and_without_descriptors_nothing_is_said() {
    let bare_in_a_folder = bare("without_proc");
    if bare_in_a_folder.out == "no leave\n" {
        eprintln!("left out: no leave for chroot(2)");
    } else {
        bare_in_a_folder.died_of(SIGBUS);
        dies("without_proc", SIGBUS, |_, cause, _| {
            let nothing = cause.starts_with("read where no file is known to be mapped by ");
            assert!(nothing && cause.ends_with(": nobody knows why"), "{cause}");
        });
    }
    for way in WAYS {
        assert_eq!(warded(way, "without_descriptors").died_of(SIGPIPE).err, "");
    }
    bare("without_descriptors").died_of(SIGPIPE);
}

#[test]
fn a_name_is_cut_and_cannot_break_the_line() {
    dies("long_name", SIGBUS, |_, cause, run| {
        assert!(cause.contains("/line?feed-xxx") && run.err.len() < 1024, "{cause}");
    });
}

/// Whoever runs this may have no such file system; the others are enough then.
#[test]
fn a_write_into_a_hole_of_a_full_disk() {
    let full = |file_system: &FileSystem, link| file_system.host("words", "full_disk", link);
    for file_system in [&TMPFS, &EXT4, &XFS, &OVERLAY].into_iter().filter(|it| it.is_here()) {
        full(file_system, Link::Bare).died_of(SIGBUS);
        let run = full(file_system, Link::Archive);
        let (_, cause) = words(run.died_of(SIGBUS));
        println!("{}: {cause}", file_system.name);
        assert!(cause.starts_with("write at offset 28,672 of "), "{}: {cause}", file_system.name);
        assert!(
            cause.contains("/app.db (65,536 bytes mapped) by words-"),
            "{}: {cause}",
            file_system.name
        );
        assert!(
            cause.contains(": the disk is full (") && cause.ends_with(" has no block there"),
            "{}: {cause}",
            file_system.name
        );
    }
}

// ---- further signals ----

#[test]
fn an_access_to_what_is_not_there() {
    let place = |cause: &str| cause.split_once(": ").expect("a reason").0.to_owned();
    dies("null", libc::SIGSEGV, |head, cause, _| {
        assert!(head.starts_with("SIGSEGV (code 1, address 0x10) on thread \"words-"), "{head}");
        assert!(
            cause.starts_with("read at words-") && cause.ends_with(": a null pointer"),
            "{cause}"
        );
        assert!(place(cause).contains("+0x") && place(cause).contains(" by words-"), "{cause}");
    });
    dies("jump_nowhere", libc::SIGSEGV, |_, cause, _| assert_eq!(cause, "jump: a null pointer"));
    dies("in_libc_null", libc::SIGSEGV, |_, cause, _| {
        assert!(
            cause.starts_with("read at libc") && place(cause).contains(" by words-"),
            "{cause}"
        );
    });
}

#[test]
fn a_store_into_what_may_only_be_read() {
    dies("read_only", libc::SIGSEGV, |head, cause, _| {
        assert!(head.starts_with("SIGSEGV (code 2, address 0x"), "{head}");
        assert!(cause.starts_with("write at offset 20,485 of /"), "{cause}");
        assert!(cause.contains("/geo.mmdb (65,536 bytes mapped) at words-"), "{cause}");
        assert!(cause.ends_with(": what is mapped there may not be accessed so"), "{cause}");
    });
}

/// Without an alternate stack nobody can say anything; the death is the same.
#[test]
fn a_stack_that_is_full() {
    dies("no_stack_left", libc::SIGSEGV, |_, cause, _| {
        assert!(cause.ends_with(": the thread's stack is full, as it seems"), "{cause}");
    });
    for run in WAYS.map(|way| warded(way, "no_stack_at_all")) {
        assert_eq!(run.died_of(libc::SIGSEGV).err, "");
    }
}

#[test]
fn a_process_that_ends_itself() {
    dies("aborted", libc::SIGABRT, |head, cause, _| {
        assert!(head.starts_with("SIGABRT (code -6) on thread "), "{head}");
        assert!(cause.starts_with("aborted by words-"), "{cause}");
    });
    dies("abort_sent", libc::SIGABRT, |_, cause, _| {
        assert_eq!(cause, "sent by the process itself");
    });
}

#[test]
fn what_the_processor_or_the_kernel_does_not_do() {
    if cfg!(target_arch = "x86_64") {
        dies("divided", libc::SIGFPE, |head, cause, _| {
            assert!(head.starts_with("SIGFPE (code 1, address 0x"), "{head}");
            assert!(
                cause.starts_with("arithmetic by words-") && cause.contains("divided by zero"),
                "{cause}"
            );
        });
        dies("illegal", libc::SIGILL, |_, cause, _| {
            assert!(
                cause.starts_with("an instruction by words-") && cause.contains("a trap"),
                "{cause}"
            );
        });
    }
    dies("forbidden", libc::SIGSYS, |head, cause, _| {
        let call = format!("system call {} by words-", libc::SYS_sethostname);
        assert!(head.starts_with("SIGSYS (code 1, address 0x"), "{head}");
        assert!(
            cause.starts_with(&call) && cause.ends_with(": a seccomp filter forbids it"),
            "{cause}"
        );
    });
}

#[test]
fn a_write_to_a_file_that_may_not_be_longer() {
    dies("too_long", libc::SIGXFSZ, |head, cause, _| {
        assert!(head.starts_with("SIGXFSZ (code 0) on thread "), "{head}");
        if cfg!(target_arch = "x86_64") {
            assert!(
                cause.starts_with("pwrite to fd 17 (/") && cause.contains("/app.log) by words-"),
                "{cause}"
            );
        }
        let reason = ": the file may not be longer than 4,096 bytes (RLIMIT_FSIZE, ulimit -f)";
        assert!(cause.ends_with(reason), "{cause}");
    });
}

#[test]
fn what_a_handler_answers_is_not_told() {
    assert_eq!(bare("answered").lived().err, "");
    for way in [Way::Asked(Link::Archive), Way::Asked(Link::DebugArchive), Way::Asked(Link::Shared)]
    {
        assert_eq!(warded(way, "answered").lived().err, "", "{way:?}");
    }
}

#[test]
fn what_was_not_chosen_stays_as_it_is() {
    for way in [Way::Asked(Link::Archive), Way::Asked(Link::DebugArchive), Way::Asked(Link::Shared)]
    {
        assert_eq!(warded(way, "not_chosen").died_of(libc::SIGSEGV).err, "", "{way:?}");
        assert_eq!(warded(way, "ignored_further").lived().err, "");
    }
    assert_eq!(bare("not_chosen").died_of(libc::SIGSEGV).err, "");
    assert_eq!(warded(Way::Preloaded, "ignored_further").lived().err, "");
    let mut alone = Command::new(prepared("words", Link::Bare));
    alone.args(["null", "/"]);
    assert_eq!(run_command(preloaded(alone, "explain")).died_of(libc::SIGSEGV).err, "");
}

#[test]
fn an_abort_that_goes_to_a_handler_is_no_last_word() {
    assert_eq!(bare("abort_survived").lived().out, "lived\n");
    let run = warded(Way::Asked(Link::Archive), "abort_survived");
    assert_eq!(run.lived().out, "lived\n");
    assert!(run.err.starts_with("sigward: passing on: SIGABRT (code -6) on thread "), "{run:#?}");
    assert!(
        run.err.lines().count() == 1 && run.err.contains("; it goes to the handler of words-"),
        "{run:#?}"
    );
}

#[test]
fn faults_in_code_that_a_runtime_has_made_are_its_own_affair() {
    assert_eq!(bare("made_code").lived().out, "100\n");
    let run = warded(Way::Asked(Link::Archive), "made_code");
    assert_eq!(run.lived().out, "100\n");
    // And nothing else's.
    assert!(
        run.err.starts_with("sigward: passing on: SIGABRT ") && run.err.lines().count() == 1,
        "{run:#?}"
    );
}

/// By python, which others wrote to read it.
#[test]
fn as_json_it_is_one_object_in_one_line() {
    assert_eq!(bare("as_json").died_of(SIGBUS).err, "");
    for way in WAYS {
        let scratch = Scratch::new("words-as_json");
        let mut program = command(way, "as_json", scratch.path());
        if way == Way::Preloaded {
            program.env("SIGWARD", format!("{WORDS},json"));
        }
        let run = run_command(program);
        let line = run.died_of(SIGBUS).err.as_str();
        println!("{line}");
        assert!(line.ends_with("}\n") && line.lines().count() == 1, "{way:?}: {run:#?}");
        assert!(line.starts_with("{\"sigward\":\"last words\",\"time_ns\":1"), "{line}");
        let rest = line.split_once(",\"signal\":").expect("a signal").1;
        assert!(rest.starts_with("\"SIGBUS\",\"number\":7,\"code\":2,\"address\":\"0x"), "{line}");
        assert!(rest.contains(r#","thread":"a\"b\\c?","tid":"#), "{line}");
        assert!(rest.contains(r#","cause":"read at offset 20,485 of /"#), "{line}");
        assert!(rest.contains(r#"/a\"b\\?? (65,536 bytes mapped) by words-"#), "{line}");
        assert!(rest.ends_with(": the file is 0 bytes long now\",\"handler\":null}\n"), "{line}");
        let mut python = Command::new("python3");
        python.args(["-c", "import json, sys; print(json.loads(sys.argv[1])['number'])", line]);
        if python.stderr(Stdio::null()).status().is_ok() {
            assert_eq!(run_command(python).lived().out, "7\n");
        }
        let again = warded(way, "json_again");
        assert!(again.died_of(libc::SIGSEGV).err.starts_with(LAST), "{again:#?}");
    }
}

// ---- wherever ----

#[test]
fn a_child_says_its_own() {
    for way in WAYS {
        let run = warded(way, "forked");
        assert_eq!(run.died_of(SIGBUS).out, "signal 7\nsignal 7\n");
        let lines: Vec<&str> = run.err.lines().collect();
        assert!(lines.len() == 3 && lines.iter().all(|line| line.starts_with(LAST)), "{run:#?}");
    }
}

#[test]
fn a_stderr_that_cannot_take_a_line_or_is_none_any_more_gets_none() {
    for scenario in ["full_pipe", "broken_stderr", "closed", "reused", "closed_before"] {
        let bare = bare(scenario);
        for way in WAYS {
            let run = warded(way, scenario);
            assert_eq!(
                (&run.out, run.err.as_str()),
                (&bare.lived().out, ""),
                "{scenario}, {way:?}"
            );
            assert!(run.lived().out.starts_with("signal 7\n"), "{scenario}, {way:?}");
        }
    }
    assert!(bare("reused").out.ends_with("received 0\n"));
}

#[test]
fn a_descriptor_of_choice_gets_the_line_as_well() {
    let scratch = Scratch::new("words-other");
    let run = run_command(command(Way::Asked(Link::Archive), "another_descriptor", scratch.path()));
    assert_eq!((run.lived().out.as_str(), run.err.as_str()), ("signal 7\n", ""));
    let words = std::fs::read_to_string(scratch.path().join("words")).expect("it was written");
    assert!(words.starts_with(LAST) && words.lines().count() == 1, "{words}");
    assert_eq!(warded(Way::Asked(Link::Archive), "unwanted").lived().err, "");
}

#[test]
fn little_stack_is_enough() {
    for way in WAYS {
        let run = warded(way, "small_stack");
        assert!(run.lived().out.lines().all(|line| line == "signal 7"), "{way:?}: {run:#?}");
        let lines =
            run.err.lines().filter(|line| line.starts_with(LAST) && line.contains("/geo.mmdb"));
        assert_eq!(lines.count(), run.out.lines().count(), "{way:?}: {run:#?}");
        words(warded(way, "small_thread").died_of(SIGBUS));
    }
}

#[test]
fn threads_that_die_at_once_leave_whole_lines() {
    for way in WAYS {
        let run = warded(way, "at_once");
        let mut told: Vec<&str> = Vec::new();
        for line in run.lived().err.lines() {
            assert!(
                line.starts_with(LAST) && line.ends_with(": the file is 0 bytes long now"),
                "{line}"
            );
            told.push(
                line.split_once(" of pid ")
                    .and_then(|(_, rest)| rest.split_once(':'))
                    .expect("a pid")
                    .0,
            );
        }
        told.sort_unstable();
        told.dedup();
        assert_eq!(told.len(), 40, "{way:?}: a line for each death");
    }
}

/// On x86-64 a stack pointer that cannot be an address is a SIGBUS.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_stack_that_is_not_there_is_left_alone() {
    if bare("lost_stack").status.signal() == Some(libc::SIGSEGV) {
        println!("left out: no SIGBUS comes of it on a processor that is emulated");
        return;
    }
    dies("lost_stack", SIGBUS, |head, _, _| {
        assert!(head.starts_with("SIGBUS (code 128, "), "{head}");
    });
    assert_eq!(bare("lost_stack_reported").lived().out, "reported\n");
    let run = warded(Way::Asked(Link::Archive), "lost_stack_reported");
    assert_eq!(run.lived().out, "reported\n");
    assert!(run.err.starts_with("sigward: passing on: SIGBUS (code 128, "), "{run:#?}");
}

// ---- with others' handlers ----

#[test]
fn what_goes_to_a_handler_is_no_last_word() {
    assert_eq!(bare("survived").lived().out, "lived\n");
    let run = warded(Way::Asked(Link::Archive), "survived");
    assert_eq!(run.lived().out, "lived\n");
    let lines: Vec<&str> = run.err.lines().collect();
    assert_eq!(lines.len(), 16, "{run:#?}");
    for line in lines {
        assert!(line.starts_with("sigward: passing on: SIGBUS (code 2, "), "{line}");
        assert!(line.contains("; it goes to the handler of words-"), "{line}");
    }
}

#[test]
fn what_a_handler_has_raised_again_is_told_as_the_fault() {
    dies("raised", SIGBUS, |_, cause, run| {
        assert_eq!(run.out, "reported\n");
        assert!(cause.starts_with("read at offset 20,485 of "), "{cause}");
    });
}

const FAULT: &str = "
import mmap, os, sys
path = sys.argv[1] + '/geo'
open(path, 'wb').write(bytes(65536))
data = mmap.mmap(os.open(path, os.O_RDONLY), 65536, prot=mmap.PROT_READ)
os.truncate(path, 0)
data[5000]
";

#[test]
fn python_and_its_faulthandler_say_theirs_as_well() {
    // Itself, and not a script that finds it.
    let mut which = Command::new("python3");
    let found =
        which.args(["-c", "import sys; print(sys.executable)"]).stderr(Stdio::null()).output();
    let Ok(found) = found.map(|found| String::from_utf8_lossy(&found.stdout).trim().to_owned())
    else {
        return support::skip("no python3");
    };
    for switches in [&[][..], &["-X", "faulthandler"]] {
        let scratch = Scratch::new("words-python");
        let python = |scratch: &Scratch| {
            let mut python = Command::new(&found);
            python
                .args(switches)
                .args(["-c", FAULT])
                .arg(scratch.path())
                .current_dir(scratch.path());
            python
        };
        let bare = run_command(python(&scratch));
        let run = run_command(preloaded(python(&scratch), "explain"));
        assert_eq!(bare.signal(), Some(SIGBUS), "{bare:#?}");
        assert_eq!(run.status, bare.status, "{run:#?}");
        let (ours, theirs): (Vec<_>, Vec<_>) =
            run.err.lines().partition(|line| line.starts_with(LAST));
        let [line] = ours[..] else { panic!("{run:#?}") };
        assert!(
            line.contains("read at offset 5,000 of ") && line.contains("/geo (65,536 "),
            "{line}"
        );
        let masked = |line: &str| line.split("0x").next().unwrap_or_default().to_owned();
        let [theirs, bare] = [theirs, bare.err.lines().collect()]
            .map(|lines| lines.into_iter().map(masked).collect::<Vec<_>>());
        assert_eq!(theirs, bare);
        assert_eq!(switches.is_empty(), bare.is_empty());
    }
}

/// A fault of C code in a Java process: the report is the runtime's, as without us. (Were our seat
/// beneath the runtime's, it would pass that fault on to it.)
#[test]
fn a_java_program_has_its_own_report() {
    if Command::new("java").arg("-version").stderr(Stdio::null()).status().is_err() {
        return support::skip("no java");
    }
    let scratch = Scratch::new("words-java");
    let source = scratch.path().join("Fault.java");
    std::fs::write(
        &source,
        r#"import java.nio.*; import java.nio.channels.*; import java.nio.file.*;
class Fault {
    public static void main(String[] arguments) throws Exception {
        Path path = Path.of(arguments[0], "geo");
        Files.write(path, new byte[65536]);
        MappedByteBuffer data = FileChannel.open(path, StandardOpenOption.READ)
            .map(FileChannel.MapMode.READ_ONLY, 0, 65536);
        FileChannel.open(path, StandardOpenOption.WRITE).truncate(0);
        new java.util.zip.Adler32().update(data); // C code
    }
}
"#,
    )
    .expect("writable");
    let java = || {
        let mut java = Command::new("java");
        java.args(["-Xshare:auto", "-Xint", "-XX:-CreateCoredumpOnCrash"]);
        java.arg(format!("-XX:ErrorFile={}/report", scratch.as_str()))
            .arg(&source)
            .arg(scratch.path());
        java
    };
    for way in [java(), preloaded(java(), "explain")] {
        let run = run_command(way);
        assert_eq!(run.status.code(), Some(1), "{run:#?}");
        assert!(run.out.contains("SIGBUS (0x7)") && !run.err.contains(LAST), "{run:#?}");
        std::fs::remove_file(scratch.path().join("report")).expect("the runtime's report");
    }
}

/// One that lives on says nothing, however long it waits for its end.
#[test]
fn who_has_sent_it_is_named() {
    let mut program = command(Way::Preloaded, "sent_by_named", Path::new("/"));
    let mut child =
        program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut byte = [0_u8];
    std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut byte)
        .expect("it says its pid");
    let sender = std::process::id().to_string();
    // SAFETY: a child of ours, and a signal.
    assert_eq!(unsafe { libc::kill(child.id().cast_signed(), SIGPIPE) }, 0);
    let start = Instant::now();
    while child.try_wait().expect("a child of ours").is_none()
        && start.elapsed() < Duration::from_secs(30)
    {
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = child.kill();
    let output = child.wait_with_output().expect("a child of ours");
    assert_eq!(output.status.signal(), Some(SIGPIPE), "{output:?}");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(err.contains(&format!(": sent by pid {sender} (")) && err.ends_with(")\n"), "{err}");
}

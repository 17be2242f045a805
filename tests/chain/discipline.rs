//! What our handler uses of the interrupted thread, and how faithful its default action is.

#[path = "../support/mod.rs"]
mod support;

use std::process::Command;
use support::{Link, Scratch, both, host, run, run_command};

// ---- 7. handler discipline ----

#[test]
fn our_own_stack_is_small() {
    // A frame of aarch64 keeps more registers. The kernel aligns its own, so the figure is 128
    // bytes higher where a stack begins elsewhere, as with a longer environment.
    let more = if cfg!(target_arch = "aarch64") { 1024 } else { 0 };
    let scratch = Scratch::new("discipline-stack");
    for (scenario, count, most) in [("stack_use", 3, 2048), ("bus_stack_use", 8, 2560)] {
        let run = run(&host("discipline", Link::Archive), &[scenario, scratch.as_str()]);
        let uses: Vec<(&str, i32)> = run
            .lived()
            .out
            .lines()
            .map(|line| {
                line.rsplit_once(' ').map(|(what, bytes)| (what, bytes.parse().unwrap())).unwrap()
            })
            .collect();
        assert_eq!(uses.len(), count, "{run:?}");
        for (what, bytes) in uses {
            println!("{what}: {bytes} bytes beyond the kernel's frame and an empty handler");
            assert!((1..=most + more).contains(&bytes), "{what} uses {bytes}");
        }
    }
}

#[test]
fn nothing_is_allocated_in_a_handler() {
    let scratch = Scratch::new("discipline-allocation");
    run(&host("discipline", Link::Archive), &["no_allocation"]).lived();
    run(&host("discipline", Link::Archive), &["bus_no_allocation", scratch.as_str()]).lived();
}

#[test]
fn errno_is_as_it_was() {
    run(&host("discipline", Link::Archive), &["errno_kept"]).lived();
}

// ---- 4. faithful default ----

#[test]
fn the_default_action_has_the_original_siginfo_at_the_original_instruction() {
    let (bare, warded) = both("faithful", "siginfo");
    assert_eq!(bare.lived().out, warded.lived().out);
    assert!(!bare.out.contains("moved"));
    assert!(bare.out.contains("queue: signal 13, code -1, own pid 1, value 4711"), "{}", bare.out);
}

#[test]
fn the_init_process_of_a_namespace_lives_as_without_us() {
    for link in [Link::Bare, Link::Archive] {
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--kill-child"]);
        // Without root a user namespace comes first.
        // SAFETY: geteuid(2) cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            unshare.args(["--user", "--map-root-user"]);
        }
        unshare.arg(host("faithful", link)).arg("init_process");
        assert_eq!(run_command(unshare).lived().out, "lived\n", "{link:?}");
    }
}

// ---- sandboxes ----

/// A test that needs another call here needs it in docs/design.md as well.
#[test]
fn handlers_make_no_system_call_that_is_not_listed() {
    let scratch = Scratch::new("discipline-allowed");
    let allowed =
        |scenario: &str| run(&host("allowed", Link::Archive), &[scenario, scratch.as_str()]);
    assert_eq!(allowed("listed").every_row("exit 0"), 9);
    let words = allowed("last_words");
    assert_eq!(words.lived().out, "last words: signal 13\nlast words: signal 7\n");
    let lines = words.err.lines().filter(|line| line.starts_with("sigward: last words: "));
    assert_eq!(lines.count(), 2, "{words:?}");
    assert!(
        words.err.contains(" by allowed-") && words.err.contains(" bytes long now"),
        "{words:?}"
    );
    assert_eq!(allowed("unlisted").every_row("signal 31"), 1);
}

#[test]
fn what_a_sandbox_traps_is_answered_by_its_handler() {
    for scenario in ["reserve", "init", "write"] {
        for link in [Link::Bare, Link::Archive] {
            run(&host("trapped", link), &[scenario]).lived();
        }
    }
    let (bare, warded) = both("trapped", "echo");
    bare.died_of(libc::SIGPIPE);
    warded.lived();
    let (bare, warded) = both("trapped", "echo_with_little_stack");
    bare.died_of(libc::SIGPIPE);
    warded.died_of(libc::SIGSYS);
}

// ---- what handlers are made of ----

/// What allocates, locks, unwinds, waits for others or asks the C library for more than it may.
const FORBIDDEN: &str = "Box Vec String CString OsString PathBuf Rc Arc HashMap BTreeMap Mutex \
    RwLock Condvar OnceLock LazyLock OnceCell Once JoinHandle thread_local format vec print \
    println eprint eprintln dbg panic todo unimplemented unreachable";

/// Methods that allocate or panic.
const METHODS: [&str; 5] = [".unwrap(", ".expect(", ".to_string(", ".to_owned(", ".collect("];

/// Parts of std that are calls into the system, or none.
const FORBIDDEN_MODULES: [&str; 7] = ["fs", "env", "thread", "io", "net", "panic", "sync::mpsc"];

/// Functions of signal-safety(7), and what is a bare system call in every C library; none in which
/// a cancelled thread ends (poll(2) is for other systems than Linux).
const CALLS: &str = "clock_gettime fstat fstatfs getpeername getrlimit getsockopt mmap munlock \
    munmap poll prctl pthread_sigmask raise readlink sigaddset sigaltstack sigdelset stat syscall";

/// The files that run in handlers: `handler.rs` and `in_handler.rs`, and those of folders of these
/// names.
fn handler_files(folder: &std::path::Path, inside: bool, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            handler_files(&path, inside || ["handler", "in_handler"].contains(&&*name), found);
        } else if inside || ["handler.rs", "in_handler.rs"].contains(&&*name) {
            found.push(path);
        }
    }
}

/// The code without comments, literals and the tests at its end.
fn code_of(text: &str) -> String {
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    let code = lines.map(|line| line.split("//").next().unwrap_or_default());
    let literal = |line: &str| {
        let parts = line.split('"').enumerate().filter(|(number, _)| number % 2 == 0);
        parts.map(|(_, part)| part).collect::<Vec<_>>().join("\"\"")
    };
    code.map(literal).collect::<Vec<_>>().join("\n")
}

/// What a handler may not do, in the order of the code.
fn offences(code: &str) -> Vec<String> {
    let is_word = |sign: char| sign.is_alphanumeric() || sign == '_';
    let words = code
        .split(|sign| !is_word(sign))
        .filter(|word| FORBIDDEN.split(' ').any(|bad| bad == *word));
    let mut found: Vec<String> = words.map(str::to_owned).collect();
    found.extend(METHODS.iter().filter(|name| code.contains(**name)).map(ToString::to_string));
    for rest in code.split("std::").skip(1) {
        let module = FORBIDDEN_MODULES.iter().find(|module| {
            rest.strip_prefix(**module).is_some_and(|after| !after.starts_with(is_word))
        });
        found.extend(module.map(|module| format!("std::{module}")));
    }
    for rest in code.split("libc::").skip(1) {
        let name: String = rest.chars().take_while(|sign| is_word(*sign)).collect();
        let called = rest.get(name.len()..).is_some_and(|after| after.starts_with('('));
        if called
            && name.starts_with(char::is_lowercase)
            && !CALLS.split(' ').any(|call| call == name)
        {
            found.push(format!("libc::{name}"));
        }
    }
    found
}

#[test]
fn what_runs_in_a_handler_calls_nothing_that_it_may_not() {
    for bad in
        ["let a = Box::new(1);", "a.unwrap()", "std::fs::read(a)", "libc::read(0)", "format!()"]
    {
        assert_eq!(offences(bad).len(), 1, "{bad}");
    }
    let good = "/// Box\nlibc::fstat(fd, to); // unwrap\nlet a = \"Vec\";";
    assert!(offences(&code_of(good)).is_empty());
    let mut files = Vec::new();
    handler_files(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), false, &mut files);
    assert!(files.len() > 30, "{files:?}");
    for path in &files {
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(offences(&code_of(&text)), Vec::<String>::new(), "{}", path.display());
        let comments = text.lines().filter_map(|line| line.trim_start().strip_prefix("///"));
        let comments = comments.map(str::trim).collect::<Vec<_>>().join(" ").to_lowercase();
        assert!(!comments.contains("not for handlers"), "{}", path.display());
    }
}

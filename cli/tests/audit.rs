//! `sigward audit`: each finding on a process that has it, none on healthy ones.

mod support;

use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use support::{
    Scratch, SmallDisk, finish, have, ids, library, missing_unless, ready, ready_as, sigward,
    victim,
};

/// A process that lives as long as the test, and is ready.
struct Alive(Child);

impl Alive {
    fn start(program: &Path, arguments: &[&str]) -> Self {
        Self(ready(program, arguments))
    }

    fn audit(&self) -> (i32, Value) {
        let run = sigward(&["audit", "--json", &self.0.id().to_string()]);
        (run.code, run.json())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until it is so, with the patience of 30 seconds.
fn wait_for<T: std::fmt::Debug>(look: impl Fn() -> T, is_so: impl Fn(&T) -> bool) -> T {
    let start = Instant::now();
    loop {
        let found = look();
        if is_so(&found) {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "still: {found:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_map_of_a_cut_file_and_a_blocked_signal_are_found() {
    let (scratch, victim) = (Scratch::new("audit"), victim("victim.c"));
    let data = scratch.join("data");
    let bad = Alive::start(&victim, &["audited", &data]);
    let (code, account) = bad.audit();
    assert_eq!((code, &account["sigpipe"]), (1, &"default".into()), "{account}");
    let found = ids(&account);
    for id in ["map-beyond-file", "signal-blocked", "sigpipe-fatal"] {
        assert!(found.contains(&id), "{id}: {account}");
    }
    // Whoever writes to the file is somebody else.
    let writer =
        std::fs::File::options().write(true).open(scratch.file("read", &[1; 5000])).unwrap();
    let reader = Alive::start(&victim, &["reads", &scratch.join("read")]);
    assert_eq!(ids(&reader.audit().1), ["map-being-written"]);
    drop(writer);
    // A child of another test's has it open until it executes its program.
    let start = Instant::now();
    while reader.audit().0 != 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", reader.audit());
    }
    assert_eq!(ids(&reader.audit().1), [""; 0]);
    std::fs::remove_file(scratch.join("read")).unwrap();
    assert_eq!(ids(&reader.audit().1), ["map-deleted"]);
}

#[test]
fn children_that_ignore_sigpipe_are_found_and_others_are_not() {
    let victim = victim("victim.c");
    let finding = &["ignored-inherited"][..];
    for (child, found) in [("other", &[][..]), ("other,ignore", finding), ("worker,ignore", &[])] {
        let mut parent = Alive::start(&victim, &["parent", child]);
        let (code, account) = parent.audit();
        assert_eq!((code, ids(&account).as_slice()), (0, found), "{account}");
        // The child ends with its stdin, and the parent with the child.
        drop(parent.0.stdin.take());
        parent.0.wait().unwrap();
    }
}

#[test]
fn a_map_with_more_holes_than_its_disk_has_room_is_found() {
    let Some(disk) = SmallDisk::mount("audit-full") else { return };
    for (length, expected) in [("65536", 0), ("1048576", 1)] {
        let alive = Alive::start(&victim("victim.c"), &["stores", &disk.join(length), length]);
        let (code, account) = alive.audit();
        let found = &["sparse-on-full-disk"][..expected];
        assert_eq!((code, ids(&account).as_slice()), (expected as i32, found), "{account}");
    }
}

#[test]
fn go_with_a_library_and_nothing_beneath_it_is_found() {
    if !have("go") {
        return;
    }
    let scratch = Scratch::new("audit-cgo");
    std::fs::copy(
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/victims/victim.go"),
        scratch.join("main.go"),
    )
    .unwrap();
    // With a loader, so that it can have libraries at all.
    scratch.file("c.go", b"package main\n\nimport \"C\"\n");
    scratch.file("go.mod", b"module victim\n\ngo 1.21\n");
    let build =
        finish(Command::new("go").args(["build", "-o", "victim"]).current_dir(scratch.path()));
    assert_eq!(build.code, 0, "{build:?}");
    let source = scratch.file("other.c", b"int other;");
    let library = scratch.join("libother.so");
    let cc = finish(Command::new("cc").args(["-shared", "-o", &library, &source]));
    assert_eq!(cc.code, 0, "{cc:?}");
    for (preload, found) in [("", &[][..]), (&library, &["sigpipe-foreign-threads"])] {
        let mut start = Command::new(scratch.join("victim"));
        let alive = Alive(ready_as(start.arg("sleep").env("LD_PRELOAD", preload)));
        let (code, account) = alive.audit();
        assert_eq!((code, ids(&account).as_slice()), (0, found), "{account}");
    }
}

#[test]
fn go_without_its_sigurg_is_found() {
    if have("go") {
        let (code, account) = Alive::start(&victim("victim.go"), &["deaf"]).audit();
        assert_eq!((code, ids(&account).as_slice()), (0, &["sigurg-taken"][..]), "{account}");
    }
}

#[test]
fn a_library_that_stands_before_sigaction_and_ours_unarmed_are_found() {
    let (scratch, victim) = (Scratch::new("audit-preload"), victim("victim.c"));
    let build = |name: &str, text: &str| {
        let source = scratch.file(&format!("{name}.c"), text.as_bytes());
        let library = scratch.join(&format!("lib{name}.so"));
        let cc = finish(Command::new("cc").args(["-shared", "-fPIC", "-o", &library, &source]));
        assert_eq!(cc.code, 0, "{cc:?}");
        library
    };
    let before = build("before", "int sigaction(int n, const void *a, void *b) { return -1; }");
    let caller = build(
        "caller",
        "int sigaction(int, void *, void *); int it(void) { return sigaction(1, 0, 0); }",
    );
    let ours = library().to_str().unwrap().to_owned();
    for (preload, word, found) in [
        (&before, "", &["interposer"][..]),
        (&caller, "", &[]),
        (&ours, "", &["not-armed"]),
        (&ours, "filter", &[]),
    ] {
        let mut start = Command::new(&victim);
        start.arg("sleep").env("LD_PRELOAD", preload).env("SIGWARD", word);
        let (code, account) = Alive(ready_as(&mut start)).audit();
        assert_eq!((code, ids(&account).as_slice()), (0, found), "{preload} {word}: {account}");
    }
}

#[test]
fn healthy_processes_have_no_warning_and_the_runtime_is_named() {
    let mut healthy = vec![(victim("victim.c"), vec!["sleep"], None)];
    if have("go") {
        healthy.push((victim("victim.go"), vec!["sleep"], Some("Go")));
    }
    let script = "print('ready', flush=True); import time; time.sleep(600)";
    if have("python3") {
        let python =
            finish(Command::new("python3").args(["-c", "import sys; print(sys.executable)"]));
        healthy.push((python.out.trim().into(), vec!["-c", script], Some("CPython")));
    }
    let script = "console.log('ready'); setInterval(() => {}, 1000)";
    if have("node") {
        let node = finish(Command::new("node").args(["-p", "process.execPath"]));
        healthy.push((node.out.trim().into(), vec!["-e", script], Some("Node")));
    }
    let scratch = Scratch::new("audit-java");
    let text = b"class Sleeps { public static void main(String[] none) throws Exception {
        System.out.println(\"ready\"); Thread.sleep(600000); } }";
    let source = scratch.file("Sleeps.java", text);
    if have("java") && have("javac") {
        healthy.push(("java".into(), vec![&source], Some("JVM")));
    }
    for (program, arguments, runtime) in healthy {
        let alive = Alive::start(&program, &arguments);
        // A thread that has not run yet has everything blocked.
        let (code, account) = wait_for(|| alive.audit(), |(_, account)| ids(account).is_empty());
        assert_eq!(code, 0, "{account}");
        let named: Vec<&str> = account["runtimes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        assert_eq!(named, runtime.into_iter().collect::<Vec<_>>(), "{account}");
    }
}

#[test]
fn all_processes_are_a_table_and_metrics() {
    let scratch = Scratch::new("audit-all");
    let alive = Alive::start(&victim("victim.c"), &["audited", &scratch.join("data")]);
    let pid = alive.0.id().to_string();
    let table = sigward(&["audit", "--all"]);
    assert!(table.out.starts_with("PID "), "{table:?}");
    let row = table.out.lines().find(|line| line.split(' ').next() == Some(&pid)).unwrap();
    assert!(row.contains("default") && row.contains("map-beyond-file"), "{row}");
    assert_eq!(table.code, 1);

    let metrics = scratch.join("sigward.prom");
    assert_eq!(sigward(&["audit", "--all", "--prometheus", &metrics]).code, 1);
    let text = std::fs::read_to_string(metrics).unwrap();
    let line = text.lines().find(|line| {
        line.starts_with(&format!("sigward_findings{{pid=\"{pid}\""))
            && line.contains("map-beyond-file")
    });
    assert!(line.is_some_and(|line| line.ends_with(" 1")), "{text}");
    assert_eq!(sigward(&["audit", "999999999"]).code, 3);
}

#[test]
fn a_binary_is_looked_into() {
    let c = sigward(&["audit", "--json", victim("victim.c").to_str().unwrap()]).json();
    assert_eq!((&c["go"], &c["rust"], &c["dynamic"]), (&false.into(), &false.into(), &true.into()));
    let rust = sigward(&["audit", "--json", victim("victim.rs").to_str().unwrap()]).json();
    assert_eq!((&rust["go"], &rust["rust"]), (&false.into(), &true.into()));
    if have("go") {
        let go = sigward(&["audit", "--json", victim("victim.go").to_str().unwrap()]).json();
        assert_eq!((&go["go"], &go["dynamic"]), (&true.into(), &false.into()));
    }
    assert_eq!((ids(&c), ids(&rust)), (vec![], vec![]), "{c} {rust}");
    // With a compiler's intermediate code in it.
    let scratch = Scratch::new("audit-binary");
    let (source, object) =
        (scratch.file("lto.c", b"int one(void) { return 1; }"), scratch.join("lto.o"));
    let gcc = finish(Command::new("gcc").args([
        "-flto",
        "-ffat-lto-objects",
        "-c",
        "-o",
        &object,
        &source,
    ]));
    if missing_unless(gcc.code == 0, "gcc with LTO") {
        let account = sigward(&["audit", "--json", &object]);
        assert_eq!((account.code, ids(&account.json())), (0, vec!["bitcode"]), "{account:?}");
    }
    // Rust's names and Go's section.
    let mixed = scratch.join("mixed");
    let mut objcopy = Command::new("objcopy");
    objcopy
        .args(["--add-section", &format!(".go.buildinfo={source}")])
        .arg(victim("victim.rs"))
        .arg(&mixed);
    let made = finish(&mut objcopy);
    assert_eq!(made.code, 0, "{made:?}");
    let account = sigward(&["audit", "--json", &mixed]);
    assert_eq!(
        (account.code, ids(&account.json())),
        (1, vec!["sigpipe-foreign-threads"]),
        "{account:?}"
    );
    // Static, and loaded anywhere.
    let (source, program) = (scratch.file("main.c", b"int main(void) {}"), scratch.join("main"));
    let made = finish(Command::new("cc").args(["-static-pie", "-o", &program, &source]));
    if missing_unless(made.code == 0, "a C library for -static-pie") {
        let account = sigward(&["audit", "--json", &program]).json();
        assert_eq!(account["dynamic"], false, "{account}");
    }
    // A FIFO that nobody writes to holds nobody.
    let fifo = scratch.join("fifo");
    assert_eq!(finish(Command::new("mkfifo").arg(&fifo)).code, 0);
    // What comes behind one that cannot be looked at is looked at.
    let run = sigward(&["audit", "--json", &fifo, "999999999", &object]);
    assert!(run.code == 3 && run.err.lines().count() == 2, "{run:?}");
    assert_eq!(run.json()["path"], object.as_str());
    let text = sigward(&["audit", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    assert!(text.code == 3 && text.err.contains("no 64-bit ELF file"), "{text:?}");
}

//! What a process says of itself (`sigward_audit_json`, `sigward.Audit` of Go) is what `sigward
//! audit` finds from outside, on programs of five runtimes.

mod support;

use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command};
use std::time::{Duration, Instant};
use support::{
    Scratch, finish, have, ids, library, missing_unless, ready_as, schema, sigward, victim,
};

/// What only the process itself can see.
const INSIDE: [&str; 3] = ["covered", "empty-seat", "no-onstack"];

/// A program with the library and the asker in it.
struct Asked {
    child: Child,
    letters: File,
    answer: PathBuf,
    _scratch: Scratch,
}

impl Asked {
    fn start(name: &str, program: &Path, arguments: &[&str], word: &str) -> Self {
        let scratch = Scratch::new(&format!("inside-{name}"));
        let asker = scratch.join("asker.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/victims/asker.c");
        let mut cc = Command::new("cc");
        let cc =
            finish(cc.args(["-shared", "-fPIC", "-pthread", "-w", "-o", &asker, source, "-ldl"]));
        assert_eq!(cc.code, 0, "{cc:?}");
        let fifo = scratch.join("ask");
        assert_eq!(finish(Command::new("mkfifo").arg(&fifo)).code, 0);
        let mut start = Command::new(program);
        start.args(arguments).env("SIGWARD", word).env("SIGWARD_ASK", &fifo);
        start.env("LD_PRELOAD", format!("{}:{asker}", library().display()));
        let child = ready_as(&mut start);
        let answer = PathBuf::from(format!("{fifo}.out"));
        // Both ends, so that it waits for nobody.
        let letters = File::options().read(true).write(true).open(fifo).unwrap();
        Self { child, letters, answer, _scratch: scratch }
    }

    fn ask(&mut self, letter: &str) -> Value {
        self.letters.write_all(letter.as_bytes()).unwrap();
        wait_for("an answer", || {
            let text = std::fs::read_to_string(&self.answer).ok()?;
            std::fs::remove_file(&self.answer).unwrap();
            schema::check(&sigward(&["schema"]).json(), &text, &["process_audit"]);
            Some(serde_json::from_str(&text).unwrap())
        })
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// With the patience of 30 seconds.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "still no {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn outside(pid: u32) -> Value {
    sigward(&["audit", "--json", &pid.to_string()]).json()
}

/// Without what only the process can see.
fn common(mut account: Value) -> Value {
    account["own"] = Value::Null;
    let findings = account["findings"].as_array_mut().unwrap();
    findings.retain(|found| !INSIDE.contains(&found["id"].as_str().unwrap()));
    account
}

/// Asks both until they agree: threads of a runtime come and go.
#[track_caller]
fn agree(inside: impl FnMut() -> Value, pid: u32) -> Value {
    agree_on(inside, pid, |_| true)
}

/// And until it is so: a thread that has not run yet has everything blocked.
#[track_caller]
fn agree_on(mut inside: impl FnMut() -> Value, pid: u32, is_so: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let [before, own, after] = [outside(pid), inside(), outside(pid)];
        if common(own.clone()) == before && before == after && is_so(&own) {
            return own;
        }
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "inside {own}\noutside {before}\n{after}"
        );
    }
}

#[test]
fn c_says_of_itself_what_the_command_finds() {
    let scratch = Scratch::new("inside-c");
    let victim = victim("victim.c");
    let mut asked =
        Asked::start("c", &victim, &["audited", &scratch.join("da\nta\u{1b}")], "filter");
    let pid = asked.pid();
    let account = agree(|| asked.ask("a"), pid);
    let found = ids(&account);
    assert!(found.contains(&"map-beyond-file") && found.contains(&"signal-blocked"), "{account}");
    assert!(INSIDE.iter().all(|id| !found.contains(id)), "{account}");
    let row = |account: &Value, name: &str| {
        let rows = account["own"]["rows"].as_array().unwrap();
        rows.iter().find(|row| row["signal"] == name).cloned().unwrap_or_default()
    };
    let sigpipe = row(&account, "SIGPIPE");
    assert_eq!(sigpipe["handler"]["is_ours"], true, "{account}");
    assert_eq!(sigpipe["handler"]["library"], "libsigward.so", "{account}");
    assert_eq!(sigpipe["line"][0]["address"], "default", "{account}");

    let account = asked.ask("p");
    assert!(ids(&account).contains(&"covered"), "{account}");
    let sigpipe = row(&account, "SIGPIPE");
    assert_eq!(sigpipe["handler"]["library"], "asker.so", "{account}");
    assert_eq!(sigpipe["line"][0]["is_ours"], true, "{account}");
    assert!(!ids(&account).contains(&"empty-seat"), "{account}");
    let account = asked.ask("m");
    assert!(ids(&account).contains(&"empty-seat"), "{account}");
    assert_eq!(account["own"]["guarded"], 1, "{account}");
    agree(|| asked.ask("a"), pid);
}

#[test]
fn both_look_at_other_processes_as_well() {
    let (scratch, victim) = (Scratch::new("inside-others"), victim("victim.c"));
    let _writer = File::options().write(true).open(scratch.file("read", &[1; 5000])).unwrap();
    let reads = ["reads", &scratch.join("read")];
    for (name, arguments, id) in [
        ("reads", reads, "map-being-written"),
        ("parent", ["parent", "other,ignore"], "ignored-inherited"),
    ] {
        let mut asked = Asked::start(name, &victim, &arguments, "");
        let pid = asked.pid();
        agree_on(|| asked.ask("a"), pid, |account| ids(account) == ["not-armed", id]);
    }
}

#[test]
fn cpython_says_of_itself_what_the_command_finds() {
    let script = "print('ready', flush=True); import time; time.sleep(600)";
    if have("python3") {
        let python =
            finish(Command::new("python3").args(["-c", "import sys; print(sys.executable)"]));
        let mut asked =
            Asked::start("python", python.out.trim().as_ref(), &["-c", script], "filter");
        let pid = asked.pid();
        let account = agree(|| asked.ask("a"), pid);
        assert_eq!(account["runtimes"][0], "CPython", "{account}");
    }
}

#[test]
fn node_says_of_itself_what_the_command_finds() {
    let script = "console.log('ready'); setInterval(() => {}, 1000)";
    if have("node") {
        let node = finish(Command::new("node").args(["-p", "process.execPath"]));
        let mut asked = Asked::start("node", node.out.trim().as_ref(), &["-e", script], "filter");
        let pid = asked.pid();
        let account = agree(|| asked.ask("a"), pid);
        assert_eq!(account["runtimes"][0], "Node", "{account}");
    }
}

#[test]
fn a_jvm_says_of_itself_what_the_command_finds() {
    if !have("java") || !have("javac") {
        return;
    }
    let scratch = Scratch::new("inside-java");
    let text =
        "public class Sleeps { public static void main(String[] arguments) throws Exception {
        System.out.println(\"ready\"); Thread.sleep(600000); } }";
    let source = scratch.file("Sleeps.java", text.as_bytes());
    let javac = finish(Command::new("javac").arg(&source));
    assert_eq!(javac.code, 0, "{javac:?}");
    let folder = scratch.path().to_str().unwrap();
    let mut asked = Asked::start("java", "java".as_ref(), &["-cp", folder, "Sleeps"], "filter");
    let pid = asked.pid();
    let account = agree(|| asked.ask("a"), pid);
    assert_eq!(account["runtimes"][0], "JVM", "{account}");
}

/// The program of `victims/inside.go`.
struct Go {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Go {
    fn build(scratch: &Scratch) -> Option<PathBuf> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let package = root.join("../go").canonicalize().unwrap();
        let archives =
            ["amd64", "arm64"].map(|name| package.join(format!("lib/linux_{name}/libsigward.a")));
        let built = archives.iter().any(|archive| archive.exists());
        if !have("go") || !missing_unless(built, "archive for Go: make archive") {
            return None;
        }
        let name = "github.com/sigward/sigward/go";
        let package = package.display();
        let module = format!(
            "module inside\n\ngo 1.21\n\nrequire {name} v0.0.0\n\nreplace {name} => {package}\n"
        );
        scratch.file("go.mod", module.as_bytes());
        std::fs::copy(root.join("tests/victims/inside.go"), scratch.join("main.go")).unwrap();
        let program = scratch.join("inside");
        let build =
            finish(Command::new("go").args(["build", "-o", &program]).current_dir(scratch.path()));
        assert_eq!(build.code, 0, "{build:?}");
        Some(program.into())
    }

    fn start(program: &Path, arguments: &[&str], preload: &str) -> Self {
        let mut child = ready_as(Command::new(program).args(arguments).env("LD_PRELOAD", preload));
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    fn ask(&mut self, letter: &str) -> Value {
        self.child.stdin.as_mut().unwrap().write_all(letter.as_bytes()).unwrap();
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        schema::check(&sigward(&["schema"]).json(), &line, &["process_audit"]);
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Go {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn go_says_of_itself_what_the_command_finds() {
    let scratch = Scratch::new("inside-go");
    let Some(program) = Go::build(&scratch) else { return };
    let mut healthy = Go::start(&program, &[], "");
    let pid = healthy.child.id();
    let account = agree_on(|| healthy.ask("a"), pid, |account| ids(account).is_empty());
    assert_eq!(account["runtimes"][0], "Go", "{account}");
    let sigpipe = |account: &Value| {
        let rows = account["own"]["rows"].as_array().unwrap();
        rows.iter().find(|row| row["signal"] == "SIGPIPE").cloned().unwrap_or_default()
    };
    // Ours, then Go's, then ours beneath, then the default.
    let row = sigpipe(&account);
    assert_eq!(row["handler"]["is_ours"], true, "{row}");
    assert_eq!(row["line"].as_array().map(Vec::len), Some(3), "{row}");
    agree_on(|| healthy.ask("h"), pid, |account| ids(account) == ["no-onstack"]);
    let account =
        agree_on(|| healthy.ask("p"), pid, |account| ids(account) == ["covered", "no-onstack"]);
    let row = sigpipe(&account);
    assert_eq!(
        (&row["handler"]["is_ours"], &row["line"][0]["is_ours"]),
        (&false.into(), &true.into()),
        "{row}"
    );

    let text = "#define _GNU_SOURCE
        #include <dlfcn.h>
        int sigaction(int signal, const void *new, void *old) {
            return ((int (*)(int, const void *, void *))dlsym(RTLD_NEXT, \"sigaction\"))(signal, new, old);
        }";
    let source = scratch.file("before.c", text.as_bytes());
    let before = scratch.join("libbefore.so");
    let cc = finish(Command::new("cc").args(["-shared", "-fPIC", "-w", "-o", &before, &source]));
    assert_eq!(cc.code, 0, "{cc:?}");
    let folder = scratch.join("a\nb\u{1b}\u{7f}");
    std::fs::create_dir(&folder).unwrap();
    let mut ill = Go::start(&program, &[&folder], &before);
    let _writer = File::options().write(true).open(format!("{folder}/cut")).unwrap();
    let pid = ill.child.id();
    let all = [
        "ignored-inherited",
        "interposer",
        "map-being-written",
        "map-beyond-file",
        "map-deleted",
        "signal-blocked",
        "signal-blocked",
        "sigurg-taken",
    ];
    agree_on(
        || ill.ask("a"),
        pid,
        |account| {
            let mut found = ids(account);
            found.retain(|id| !INSIDE.contains(id));
            found.sort_unstable();
            found == all
        },
    );
}

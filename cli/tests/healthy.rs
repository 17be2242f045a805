//! Healthy programs of many runtimes, watched: they do what they do unwatched, and nothing is told.

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use support::{Run, Scratch, command, finish, have, is_installed, left_out_unless, send};
use support::{sigward, wait_for};

const PYTHON: &str = "
import signal, subprocess, threading
done = threading.Event()
signal.signal(signal.SIGALRM, lambda *_: done.set())
threads = [threading.Thread(target=sum, args=(range(10000),)) for _ in range(20)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
signal.setitimer(signal.ITIMER_REAL, 0.01)
done.wait()
print(subprocess.run(['echo', 'child'], capture_output=True).stdout)
raise SystemExit(7)
";

const NODE: &str = "
const { execFile } = require('child_process');
const { Worker } = require('worker_threads');
const worker = new Worker('require(\"worker_threads\").parentPort.postMessage(1)', { eval: true });
worker.on('exit', () => execFile('echo', ['child'], (_, text) => {
    console.log(text);
    process.kill(process.pid, 'SIGUSR2');
}));
process.on('SIGUSR2', () => process.exit(7));
setInterval(() => {}, 1000);
";

const JAVA: &str = "
public class Healthy {
    int field;
    static int look(Healthy it) { return it.field; }
    public static void main(String[] arguments) throws Exception {
        Healthy sound = new Healthy();
        for (int i = 0; i < 40000; i++) look(sound);
        int caught = 0;
        for (int i = 0; i < 5; i++) {
            try { look(null); } catch (NullPointerException expected) { caught++; }
        }
        System.gc();
        Thread[] threads = new Thread[20];
        for (int i = 0; i < 20; i++) (threads[i] = new Thread(() -> look(sound))).start();
        for (Thread thread : threads) thread.join();
        System.out.println(caught);
        System.exit(7);
    }
}
";

/// The same of a program by itself and under `sigward watch`, but for its process number.
#[track_caller]
fn alike(program: &str, arguments: &[&str]) {
    let bare = finish(Command::new(program).args(arguments));
    assert_eq!((bare.code, bare.err.as_str()), (7, ""), "{bare:?}");
    let watched = watch(&[], program, arguments);
    assert_eq!((watched.code, &watched.out), (bare.code, &bare.out), "{watched:?}");
    assert_eq!(watched.err, "", "nothing is told");
}

fn watch(options: &[&str], program: &str, arguments: &[&str]) -> Run {
    finish(command().arg("watch").args(options).arg("--").arg(program).args(arguments))
}

#[test]
fn python_is_as_ever() {
    if have("python3") {
        alike("python3", &["-c", PYTHON]);
    }
}

#[test]
fn node_is_as_ever() {
    if have("node") {
        alike("node", &["-e", NODE]);
    }
}

/// Its null checks are faults in code that it has made: told by choice only.
#[test]
fn java_is_as_ever() {
    if !have("java") || !have("javac") {
        return;
    }
    let scratch = Scratch::new("healthy-java");
    let source = scratch.file("Healthy.java", JAVA.as_bytes());
    let done = finish(Command::new("javac").arg(&source));
    assert_eq!(done.code, 0, "{done:?}");
    let folder = scratch.path().to_str().expect("UTF-8");
    // Compiled at once, so that there are such faults.
    let arguments = ["-Xcomp", "-XX:CompileOnly=Healthy.look", "-cp", folder, "Healthy"];
    alike("java", &arguments);
    let told = watch(&["--signals", "SEGV"], "java", &arguments);
    assert!(
        told.err.contains("SIGSEGV in java") && told.err.contains("handler gets it"),
        "{told:?}"
    );
}

/// Master and workers, watched from the start and asked: an account of each is without findings,
/// and nothing but their ends is told.
#[test]
fn nginx_is_as_ever() {
    if !left_out_unless(is_installed("nginx"), "nginx") {
        return;
    }
    let scratch = Scratch::new("healthy-nginx");
    let folder = scratch.path().display();
    // A worker is another user, who has to find the page.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(scratch.path(), open).expect("a folder of ours");
    scratch.file("index.html", &[b'x'; 2000]);
    let text = format!(
        "daemon off; worker_processes 2; pid {folder}/pid; error_log {folder}/errors;
         events {{}} http {{
             access_log off; server {{ listen unix:{folder}/socket; root {folder}; }} }}"
    );
    let config = scratch.file("nginx.conf", text.as_bytes());
    // An ordinary user may lack the folders that it was built for.
    let fits = finish(Command::new("nginx").args(["-t", "-e", "stderr", "-c", &config]));
    if !left_out_unless(fits.code == 0, "leave to start nginx") {
        return;
    }
    let told = std::fs::File::create(scratch.join("told")).expect("a file");
    let mut start = command();
    start.args(["watch", "--children", "--", "nginx", "-e", "stderr", "-c", &config]).stderr(told);
    let mut watcher = start.spawn().expect("it starts");
    let answer = wait_for(|| {
        let mut socket = UnixStream::connect(scratch.join("socket")).ok()?;
        socket.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        socket.read_to_string(&mut text).ok().filter(|length| *length > 0).map(|_| text)
    });
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("xx"), "{answer}");
    let master: u32 = std::fs::read_to_string(scratch.join("pid")).unwrap().trim().parse().unwrap();
    let children = format!("/proc/{master}/task/{master}/children");
    let children = std::fs::read_to_string(children).unwrap();
    let workers: Vec<&str> = children.split_whitespace().collect();
    assert_eq!(workers.len(), 2);
    for pid in workers.iter().copied().chain([master.to_string().as_str()]) {
        let account = sigward(&["audit", pid]);
        assert!(account.code == 0 && account.out.contains("findings   none"), "{account:?}");
    }
    send(master, libc::SIGQUIT);
    assert!(watcher.wait().unwrap().success());
    let told = std::fs::read_to_string(scratch.join("told")).unwrap();
    let ends = workers.iter().map(|pid| format!("sigward: nginx (pid {pid}) ended with status 0"));
    let (mut ends, mut told): (Vec<_>, Vec<_>) = (ends.collect(), told.lines().collect());
    ends.sort();
    told.sort_unstable();
    assert_eq!(told, ends);
}
